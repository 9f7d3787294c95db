import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { answers, createForge, forbidden, guarded, INVALID_TOKEN } from '../forge.ts'
import { build, createDatabase, type Database, ISSUER, onOneDatabase, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const GRANT = { grant_type: 'client_credentials' }
const ORDERS = 'https://orders.example'
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const basic = (credentials: string) => ({ authorization: `Basic ${Buffer.from(credentials).toString('base64')}` })

type Response = Awaited<ReturnType<TestApp['token']>>

/** Status, and the body with the members of RFC 6749 §5.2. */
const refusal = (response: Response) => [
  response.statusCode,
  response.headers['www-authenticate'],
  response.headers['cache-control'],
  response.json()
]
const refused = (error: string, error_description: string) => [400, undefined, 'no-store', { error, error_description }]
const FAILED = [
  401,
  'Basic realm="latchkey"',
  'no-store',
  { error: 'invalid_client', error_description: 'Client authentication failed' }
]
/** What a client’s token gets everywhere: one operation is for clients, with another scope. */
const notForClients = (operation: string) =>
  forbidden(operation === 'GET /revocations' ? 'revocations:read' : undefined)
const NOT_ALLOWED = refused('invalid_scope', 'None of the requested scopes is allowed')

/** An app with a second service, `orders`, and one client: `job`, unless `client` says otherwise. */
async function open(
  t: Test,
  options: { database?: Database; at?: { url: string; dataDir: string }; env?: Record<string, string> } = {},
  client: Partial<NewClient> = {}
) {
  const world = await build(t, options)
  const { clients, resources } = world.app.auth
  await resources.create(OPERATOR, {
    id: 'orders',
    identifier: ORDERS,
    name: 'Orders',
    scopes: [
      { name: 'orders:read', description: 'See every order' },
      { name: 'orders:write', description: 'Take orders' }
    ]
  })
  const { secret } = await clients.create(OPERATOR, {
    id: 'job',
    name: 'A job',
    grantTypes: ['client_credentials'],
    scopes: ['users:read', 'profile', 'orders:read'],
    defaultScopes: ['users:read'],
    ...client
  })
  const own = { client_id: client.id ?? 'job', client_secret: secret as string }
  const ask = (form: Record<string, string> = {}) => world.token({ ...GRANT, ...own, ...form })
  return { ...world, own, ask, jwt: async (form = {}) => (await ask(form)).json().access_token as string }
}

onOneDatabase(t, 'a client gets a token in its own name, and no refresh token [TE1 CA7]', async (t, database) => {
  const { ask, inject, clock, app } = await open(t, { database })
  const response = await ask()
  const { access_token, ...rest } = response.json()
  t.strictSame([response.statusCode, rest], [200, { token_type: 'Bearer', expires_in: 300, scope: 'users:read' }])
  const { 'content-type': type, 'cache-control': cache, pragma } = response.headers
  t.strictSame([type, cache, pragma], ['application/json; charset=utf-8', 'no-store', 'no-cache'])

  const { payload, protectedHeader } = await jwtVerify(
    access_token,
    createLocalJWKSet((await inject({ url: '/.well-known/jwks.json' })).json()),
    { typ: 'at+jwt', issuer: ISSUER, audience: ISSUER, currentDate: new Date(clock.now()) }
  )
  const { jti, ...claims } = payload
  const now = clock.now() / 1000
  t.strictSame(
    claims,
    {
      iss: ISSUER,
      sub: 'job',
      aud: ISSUER,
      client_id: 'job',
      iat: now,
      exp: now + 300,
      scope: 'users:read',
      roles: [],
      rev: await app.store.revocations.seq()
    },
    'sub is the client, and there is no sid'
  )
  t.match(jti, /^[\w-]{22}$/)
  t.strictSame(Object.keys(protectedHeader).sort(), ['alg', 'kid', 'typ'])
  t.not(decodeJwt((await ask()).json().access_token).jti, jti, 'each token has an id of its own')
})

t.test('no session is opened for a client’s own token', async (t) => {
  const world = await open(t)
  const count = () => sql(world, 'select count(*) as n from sessions')
  const before = await count()
  t.equal((await world.ask()).statusCode, 200)
  t.strictSame(await count(), before)
})

t.test('a client’s own lifetime counts, to the second; without one that of the settings [TE1]', async (t) => {
  for (const [accessTokenTtl, setting, expected] of [
    [null, '120', 120],
    [1, '120', 1],
    [3600, '120', 3600]
  ] as const) {
    const world = await open(t, { env: { LATCHKEY_ACCESS_TOKEN_TTL: setting } }, { accessTokenTtl, method: undefined })
    const { access_token, expires_in } = (await world.ask()).json()
    const { iat = 0, exp = 0 } = decodeJwt(access_token)
    t.strictSame([expires_in, exp - iat], [expected, expected])
    const status = async () => (await world.get('/users', access_token)).statusCode
    world.clock.advance(expected - 1)
    t.equal(await status(), 403, 'still good, though of no user')
    world.clock.advance(1)
    t.equal(await status(), 401)
  }
})

onOneDatabase(t, 'what is granted: requested ∩ client ∩ resource [SC3]', async (t, database) => {
  const { ask, app } = await open(t, { database })
  const granted = async (form: Record<string, string>) => {
    const response = await ask(form)
    if (response.statusCode !== 200) return refusal(response)
    const { access_token, scope } = response.json()
    const claims = decodeJwt(access_token)
    t.equal(claims.scope, scope, 'the answer says what the token holds')
    return [claims.aud, scope]
  }
  t.strictSame(await granted({}), [ISSUER, 'users:read'], 'the default')
  t.strictSame(await granted({ scope: '' }), [ISSUER, 'users:read'], 'empty is none')
  t.strictSame(await granted({ scope: 'profile' }), [ISSUER, 'profile'], 'one that is no default')
  t.strictSame(await granted({ scope: 'profile users:read' }), [ISSUER, 'profile users:read'])
  t.strictSame(await granted({ scope: 'profile profile  profile' }), [ISSUER, 'profile'], 'each once')
  t.strictSame(await granted({ scope: 'users:write profile' }), [ISSUER, 'profile'], 'what is not allowed is left out')
  t.strictSame(await granted({ scope: 'users:write' }), NOT_ALLOWED)
  t.strictSame(await granted({ scope: 'tokens:introspect' }), NOT_ALLOWED)
  const unknown = refused('invalid_scope', 'A requested scope is not registered')
  t.strictSame(await granted({ scope: 'profile orders:delete' }), unknown)
  t.strictSame(await granted({ scope: 'PROFILE' }), unknown)

  t.strictSame(await granted({ scope: 'orders:read' }), [ORDERS, 'orders:read'], 'of another resource')
  t.strictSame(await granted({ scope: 'orders:read orders:write' }), [ORDERS, 'orders:read'])
  t.strictSame(await granted({ scope: 'orders:write' }), NOT_ALLOWED)
  t.strictSame(
    await granted({ scope: 'orders:read profile' }),
    refused('invalid_target', 'A token is for one resource: name one resource, or scopes of one'),
    'of two'
  )
  t.strictSame(await granted({ scope: 'orders:read profile', resource: ORDERS }), [ORDERS, 'orders:read'])
  t.strictSame(await granted({ scope: 'orders:read profile', resource: ISSUER }), [ISSUER, 'profile'])
  t.strictSame(await granted({ resource: ORDERS }), NOT_ALLOWED, 'no default scope is of it')
  t.strictSame(
    await granted({ resource: 'https://unknown.example' }),
    refused('invalid_target', 'The resource is not registered')
  )

  await app.auth.clients.change(OPERATOR, 'job', { resources: ['latchkey'] })
  t.strictSame(
    await granted({ scope: 'orders:read' }),
    refused('invalid_target', 'The client may not ask for this resource')
  )
  await app.auth.clients.change(OPERATOR, 'job', { defaultScopes: [] })
  t.strictSame(await granted({}), NOT_ALLOWED, 'without default')
})

t.test('1 KB and 50 scopes at most [SC1]', async (t) => {
  const { ask } = await open(t)
  const long = refused('invalid_scope', 'The scope is longer than 1024 characters or 50 items')
  t.strictSame(refusal(await ask({ scope: 'x'.repeat(1025) })), long)
  t.strictSame(refusal(await ask({ scope: Array.from({ length: 51 }, (_, i) => `s${i}`).join(' ') })), long)
})

onOneDatabase(t, 'only a confidential client that has the grant can use it [CA5 CA6]', async (t, database) => {
  const world = await open(t, { database })
  const { token, app, own } = world
  for (const [what, form, headers] of [
    ['nobody', {}, {}],
    ['blank Basic', {}, basic(':')],
    ['the client without its secret', { client_id: 'job' }, {}],
    ['the same in Basic', {}, basic('job:')],
    ['a wrong secret', { ...own, client_secret: 'lks_wrong' }, {}],
    ['an unknown client', { ...own, client_id: 'nobody' }, {}]
  ] as [string, object, Record<string, string>][])
    t.strictSame(refusal(await token({ ...GRANT, ...form }, headers)), FAILED, what)

  const unauthorized = refused('unauthorized_client', 'The client may not use this grant type')
  t.strictSame(refusal(await token({ ...GRANT, client_id: 'docs' })), unauthorized, 'the public client of /docs')
  const without = await app.auth.clients.create(OPERATOR, { id: 'web', name: 'Web', scopes: ['profile'] })
  const web = { client_id: 'web', client_secret: without.secret as string }
  t.strictSame(refusal(await token({ ...GRANT, ...web })), unauthorized)

  const publicApp = { name: 'App', method: 'none' as const, scopes: ['profile'] }
  await t.rejects(app.auth.clients.create(OPERATOR, { ...publicApp, id: 'app', grantTypes: ['client_credentials'] }), {
    code: 'invalid',
    message: 'The grant client_credentials is for confidential clients only'
  })
  await app.auth.clients.create(OPERATOR, { ...publicApp, id: 'app' })
  await t.rejects(app.auth.clients.change(OPERATOR, 'app', { grantTypes: ['client_credentials'] }), { code: 'invalid' })
  await sql(world, "update clients set grant_types = 'client_credentials' where id in ('app', 'docs')")
  for (const client_id of ['app', 'docs'])
    t.strictSame(refusal(await token({ ...GRANT, client_id })), unauthorized, 'whatever is registered')

  t.strictSame(
    refusal(await token({ ...GRANT, grant_type: 'password', username: 'alice', password: 'x', ...own })),
    unauthorized
  )
  const refresh = { grant_type: 'refresh_token', refresh_token: 'lkr_x', ...own }
  t.strictSame(refusal(await token(refresh)), unauthorized, 'nor any other that it has not')
})

onOneDatabase(t, 'the sub of a client’s token can never be a user’s [CA7]', async (t, database) => {
  const { app, createUser } = await open(t, { database })
  const alice = await app.auth.users.find('alice')
  const conflict = { code: 'conflict' }
  for (const id of [alice.id, alice.id.toUpperCase(), '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10'])
    await t.rejects(app.auth.clients.create(OPERATOR, { id, name: 'x' }), { code: 'invalid' }, id)
  for (const id of ['alice', 'ALICE', 'admin'])
    await t.rejects(app.auth.clients.create(OPERATOR, { id, name: 'x' }), conflict)
  for (const username of ['job', 'JOB', 'ｊｏｂ']) await t.rejects(createUser(username), conflict, username)
  const generated = await app.auth.clients.create(OPERATOR, { name: 'x' })
  t.match(generated.client.id, /^[0-9a-f]{32}$/)
  t.notMatch(generated.client.id, UUID)
})

t.test('grant_type is there, and written so [TE2 TE3]', async (t) => {
  const { ask } = await open(t)
  const missing = refused('invalid_request', 'The parameter grant_type is missing')
  t.strictSame(refusal(await ask({ grant_type: '' })), missing)
  const unsupported = refused('unsupported_grant_type', 'The grant type is not supported')
  for (const grant_type of ['Client_Credentials', 'client-credentials', 'client_credentials ', 'clientCredentials'])
    t.strictSame(refusal(await ask({ grant_type })), unsupported, grant_type)
})

t.test('nothing twice, what is unknown or empty is ignored [TE4 TE5]', async (t) => {
  const { token, own } = await open(t)
  const form = new URLSearchParams({ ...GRANT, ...own }).toString()
  for (const twice of ['grant_type=client_credentials', 'client_id=job', 'client_secret=', 'scope=&scope=', 'x=&x='])
    t.strictSame(
      refusal(await token(`${form}&${twice}`)),
      refused('invalid_request', 'A parameter is repeated'),
      `and ${twice}`
    )
  const more = ['x=1', 'scope=', 'resource=', 'username=alice&password=x', 'refresh_token=x', 'client_assertion=']
  for (const each of [...more, 'client_assertion_type=', `resource=${ISSUER}&resource=${ISSUER}`]) {
    const response = await token(`${form}&${each}`)
    t.strictSame([response.statusCode, decodeJwt(response.json().access_token).sub], [200, 'job'], `and ${each}`)
  }
})

t.test('only a form in a POST, nothing in the query [TE6 TE7 TE8]', async (t) => {
  const { inject, own } = await open(t)
  const payload = new URLSearchParams({ ...GRANT, ...own }).toString()
  const query = refused('invalid_request', 'The query does not have the form that the documentation describes')
  for (const each of ['client_id=job', `client_secret=${own.client_secret}`, 'grant_type=client_credentials', payload])
    t.strictSame(refusal(await inject({ method: 'POST', url: `/token?${each}`, headers: FORM, payload })), query)
  for (const method of ['GET', 'PUT', 'HEAD', 'DELETE'] as const) {
    const { statusCode, headers } = await inject({ method, url: '/token' })
    t.strictSame([statusCode, headers.allow], [405, 'POST'], method)
  }
  for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=b', null]) {
    const headers = { ...basic(`job:${own.client_secret}`), ...(type === null ? {} : { 'content-type': type }) }
    const body = Buffer.from(type === 'application/json' ? JSON.stringify(GRANT) : 'grant_type=client_credentials')
    const response = await inject({ method: 'POST', url: '/token', headers, payload: body })
    t.strictSame([response.statusCode, response.json().error], [415, 'invalid_request'], String(type))
  }
})

t.test('hostile values are refused in plain ASCII that repeats nothing [TE9]', async (t) => {
  const { ask } = await open(t)
  const names = ['scope', 'resource', 'client_id', 'client_secret', 'client_assertion', 'client_assertion_type']
  for (const value of ['"zqx"', 'zqx\\', 'zqx\r\nx: 1', '<b>zqx', 'zqx\u2028é🔑', "zqx';--", '\x7fzqx'])
    for (const name of names) {
      const response = await ask({ [name]: value })
      const { error, error_description, ...more } = response.json()
      t.ok([400, 401].includes(response.statusCode))
      t.strictSame(more, {})
      t.match(error, /^[a-z_]+$/)
      t.match(error_description, /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/)
      t.notMatch(`${response.body}${JSON.stringify(response.headers)}`, 'zqx', `${name}=${encodeURIComponent(value)}`)
    }
})

onOneDatabase(t, 'a client is no user: 403 wherever one is needed, with every scope there is', async (t, database) => {
  const every = [
    ...['clients', 'resources', 'roles', 'users'].flatMap((n) => [`${n}:read`, `${n}:write`]),
    'profile'
  ].sort()
  const client = { scopes: [...every, 'tokens:introspect'], defaultScopes: every }
  const world = await open(t, { database }, client)
  const token = await world.jwt()
  t.strictSame(decodeJwt(token).scope, every.join(' '))
  t.ok(guarded().length > 20)
  await answers(t, world, token, notForClients)
  const { id } = await world.app.auth.users.find('alice')
  for (const url of [`/users/${id}`, '/clients/job']) t.equal((await world.get(url, token)).statusCode, 403, url)
})

onOneDatabase(t, 'a client’s token is never taken as a user’s, whatever is changed of it', async (t, database) => {
  const world = await open(t, { database })
  const { app, login, jwt } = world
  const alice = await app.auth.users.find('alice')
  const user = await login('alice')
  const { sid } = decodeJwt(user)
  const { token } = await createForge(world, await jwt())
  await answers(t, world, token(), notForClients)
  for (const [what, claims] of [
    ['with a user for its sub', { sub: alice.id }],
    ['with a username for its sub', { sub: 'alice' }],
    ['with a session', { sid }],
    ['with a session and its user', { sid, sub: alice.id }],
    ['with another client for its sub', { sub: 'docs' }]
  ] as const)
    await t.test(what, (t) => answers(t, world, token({}, claims), INVALID_TOKEN))
  await t.test('with roles, which count for nothing', (t) =>
    answers(t, world, token({}, { roles: ['admin'], scope: 'profile users:read' }), notForClients)
  )
  const forged = await createForge(world, user)
  t.equal((await world.get('/users/me', forged.token())).statusCode, 200)
  await t.test('nor a user’s without its session', (t) =>
    answers(t, world, forged.token({}, { sid: undefined }), INVALID_TOKEN)
  )
  await t.test('as the client’s own', (t) =>
    answers(t, world, forged.token({}, { sid: undefined, sub: 'docs' }), notForClients)
  )
})

t.test('a token for another service is none for this one', async (t) => {
  const world = await open(t)
  await answers(t, world, await world.jwt({ scope: 'orders:read' }), INVALID_TOKEN)
})

onOneDatabase(
  t,
  'disabled, without the grant, without the scope, or deleted: its tokens are dead at once, on the other instance too [SC6]',
  async (t, database) => {
    const at = await createDatabase(t, database)
    const one = await open(t, { at })
    const two = await build(t, { at })
    const { clients } = one.app.auth
    const { secret } = await clients.create(OPERATOR, { id: 'asker', name: 'x', scopes: ['tokens:introspect'] })
    await one.app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: ['asker'] })
    const asker = { client_id: 'asker', client_secret: secret as string }
    const active = async (token: string) => {
      const payload = new URLSearchParams({ token, ...asker }).toString()
      return (await two.inject({ method: 'POST', url: '/introspect', headers: FORM, payload })).json().active
    }
    const states = async (token: string) => [
      (await one.get('/users', token)).statusCode,
      (await two.get('/users', token)).statusCode,
      await active(token)
    ]
    const ends: [what: string, end: () => Promise<unknown>, mend: () => Promise<unknown>][] = [
      [
        'disabled',
        () => clients.change(OPERATOR, 'job', { disabled: true }),
        () => clients.change(OPERATOR, 'job', { disabled: false })
      ],
      [
        'without the grant',
        () => clients.change(OPERATOR, 'job', { grantTypes: [] }),
        () => clients.change(OPERATOR, 'job', { grantTypes: ['client_credentials'] })
      ],
      [
        'without the scope',
        () => clients.change(OPERATOR, 'job', { scopes: ['profile'] }),
        () => clients.change(OPERATOR, 'job', { scopes: ['users:read', 'profile'], defaultScopes: ['users:read'] })
      ]
    ]
    for (const [what, end, mend] of ends) {
      const token = await one.jwt()
      t.strictSame(await states(token), [403, 403, true], 'good before')
      await end()
      t.strictSame(await states(token), [401, 401, false], what)
      await mend()
      t.strictSame(await states(token), [401, 401, false], `${what}: what is mended revives nothing`)
    }
    const token = await one.jwt()
    t.strictSame(await states(token), [403, 403, true])
    await clients.change(OPERATOR, 'job', { scopes: ['users:read', 'profile', 'users:write'], name: 'Another' })
    t.strictSame(await states(token), [403, 403, true], 'what is added ends nothing')
    await clients.delete(OPERATOR, 'job')
    t.strictSame(await states(token), [401, 401, false], 'deleted')
    t.strictSame(refusal(await one.ask()), FAILED)
  }
)
onOneDatabase(t, 'a disabled client gets none, and one whose secret is deleted [SC6]', async (t, database) => {
  const { app, ask, own, token } = await open(t, { database })
  await app.auth.clients.change(OPERATOR, 'job', { disabled: true })
  t.strictSame(refusal(await ask()), FAILED)
  await app.auth.clients.change(OPERATOR, 'job', { disabled: false })
  t.equal((await ask()).statusCode, 200)
  const second = await app.auth.clients.addSecret(OPERATOR, 'job', {})
  const [first] = await app.auth.clients.secrets('job')
  await app.auth.clients.deleteSecret(OPERATOR, { id: 'job', secretId: first?.id as string })
  t.strictSame(refusal(await ask()), FAILED)
  t.equal((await token({ ...GRANT, ...own, client_secret: second.secret })).statusCode, 200)
})

onOneDatabase(
  t,
  'a client’s own token is told as what it is (RFC 7662), and can be revoked [CA7]',
  async (t, database) => {
    const scopes = ['tokens:introspect', 'profile']
    const world = await open(t, { database }, { scopes, defaultScopes: ['profile'] })
    const { app, own, inject, jwt, ask } = world
    await app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: ['job'] })
    const post = async (url: string, token: string) => {
      const payload = new URLSearchParams({ token, ...own }).toString()
      const response = await inject({ method: 'POST', url, headers: FORM, payload })
      return [response.statusCode, response.body && response.json()]
    }
    const token = await jwt()
    const { jti, iat, exp } = decodeJwt(token)
    const told = {
      active: true,
      scope: 'profile',
      client_id: 'job',
      sub: 'job',
      exp,
      iat,
      iss: ISSUER,
      token_type: 'Bearer',
      aud: ISSUER,
      jti,
      roles: []
    }
    t.strictSame(await post('/introspect', token), [200, told], 'no username and no session')
    const forge = await createForge(world, token)
    const more = forge.token({}, { roles: ['admin'], scope: 'profile users:read' })
    t.strictSame(await post('/introspect', more), [200, told], 'whatever is signed, as things are')
    t.strictSame(await post('/revoke', token), [200, ''])
    t.strictSame(await post('/introspect', token), [200, { active: false }])
    await answers(t, world, token, INVALID_TOKEN)
    t.equal((await ask()).statusCode, 200, 'the next one is good')
  }
)
