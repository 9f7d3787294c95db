import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { StatementSync } from 'node:sqlite'
import { mock } from 'node:test'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { basic } from '../basic.ts'
import { build } from '../helper.ts'

const ENDPOINTS: Record<string, string> = {
  '/token': 'grant_type=client_credentials',
  '/revoke': 'token=x',
  '/introspect': 'token=x'
}
const REFUSED = { error: 'invalid_client', error_description: 'Client authentication failed' }
type Form = Record<string, string>

/** Counts the work of a request that a clock could measure: calls of the store, statements with values, comparisons. */
function spy(t: Test, store: object) {
  const calls: string[] = []
  for (const [part, methods] of Object.entries(store))
    for (const [name, method] of Object.entries(methods ?? {}))
      if (typeof method === 'function')
        Object.assign(methods, {
          [name]: (...args: unknown[]) => {
            calls.push(`${part}.${name}`)
            return method(...args)
          }
        })
  const lengths: number[] = []
  const { timingSafeEqual } = crypto
  const comparison = mock.method(crypto, 'timingSafeEqual', (a: Buffer, b: Buffer) => {
    lengths.push(a.length, b.length)
    return timingSafeEqual(a, b)
  })
  syncBuiltinESMExports()
  t.teardown(() => {
    comparison.mock.restore()
    syncBuiltinESMExports()
  })
  const statements = (['all', 'get', 'run', 'iterate'] as const).map((name) =>
    mock.method(StatementSync.prototype, name)
  )
  t.teardown(() => {
    for (const each of statements) each.mock.restore()
  })
  const count = () => statements.flatMap(({ mock }) => mock.calls).filter((call) => call.arguments.length > 0).length
  return async (run: () => Promise<unknown>) => {
    calls.length = lengths.length = 0
    const before = count()
    await run()
    return { calls: [...calls], statements: count() - before, compared: [...lengths] }
  }
}

async function open(t: Test) {
  const world = await build(t)
  const { clients } = world.app.auth
  const add = async (id: string) =>
    (await clients.create(OPERATOR, { id, name: id, grantTypes: ['client_credentials'] })).secret
  const secrets: Record<string, string> = {}
  for (const id of ['one', 'ten', 'off', 'over', 'none']) secrets[id] = (await add(id)) as string
  for (let index = 1; index < 10; index++) secrets.last = (await clients.addSecret(OPERATOR, 'ten', {})).secret
  await clients.addSecret(OPERATOR, 'over', { othersExpireIn: 1 })
  const [only] = await clients.secrets('none')
  await clients.deleteSecret(OPERATOR, { id: 'none', secretId: only?.id as string })
  await clients.create(OPERATOR, { id: 'app', name: 'app', method: 'none' })
  await clients.change(OPERATOR, 'off', { disabled: true })
  world.clock.advance(10)
  return { ...world, secrets }
}

t.test('every failed authentication makes one query and one comparison, and gets the same bytes [CA2]', async (t) => {
  const { app, inject, secrets } = await open(t)
  const measured = spy(t, app.store)
  const wrong = `lks_${'A'.repeat(43)}`
  const kinds: Record<string, [id: string, secret: string]> = {
    'an unknown client': ['nobody', wrong],
    'a wrong secret': ['one', wrong],
    'a wrong secret of a client with ten secrets': ['ten', wrong],
    'a disabled client and a wrong secret': ['off', wrong],
    'a disabled client and its secret': ['off', secrets.off as string],
    'an expired secret': ['over', secrets.over as string],
    'a client whose secret was deleted': ['none', secrets.none as string],
    'a public client': ['app', wrong],
    'the secret of another client': ['one', secrets.ten as string]
  }
  const answers: Record<string, Set<string>> = {}
  let changes = 0
  for (const [name, [id, secret]] of Object.entries(kinds)) {
    const ways: [headers: Form, more: Form][] = [
      [{}, { client_id: id, client_secret: secret }],
      [{ authorization: basic(id, secret) }, {}]
    ]
    for (const [url, form] of Object.entries(ENDPOINTS))
      for (const [headers, more] of ways) {
        const refused = async () => {
          const response = await inject({
            method: 'POST',
            url,
            headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
            payload: `${form}&${new URLSearchParams(more)}`
          })
          t.strictSame([response.statusCode, response.json()], [401, REFUSED], name)
          const { date: _, ...rest } = response.headers
          answers[url] = (answers[url] ?? new Set()).add(JSON.stringify([rest, response.body]))
        }
        // After a commit the query runs again.
        await app.auth.clients.change(OPERATOR, 'app', { name: `app ${++changes}` })
        const where = `${name} at ${url} ${'authorization' in headers ? 'by Basic' : 'in the form'}`
        const cost = { calls: ['clients.credentials'], statements: 1, compared: [43, 43] }
        t.strictSame(await measured(refused), cost, where)
        t.strictSame(await measured(refused), { ...cost, statements: 0 }, `${where}, again`)
      }
  }
  for (const [url, all] of Object.entries(answers)) t.equal(all.size, 1, url)
})

t.test('a valid secret is accepted after one query and one comparison [CA2]', async (t) => {
  const { app, token, secrets } = await open(t)
  const measured = spy(t, app.store)
  for (const client_secret of [secrets.ten, secrets.last] as string[]) {
    const ask = () => token({ grant_type: 'client_credentials', client_id: 'ten', client_secret, scope: 'profile' })
    const first = await measured(ask)
    t.strictSame(
      [first.calls.slice(0, 2), first.compared],
      [
        ['clients.credentials', 'clients.recordSecretUse'],
        [43, 43]
      ]
    )
    const second = await measured(ask)
    t.strictSame([second.calls[0], second.compared], ['clients.credentials', [43, 43]])
    t.notOk(second.calls.includes('clients.recordSecretUse'), 'its use is recorded once an hour')
  }
})
