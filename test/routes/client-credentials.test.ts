import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { basic } from '../basic.ts'
import { answers, createForge, forbidden, guarded, INVALID_TOKEN, NOT_A_USER } from '../forge.ts'
import { build, createDatabase, ISSUER, type TestApp } from '../helper.ts'
import { FORM } from '../http.ts'

// test/domain/client-credentials.test.ts tests which scopes and lifetimes a client gets.

const GRANT = { grant_type: 'client_credentials' }

type Response = Awaited<ReturnType<TestApp['token']>>
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
/** The answer of each operation to a token of `job`. Two are for clients, and they require a scope that `job` lacks. */
const notForClients = (operation: string) =>
  ['GET /revocations', 'GET /resource-scopes'].includes(operation)
    ? forbidden({ scope: 'revocations:read' })
    : NOT_A_USER

const EVERY_SCOPE = [
  ...['clients', 'resources', 'roles', 'users'].flatMap((noun) => [`${noun}:read`, `${noun}:write`]),
  'tokens:introspect'
]

/** Builds an app with a resource `orders` and a client `job` with every scope. */
async function open(t: Test, at?: { url: string; dataDir: string }) {
  const world = await build(t, at === undefined ? {} : { at })
  const { clients, resources } = world.app.auth
  const scopes = [{ name: 'orders:read', description: '' }]
  await resources.create(OPERATOR, { id: 'orders', identifier: 'https://orders.example', name: 'Orders', scopes })
  const { secret } = await clients.create(OPERATOR, {
    id: 'job',
    name: 'A job',
    grantTypes: ['client_credentials'],
    scopes: [...EVERY_SCOPE, 'orders:read'],
    defaultScopes: ['users:read']
  })
  const own = { client_id: 'job', client_secret: secret as string }
  const ask = (form: Record<string, string> = {}) => world.token({ ...GRANT, ...own, ...form })
  const post = async (url: string, form: Record<string, string>) => {
    const payload = new URLSearchParams(form).toString()
    const response = await world.inject({ method: 'POST', url, headers: { 'content-type': FORM }, payload })
    return [response.statusCode, response.body && response.json()]
  }
  return { ...world, own, ask, post, jwt: async (form = {}) => (await ask(form)).json().access_token as string }
}
const world = await open(t)

t.test('a client gets a token in its own name, and no refresh token [TE1 CA7]', async (t) => {
  const { ask, inject, clock, app } = world
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
  t.strictSame(claims, {
    iss: ISSUER,
    sub: 'job',
    aud: ISSUER,
    client_id: 'job',
    iat: now,
    exp: now + 300,
    scope: 'users:read',
    roles: [],
    rev: await app.store.revocations.seq()
  })
  t.match(jti, /^[\w-]{22}$/)
  t.strictSame(Object.keys(protectedHeader).sort(), ['alg', 'kid', 'typ'])
  t.not(decodeJwt((await ask()).json().access_token).jti, jti, 'each token has its own id')
})

t.test(
  'a client that does not authenticate is invalid_client, and one without the grant unauthorized_client [CA5 CA6]',
  async (t) => {
    const { token, app, own } = world
    for (const [name, form, authorization] of [
      ['no client', {}],
      ['blank Basic', {}, basic('', '')],
      ['no secret', { client_id: 'job' }],
      ['no secret in Basic', {}, basic('job', '')],
      ['a wrong secret', { ...own, client_secret: 'lks_wrong' }],
      ['an unknown client', { ...own, client_id: 'nobody' }]
    ] as [string, object, string?][])
      t.strictSame(refusal(await token({ ...GRANT, ...form }, authorization ? { authorization } : {})), FAILED, name)

    const unauthorized = refused('unauthorized_client', 'The client may not use this grant type')
    t.strictSame(refusal(await token({ ...GRANT, client_id: 'docs' })), unauthorized, 'the public client of /docs')
    const { secret } = await app.auth.clients.create(OPERATOR, { id: 'web', name: 'Web', scopes: ['profile'] })
    t.strictSame(refusal(await token({ ...GRANT, client_id: 'web', client_secret: secret as string })), unauthorized)
    const login = { grant_type: 'password', username: 'alice', password: 'x', ...own }
    t.strictSame(refusal(await token(login)), unauthorized, 'another grant')
  }
)

t.test('the form of a client is read like that of a login [TE2 TE3 TE4 TE5 TE9]', async (t) => {
  const { token, own, ask } = world
  t.strictSame(
    refusal(await ask({ grant_type: '' })),
    refused('invalid_request', 'The parameter grant_type is missing')
  )
  const unsupported = refused('unsupported_grant_type', 'The grant type is not supported')
  for (const grant_type of ['Client_Credentials', 'client-credentials', 'client_credentials ', 'clientCredentials'])
    t.strictSame(refusal(await ask({ grant_type })), unsupported, grant_type)
  const form = new URLSearchParams({ ...GRANT, ...own }).toString()
  for (const twice of ['grant_type=client_credentials', 'client_id=job', 'client_secret=', 'scope=&scope=', 'x=&x='])
    t.strictSame(refusal(await token(`${form}&${twice}`)), refused('invalid_request', 'A parameter is repeated'), twice)
  const more = ['x=1', 'scope=', 'resource=', 'username=alice&password=x', 'refresh_token=x', 'client_assertion=']
  for (const each of [...more, 'client_assertion_type=', `resource=${ISSUER}&resource=${ISSUER}`]) {
    const response = await token(`${form}&${each}`)
    t.strictSame([response.statusCode, decodeJwt(response.json().access_token).sub], [200, 'job'], each)
  }
  for (const value of ['"zqx"', 'zqx\\', 'zqx\r\nx: 1', '<b>zqx', 'zqx\u2028é🔑', "zqx';--", '\x7fzqx']) {
    for (const name of ['scope', 'resource', 'client_assertion', 'client_assertion_type']) {
      const response = await ask({ [name]: value })
      t.equal(response.statusCode, 400)
      t.match(response.json().error_description, /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/)
      t.notMatch(`${response.body}${JSON.stringify(response.headers)}`, 'zqx', `${name}=${encodeURIComponent(value)}`)
    }
  }
})

t.test('every operation for users refuses the token of a client with all scopes: 403', async (t) => {
  const token = await world.jwt({ scope: EVERY_SCOPE.join(' ') })
  t.strictSame(decodeJwt(token).scope, EVERY_SCOPE.join(' '))
  t.ok(guarded().length > 20)
  await answers(t, world, token, notForClients)
  const { id } = await world.app.auth.users.find('alice')
  for (const url of [`/users/${id}`, '/clients/job']) t.equal((await world.get(url, token)).statusCode, 403, url)
})

t.test('a client that changes its token is never accepted as a user [CA7]', async (t) => {
  const { app, login, jwt } = world
  const alice = await app.auth.users.find('alice')
  const user = await login('alice')
  const { sid } = decodeJwt(user)
  const { token } = await createForge(world, await jwt())
  for (const claims of [{ sub: alice.id }, { sub: 'alice' }, { sid }, { sid, sub: alice.id }, { sub: 'docs' }])
    await answers(t, world, token({}, claims), INVALID_TOKEN)
  await answers(t, world, token({}, { roles: ['admin'], scope: 'profile users:read' }), notForClients)
  const ofUser = await createForge(world, user)
  t.equal((await world.get('/users/me', ofUser.token())).statusCode, 200)
  await answers(t, world, ofUser.token({}, { sid: undefined }), INVALID_TOKEN)
  await answers(t, world, ofUser.token({}, { sid: undefined, sub: 'docs' }), notForClients)
})

t.test('a token for another resource is refused [JW7]', async (t) => {
  const token = await world.jwt({ scope: 'orders:read' })
  await answers(t, world, token, (operation) =>
    operation.endsWith('/userinfo') ? notForClients(operation) : INVALID_TOKEN
  )
})

t.test('a token of a client is introspected without user and session, and can be revoked [CA7]', async (t) => {
  const { app, own, post, jwt, ask } = world
  await app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: ['job'] })
  const token = await jwt()
  const { jti, iat, exp } = decodeJwt(token)
  const active = {
    active: true,
    scope: 'users:read',
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
  t.strictSame(await post('/introspect', { token, ...own }), [200, active])
  const forge = await createForge(world, token)
  const greedy = forge.token({}, { roles: ['admin'], scope: 'users:read orders:write' })
  t.strictSame(await post('/introspect', { token: greedy, ...own }), [200, active], 'claims of a token give no rights')
  t.strictSame(await post('/revoke', { token, ...own }), [200, ''])
  t.strictSame(await post('/introspect', { token, ...own }), [200, { active: false }])
  await answers(t, world, token, INVALID_TOKEN)
  t.equal((await ask()).statusCode, 200, 'the client gets another token')
})

t.test('a token of a client that lost something is refused on every instance at the next request [SC6]', async (t) => {
  const at = await createDatabase(t, 'sqlite', 'ready')
  const one = await open(t, at)
  const two = await build(t, { at })
  const { clients } = one.app.auth
  /** `GET /users` is for users: a valid token of a client gets 403. */
  const states = async (token: string) => [
    (await one.get('/users', token)).statusCode,
    (await two.get('/users', token)).statusCode
  ]
  const [VALID, REFUSED] = [
    [403, 403],
    [401, 401]
  ]
  for (const [name, lost, restored] of [
    ['disabled', { disabled: true }, { disabled: false }],
    ['without the grant', { grantTypes: [] }, { grantTypes: ['client_credentials'] }],
    ['without the scope', { scopes: ['profile'] }, { scopes: EVERY_SCOPE, defaultScopes: ['users:read'] }]
  ] as const) {
    const token = await one.jwt()
    t.strictSame(await states(token), VALID, `before: ${name}`)
    await clients.change(OPERATOR, 'job', lost as object)
    t.strictSame(await states(token), REFUSED, name)
    await clients.change(OPERATOR, 'job', restored as object)
    t.strictSame(await states(token), REFUSED, `restored: ${name}`)
  }
  const token = await one.jwt()
  await clients.delete(OPERATOR, 'job')
  t.strictSame(await states(token), REFUSED)
  t.strictSame(refusal(await one.ask()), FAILED)
})
