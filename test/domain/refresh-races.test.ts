import t from 'tap'
import { OAuthError } from '../../src/domain/errors.ts'
import { openSessions, type SessionDomain, type Tokens } from './sessions-world.ts'

// test/cli/refresh-races.test.ts tests the same with two server processes on PostgreSQL.

const BURSTS = 2 * Number(process.env.LATCHKEY_ROUNDS ?? 1)
const AT_ONCE = 100
const REFUSED = 'invalid_grant: The refresh token is not valid'

/** Uses one refresh token many times at once. Returns the tokens and the refusals. */
async function burst({ refresh }: SessionDomain, refreshToken: string) {
  const tokens: Tokens[] = []
  const refusals: string[] = []
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      try {
        tokens.push(await refresh(refreshToken))
      } catch (error) {
        if (!(error instanceof OAuthError)) throw error
        refusals.push(`${error.code}: ${error.message}`)
      }
    })
  )
  return { tokens, refusals }
}

t.test('100 parallel uses of one refresh token return the same successor within the leeway [RF3 RF6]', async (t) => {
  const domain = await openSessions(t)
  const { enter, refresh, isValid } = domain
  let { refreshToken: current } = await enter()
  for (let round = 0; round < BURSTS; round++) {
    const { tokens, refusals } = await burst(domain, current)
    t.strictSame(refusals, [])
    const successors = new Set(tokens.map(({ refreshToken }) => refreshToken))
    const accessTokens = new Set(tokens.map(({ accessToken }) => accessToken))
    t.strictSame([successors.size, successors.has(current), accessTokens.size], [1, false, AT_ONCE])
    t.equal(await isValid([...accessTokens][round % AT_ONCE] as string), true)
    current = [...successors][0] as string
  }
  await t.resolves(refresh(current))
})

t.test(
  'without a leeway, one of 100 parallel uses of a refresh token succeeds and the session ends [RF1 RF3 F16]',
  async (t) => {
    const domain = await openSessions(t, { LATCHKEY_REFRESH_LEEWAY: '0' })
    const { enter, refresh, isValid } = domain
    const other = await enter()
    for (let round = 0; round < BURSTS; round++) {
      const { refreshToken } = await enter()
      const { tokens, refusals } = await burst(domain, refreshToken)
      t.strictSame([tokens.length, [...new Set(refusals)]], [1, [REFUSED]])
      const [winner] = tokens as [Tokens]
      await t.rejects(refresh(winner.refreshToken), { code: 'invalid_grant' })
      t.equal(await isValid(winner.accessToken), false)
    }
    await t.resolves(refresh(other.refreshToken), 'the other session of the user continues')
  }
)
