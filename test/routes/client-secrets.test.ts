import { createHash } from 'node:crypto'
import t from 'tap'
import { build, NOBODY } from '../helper.ts'
import { AT, asAdmin, conflict, notFound, outcome, SERVICE } from './api.ts'

// test/domain/client-secrets.test.ts tests how long a secret is valid.

const NO_SECRET = notFound('The client has no such secret')

const world = await build(t)
const { api, add, requestToken } = await asAdmin(world)

t.test('an admin adds a secret, limits the others and deletes it', async (t) => {
  const first = await add({ client_id: 'worker', ...SERVICE })
  const created = await api('POST', '/clients/worker/secrets', { expires_in: 60, others_expire_in: 0 })
  const { id, client_secret: second, ...rest } = created.json()
  t.match(second, /^lks_[\w-]{43}$/)
  const end = Date.parse(AT) / 1000 + 60
  t.strictSame(
    [created.statusCode, created.headers['cache-control'], rest],
    [201, 'no-store', { created_at: AT, client_secret_expires_at: end, last_used_at: null }]
  )
  t.strictSame([(await requestToken('worker', first))[0], (await requestToken('worker', second))[0]], [401, 200])
  t.strictSame((await api('GET', '/clients/worker')).json().secrets, [
    { id, created_at: AT, client_secret_expires_at: end, last_used_at: AT }
  ])
  t.strictSame(outcome(await api('DELETE', `/clients/worker/secrets/${id}`)), [204, ''])
  t.equal((await requestToken('worker', second))[0], 401)
  for (const [client, secret] of [
    ['worker', id],
    ['worker', NOBODY],
    ['docs', id],
    ['unknown', id]
  ])
    t.strictSame(outcome(await api('DELETE', `/clients/${client}/secrets/${secret}`)), NO_SECRET)
  for (const body of [
    { expires_in: 0 },
    { expires_in: 315_360_001 },
    { expires_in: '60' },
    { others_expire_in: -1 },
    { others_expire_in: 315_360_001 },
    { others_expire_in: null }
  ])
    t.equal((await api('POST', '/clients/worker/secrets', body)).statusCode, 400, JSON.stringify(body))
})

t.test('a secret for an unknown client is 404, for a public client and beside ten others 409', async (t) => {
  const addSecret = async (id: string) => outcome(await api('POST', `/clients/${id}/secrets`, {}))
  t.strictSame(await addSecret('unknown'), notFound('There is no such client'))
  await add({ client_id: 'page', token_endpoint_auth_method: 'none' })
  t.strictSame(await addSecret('page'), conflict('A public client cannot keep a secret'))
  await add({ client_id: 'full' })
  for (let count = 2; count <= 10; count++) t.equal((await addSecret('full'))[0], 201)
  t.strictSame(await addSecret('full'), conflict('A client has at most 10 secrets: delete one that is not used'))
})

t.test('a secret is in the response that created it and in no other response [AD5]', async (t) => {
  const first = await add({ client_id: 'kept' })
  const { id, client_secret: second } = (await api('POST', '/clients/kept/secrets', {})).json()
  for (const { body } of [
    await api('GET', '/clients'),
    await api('GET', '/clients/kept'),
    await api('PATCH', '/clients/kept', { client_name: 'x' }),
    await api('POST', '/clients', { client_name: 'Worker', client_id: 'kept' }),
    await api('DELETE', `/clients/kept/secrets/${id}`),
    await api('DELETE', '/clients/kept')
  ]) {
    t.notMatch(body, /client_secret"|hash|lks_/)
    for (const secret of [first, second])
      t.notOk(body.includes(createHash('sha256').update(secret).digest('base64url').slice(0, 12)))
  }
})
