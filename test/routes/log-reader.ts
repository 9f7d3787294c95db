import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'
import { newRevoked } from '../store/rows.ts'

/** The longest wait that a request may ask for, in seconds. */
export const WAIT = 30

export const READER = { id: 'orders-api', name: 'Orders API', grantTypes: ['client_credentials'] }

/** Adds requests of a client that reads the log. */
export function reader(world: TestApp, secret: string) {
  const { token, get } = world
  const own = { client_id: READER.id, client_secret: secret }
  const newToken = async () => (await token({ grant_type: 'client_credentials', ...own })).json().access_token as string
  const first = newToken()
  const ask = async (query = '') => get(`/revocations${query}`, await first)
  return {
    ...world,
    secret,
    newToken,
    ask,
    /** Returns status and body. */
    read: async (query = '') => {
      const response = await ask(query)
      return [response.statusCode, response.json()]
    },
    revoke: (id: string) =>
      world.app.store.revocations.revokeToken(OPERATOR, newRevoked(id, { now: world.clock.now() }))
  }
}

/** Builds an app with a client that may read the log. */
export async function open(
  t: Test,
  options: { at?: { url: string; dataDir: string }; scopes?: string[]; logger?: false } = {}
) {
  const { scopes = ['revocations:read'], ...rest } = options
  const world = await build(t, rest)
  const { auth } = world.app
  const { secret } = await auth.clients.create(OPERATOR, { ...READER, scopes })
  await auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: [READER.id] })
  return reader(world, secret as string)
}

/** Adds entries to the log. */
export async function fill(world: TestApp, count: number): Promise<void> {
  const rows = Array.from({ length: count }, (_, index) => `(${index + 1}, 'session', 's${index + 1}', 9000000000000)`)
  await sql(world, `insert into revocations (seq, kind, id, expires_at) values ${rows.join(', ')}`)
  await sql(world, `update counters set seq = ${count} where name = 'revocations'`)
}

/** Counts the calls of the store from now on. */
export function counted(app: TestApp['app']): { seq: number; since: number } {
  const calls = { seq: 0, since: 0 }
  const { revocations } = app.store
  const { seq, since } = revocations
  Object.assign(revocations, {
    seq: () => {
      calls.seq++
      return seq()
    },
    since: (after: number, limit: number) => {
      calls.since++
      return since(after, limit)
    }
  })
  return calls
}

export const tokens = (...entries: [seq: number, id: string][]) =>
  entries.map(([seq, id]) => ({ seq, kind: 'token', expires_in: 300, id }))

/** Returns the result of a request that may wait for `WAIT`. Throws if its response came only at the end of this wait. */
export async function withoutWaiting<T>(request: Promise<T>): Promise<T> {
  const start = performance.now()
  const result = await request
  if (performance.now() - start >= WAIT * 1000) throw new Error('the request waited to the end')
  return result
}

/** Returns the result of a request that must wait for a second. */
export async function waitingASecond<T>(request: Promise<T>): Promise<T> {
  const start = performance.now()
  const result = await request
  if (performance.now() - start < 950) throw new Error('the request did not wait')
  return result
}
