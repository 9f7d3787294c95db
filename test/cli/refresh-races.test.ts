import t from 'tap'
import { createDatabase, environment, ISSUER, PASSWORD } from '../helper.ts'
import { startInstances } from './instances.ts'
import { me, serve } from './process.ts'

/** How many races of each kind. */
const ROUNDS = Math.max(2, 2 * Number(process.env.LATCHKEY_ROUNDS ?? 0))
const AT_ONCE = process.env.LATCHKEY_ROUNDS === undefined ? 20 : 50

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

/**
 * Presents a refresh token many times at once, to both servers in turn. Returns how often each status came, the number of different
 * successors, and in `after` the statuses of two later requests: one with an issued access token, one with a successor.
 */
async function race([one, two]: [string, string], token: string) {
  const answers = await Promise.all(
    Array.from({ length: AT_ONCE }, (_, index) => refresh(index % 2 === 0 ? one : two, token))
  )
  const counts: Record<number, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  const won = answers.filter(({ status }) => status === 200)
  const successors = new Set(won.map(({ body }) => body.refresh_token))
  const { status } = await me(two, won[0]?.body.access_token as string)
  const next = await refresh(one, [...successors][0] ?? '')
  return { counts, successors: successors.size, after: [status, next.status], next: next.body.refresh_token }
}

t.test(
  'concurrent refreshes of one token at two servers all get the same successor within the leeway (postgres) [RF3 F16]',
  async (t) => {
    const env = { ...environment(await createDatabase(t, 'postgres', 'ready')), LATCHKEY_ISSUER: ISSUER }
    const [one, two] = await Promise.all([serve(t, env), serve(t, env)])
    const first = (await enter(one.origin)).body
    t.equal((await me(two.origin, first.access_token)).status, 200, 'each accepts the tokens of the other')
    let token = first.refresh_token
    for (let round = 0; round < ROUNDS; round++) {
      const { next, ...outcome } = await race([one.origin, two.origin], token)
      t.strictSame(outcome, { counts: { 200: AT_ONCE }, successors: 1, after: [200, 200] }, `round ${round}`)
      token = next
    }
  }
)

t.test(
  'of concurrent refreshes of one token at two instances exactly one succeeds without a leeway, and its session ends (postgres) [RF3 F16]',
  async (t) => {
    const env = { LATCHKEY_REFRESH_LEEWAY: '0' }
    const [one, two] = await startInstances(t, { database: 'postgres', count: 2, env })
    const origins: [string, string] = [one?.origin as string, two?.origin as string]
    for (let round = 0; round < ROUNDS; round++) {
      const { next: _refused, ...outcome } = await race(origins, (await enter(origins[0])).body.refresh_token)
      const counts = { 200: 1, 400: AT_ONCE - 1 }
      t.strictSame(outcome, { counts, successors: 1, after: [401, 400] }, `round ${round}`)
    }
  }
)
