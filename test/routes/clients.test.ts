import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { answer, forbidden } from '../forge.ts'
import { build, ISSUER } from '../helper.ts'
import { problem } from '../http.ts'
import { ALL_SCOPES, AT, asAdmin, conflict, invalid, notFound, outcome, PLAIN, path, SERVICE } from './api.ts'

// test/domain tests which clients are valid, and what a change does to tokens.

const NO_CLIENT = notFound('There is no such client')
const FAILED = [401, { error: 'invalid_client', error_description: 'Client authentication failed' }]

const world = await build(t)
const { clock, login } = world
const { api, add, requestToken } = await asAdmin(world)

t.test('an admin registers a client that gets a token, and reads, changes and deletes it', async (t) => {
  const given = {
    client_name: 'Orders worker',
    client_id: 'worker',
    grant_types: ['client_credentials', 'refresh_token'],
    resources: ['latchkey'],
    redirect_uris: ['https://worker.example/back', 'http://127.0.0.1:8080/', 'com.example.worker:/back'],
    application_type: 'native',
    access_token_ttl: 600,
    session_idle_ttl: 60,
    session_absolute_ttl: 3600
  }
  const scopes = { scope: ' users:read  profile users:read', default_scope: 'users:read' }
  const created = await api('POST', '/clients', { ...given, ...scopes })
  const { client_secret: secret, ...registered } = created.json()
  const client = { ...PLAIN, ...given, scope: 'profile users:read', default_scope: 'users:read' }
  t.match(secret, /^lks_[\w-]{43}$/)
  t.strictSame(
    [created.statusCode, created.headers.location, created.headers['cache-control'], registered],
    [201, `${ISSUER}/clients/worker`, 'no-store', { ...client, client_secret_expires_at: 0 }]
  )
  const { secrets, ...shown } = (await api('GET', '/clients/worker')).json()
  t.strictSame(shown, client)
  t.match(secrets[0].id, /^[0-9a-f-]{36}$/)
  t.strictSame(secrets, [{ id: secrets[0].id, created_at: AT, client_secret_expires_at: 0, last_used_at: null }])
  const [status, { access_token, ...rest }] = await requestToken('worker', secret)
  t.strictSame(
    [status, rest],
    [200, { token_type: 'Bearer', expires_in: 600, scope: 'users:read' }],
    'no refresh token'
  )
  t.type(access_token, 'string')

  clock.advance(1)
  const changes = {
    client_name: 'W',
    grant_types: [],
    scope: 'roles:read',
    default_scope: '',
    resources: [],
    redirect_uris: [],
    first_party: true,
    access_token_ttl: null,
    session_idle_ttl: 1,
    session_absolute_ttl: 31_536_000,
    disabled: true
  }
  const changed = { ...client, ...changes, updated_at: '2026-01-01T12:00:01.000Z' }
  t.strictSame(outcome(await api('PATCH', '/clients/worker', changes)), [200, changed])
  const withSecrets = { ...changed, secrets: [{ ...secrets[0], last_used_at: AT }] }
  t.strictSame(outcome(await api('GET', '/clients/worker')), [200, withSecrets])
  t.strictSame(await requestToken('worker', secret), FAILED)
  t.strictSame(outcome(await api('DELETE', '/clients/worker')), [204, ''])
  for (const [method, url, body] of [
    ['GET', '/clients/worker'],
    ['PATCH', '/clients/worker', { client_name: 'x' }],
    ['DELETE', '/clients/worker']
  ] as const)
    t.strictSame(outcome(await api(method, url, body)), NO_CLIENT, `${method} ${url}`)
  // The other tests expect the time `AT`.
  clock.advance(-1)
})

t.test('a client without a given id gets one, and a taken id is 409', async (t) => {
  const created = await api('POST', '/clients', { client_name: 'Worker' })
  const { client_id: id, client_secret: secret, ...rest } = created.json()
  t.match(id, /^[0-9a-f]{32}$/)
  t.match(secret, /^lks_/)
  t.strictSame(rest, { ...PLAIN, client_secret_expires_at: 0 })
  const again = await api('POST', '/clients', { client_name: 'Again', client_id: id })
  t.strictSame(outcome(again), conflict('A client with this id already exists'))
  const { secrets, ...shown } = (await api('GET', path(id))).json()
  t.strictSame([shown, secrets.length], [{ ...PLAIN, client_id: id }, 1], 'the first client is unchanged')
})

t.test('a public client and a client with keys have no secret', async (t) => {
  const page = { client_name: 'Page', client_id: 'page', token_endpoint_auth_method: 'none' }
  t.strictSame(outcome(await api('POST', '/clients', page)), [201, { ...PLAIN, ...page }])
  const { kty, crv, x, y } = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
  const jwks = { keys: [{ kty, crv, x, y, kid: 'one', use: 'sig' }] }
  const stored = { keys: [{ kty, crv, x, y, alg: 'ES256', kid: 'one' }] }
  const keyed = { client_name: 'Keyed', client_id: 'keyed', token_endpoint_auth_method: 'private_key_jwt' }
  t.strictSame(outcome(await api('POST', '/clients', { ...keyed, jwks })), [201, { ...PLAIN, ...keyed, jwks: stored }])
  for (const id of ['page', 'keyed']) t.strictSame((await api('GET', `/clients/${id}`)).json().secrets, [])
  const two = { keys: [...stored.keys, { ...jwks.keys[0], kid: 'two' }] }
  t.equal((await api('PATCH', '/clients/keyed', { jwks: two })).json().jwks.keys.length, 2)
  const withSecrets = { ...PLAIN, ...keyed, token_endpoint_auth_method: 'client_secret_basic' }
  t.strictSame(outcome(await api('PATCH', '/clients/keyed', { jwks: null })), [200, withSecrets])
  t.strictSame(outcome(await api('PATCH', '/clients/page', { jwks })), invalid('A public client has no keys'))
})

t.test('a client id with any characters is found in a path', async (t) => {
  for (const id of [
    'a:b',
    '100%',
    'a%2Fb',
    'a%252Fb',
    'a+b',
    '~a~',
    'a/b',
    '../x',
    '/',
    '...',
    '%2e%2e',
    '.%2e',
    'a?b#c&d=e',
    '"\'\\',
    '{id}',
    'secrets',
    'A.b_c-9',
    'https://client.example/',
    'x'.repeat(255),
    '%'.repeat(255),
    '/'.repeat(255)
  ]) {
    const created = await api('POST', '/clients', { client_name: 'Worker', client_id: id, ...SERVICE })
    t.strictSame([created.statusCode, created.headers.location], [201, `${ISSUER}${path(id)}`], id)
    t.equal((await requestToken(id, created.json().client_secret))[0], 200, id)
    t.equal((await api('PATCH', path(id), { client_name: 'x' })).json().client_id, id, id)
    const { id: second } = (await api('POST', `${path(id)}/secrets`, {})).json()
    t.strictSame(outcome(await api('DELETE', `${path(id)}/secrets/${second}`)), [204, ''], id)
    t.strictSame(outcome(await api('DELETE', path(id))), [204, ''], id)
    t.strictSame(outcome(await api('GET', path(id))), NO_CLIENT, id)
  }
})

t.test('clients are listed by id in pages [AD5]', async (t) => {
  const ids = ['!', 'a/b', 'a+b', 'a%20b', 'B', 'b', '~']
  for (const id of ids) await add({ client_id: id })
  const all = (await api('GET', '/clients')).json()
  t.strictSame(all, { items: all.items, next_cursor: null })
  const listed: { client_id: string }[] = []
  const pages: number[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page = (await api('GET', `/clients?limit=3${query}`)).json()
    listed.push(...page.items)
    pages.push(page.items.length)
    cursor = page.next_cursor
  }
  t.ok(pages.slice(0, -1).every((size) => size === 3))
  t.strictSame(listed, all.items)
  const listedIds = listed.map(({ client_id }) => client_id)
  t.strictSame(listedIds, listedIds.toSorted())
  t.ok([...ids, 'docs'].every((id) => listedIds.includes(id)))
  t.strictSame(listed[0], { ...PLAIN, client_id: '!' })
  for (const query of ['limit=0', 'limit=101', 'limit=x', 'cursor=', `cursor=${'x'.repeat(256)}`, 'page=2'])
    t.equal((await api('GET', `/clients?${query}`)).statusCode, 400, query)
})

t.test('the client of /docs cannot be changed', async (t) => {
  const builtIn = conflict('The client of /docs cannot be changed; LATCHKEY_DOCS=false switches it off')
  const before = (await api('GET', '/clients/docs')).json()
  t.strictSame(before, {
    ...PLAIN,
    client_id: 'docs',
    client_name: 'Interactive documentation',
    grant_types: ['authorization_code', 'password', 'refresh_token'],
    redirect_uris: [`${ISSUER}/docs/static/oauth2-redirect.html`],
    scope: ALL_SCOPES.toSorted().join(' '),
    default_scope: 'profile',
    token_endpoint_auth_method: 'none',
    first_party: true,
    session_idle_ttl: 3600,
    session_absolute_ttl: 12 * 3600,
    client_id_issued_at: before.client_id_issued_at,
    updated_at: before.updated_at,
    secrets: []
  })
  for (const body of [{}, { client_name: 'x' }, { disabled: true }, { disabled: false }])
    t.strictSame(outcome(await api('PATCH', '/clients/docs', body)), builtIn)
  t.strictSame(outcome(await api('DELETE', '/clients/docs')), builtIn)
  t.strictSame(
    outcome(await api('POST', '/clients/docs/secrets', {})),
    conflict('A public client cannot keep a secret')
  )
  t.strictSame((await api('GET', '/clients/docs')).json(), before)
  t.type(await login('alice'), 'string')
})

t.test('an admin without a scope cannot give it to clients, and can only restrict clients with it [AD4]', async (t) => {
  const REFUSED = {
    ...forbidden({ role: 'admin' }),
    challenge:
      'Bearer realm="latchkey", error="insufficient_scope", error_description="You can give only roles and scopes that you have"',
    body: problem(403, 'You can give only roles and scopes that you have')
  }
  const orders = { id: 'orders', resource: 'https://orders.example', name: 'Orders', scopes: [{ name: 'orders:read' }] }
  await api('POST', '/resources', orders)
  const strong = { client_id: 'strong', grant_types: ['client_credentials'], scope: 'orders:read profile' }
  t.type(await add(strong), 'string', 'the role admin has every scope')
  await api('PATCH', '/roles/admin', { scopes: ALL_SCOPES })
  const before = (await api('GET', '/clients/strong')).json()
  for (const [method, url, body] of [
    ['POST', '/clients', { client_name: 'x', scope: 'orders:read' }],
    ['POST', '/clients', { client_name: 'x', scope: 'profile orders:read' }],
    ['PATCH', '/clients/strong', { client_name: 'x' }],
    ['PATCH', '/clients/strong', { redirect_uris: ['https://evil.example/'] }],
    ['PATCH', '/clients/strong', { disabled: false }],
    ['PATCH', '/clients/strong', { scope: 'orders:read' }],
    ['POST', '/clients/strong/secrets', {}],
    ['POST', '/clients/strong/secrets', { others_expire_in: 0 }]
  ] as const)
    t.strictSame(answer(await api(method, url, body)), REFUSED, `${method} ${url} ${JSON.stringify(body)}`)
  t.strictSame((await api('GET', '/clients/strong')).json(), before)

  t.match((await api('PATCH', '/clients/strong', { disabled: true })).json(), { disabled: true })
  t.strictSame(answer(await api('PATCH', '/clients/strong', { disabled: false })), REFUSED, 'enabling')
  t.equal((await api('DELETE', `/clients/strong/secrets/${before.secrets[0].id}`)).statusCode, 204)
  t.match((await api('PATCH', '/clients/strong', { scope: 'profile' })).json(), { scope: 'profile' })
  t.equal((await api('POST', '/clients/strong/secrets', {})).statusCode, 201, 'without the scope')

  const introspecting = { client_name: 'API', client_id: 'api', scope: 'tokens:introspect' }
  t.equal((await api('POST', '/clients', introspecting)).statusCode, 201, 'a scope that only clients have')
  t.equal((await api('POST', '/clients/api/secrets', {})).statusCode, 201)
})
