import t from 'tap'
import { createDatabase, environment, ISSUER, PASSWORD } from '../helper.ts'
import { me, serve } from './process.ts'

/** How many races of each kind. */
const ROUNDS = Math.max(2, 2 * Number(process.env.LATCHKEY_ROUNDS ?? 0))
const AT_ONCE = 50

interface Tokens {
  access_token: string
  refresh_token: string
}

async function post(origin: string, form: Record<string, string>): Promise<{ status: number; body: Tokens }> {
  const response = await fetch(`${origin}/token`, { method: 'POST', body: new URLSearchParams(form) })
  return { status: response.status, body: (await response.json()) as Tokens }
}

const enter = (origin: string) => post(origin, { grant_type: 'password', username: 'alice', password: PASSWORD })
const refresh = (origin: string, refresh_token: string) => post(origin, { grant_type: 'refresh_token', refresh_token })

for (const [leeway, promise] of [
  ['10', 'all get one and the same successor inside the leeway'],
  ['0', 'exactly one succeeds without a leeway, and its session is over']
] as const) {
  t.test(
    `of many refreshes of one token at two server processes at once ${promise} (postgres) [RF3 F16]`,
    async (t) => {
      const env = {
        ...environment(await createDatabase(t, 'postgres', 'ready')),
        LATCHKEY_ISSUER: ISSUER,
        LATCHKEY_REFRESH_LEEWAY: leeway
      }
      const [{ origin: one }, { origin: two }] = await Promise.all([serve(t, env), serve(t, env)])
      const expected = leeway === '0' ? { 200: 1, 400: AT_ONCE - 1 } : { 200: AT_ONCE }
      const alive = leeway === '0' ? [401, 400] : [200, 200]
      const first = (await enter(one)).body
      t.equal((await me(two, first.access_token)).status, 200, 'each accepts the tokens of the other')
      let current = first.refresh_token
      for (let round = 0; round < ROUNDS; round++) {
        const answers = await Promise.all(
          Array.from({ length: AT_ONCE }, (_, index) => refresh(index % 2 === 0 ? one : two, current))
        )
        const counts: Record<number, number> = {}
        for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
        const won = answers.filter(({ status }) => status === 200)
        const [successor = '', ...more] = new Set(won.map(({ body }) => body.refresh_token))
        const { status } = await me(two, won[0]?.body.access_token as string)
        const next = await refresh(one, successor)
        t.strictSame([counts, more, [status, next.status]], [expected, [], alive], `round ${round}`)
        current = (leeway === '0' ? await enter(one) : next).body.refresh_token
      }
    }
  )
}
