import { createHash, generateKeyPairSync } from 'node:crypto'
import { SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { BUILT_IN_SCOPES } from '../../src/domain/built-in.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { answer, forbidden } from '../forge.ts'
import { build, createDatabase, type Database, ISSUER, NOBODY, onOneDatabase, PASSWORD } from '../helper.ts'

const ALL = BUILT_IN_SCOPES.map(({ name }) => name).join(' ')
const AT = '2026-01-01T12:00:00.000Z'
const ISSUED = Date.parse(AT) / 1000
const DAY = 86_400

const problem = (status: number, title: string, detail: string) => ({ type: 'about:blank', title, status, detail })
const NO_CLIENT = problem(404, 'Not Found', 'There is no such client')
const NO_SECRET = problem(404, 'Not Found', 'The client has no such secret')
const BUILT_IN = problem(409, 'Conflict', 'The client of /docs cannot be changed; LATCHKEY_DOCS=false switches it off')
const invalid = (detail: string) => problem(400, 'Bad Request', detail)
const conflict = (detail: string) => problem(409, 'Conflict', detail)
const CANNOT_GIVE = {
  ...forbidden(),
  challenge:
    'Bearer realm="latchkey", error="insufficient_scope", error_description="Nobody can give what they do not have"',
  body: problem(403, 'Forbidden', 'Nobody can give what they do not have')
}
const FAILED = [401, { error: 'invalid_client', error_description: 'Client authentication failed' }]

/** What a client is of which nothing but its name was said. */
const PLAIN = {
  client_name: 'Worker',
  grant_types: [],
  scope: '',
  default_scope: '',
  resources: [],
  redirect_uris: [],
  token_endpoint_auth_method: 'client_secret_basic',
  first_party: false,
  access_token_ttl: null,
  session_idle_ttl: 14 * DAY,
  session_absolute_ttl: 90 * DAY,
  disabled: false,
  client_id_issued_at: ISSUED,
  updated_at: AT
}
const SERVICE = { grant_types: ['client_credentials'], scope: 'profile users:read', default_scope: 'profile' }

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE'

/** An app, and requests by an admin whose token is always a fresh one. */
async function start(
  test: Test,
  database: Database = 'sqlite',
  more: { at?: Awaited<ReturnType<typeof createDatabase>> } = {}
) {
  const world = await build(test, { database, ...more })
  const { app, clock, login, send, token, get } = world
  let bearer = { token: '', since: 0 }
  const api = async (method: Method, url: string, body?: object) => {
    if (clock.now() - bearer.since >= 200_000) bearer = { token: await login('admin', ALL), since: clock.now() }
    return send(bearer.token, method, url, body)
  }
  return {
    ...world,
    api,
    /** Registers a client and gives its secret. */
    add: async (body: object): Promise<string> =>
      (await api('POST', '/clients', { client_name: 'Worker', ...body })).json().client_secret,
    /** The answer to a client in its own name. */
    asks: async (client_id: string, client_secret: string, more: object = {}) => {
      const response = await token({ grant_type: 'client_credentials', client_id, client_secret, ...more })
      return [response.statusCode, response.json()]
    },
    me: async (jwt: string) => (await get('/users/me', jwt)).statusCode,
    since: async (seq: number) =>
      (await app.store.revocations.since(seq, 100)).entries.map(({ kind, id }) => ({ kind, id }))
  }
}

/** The answer in full, but for what is in its headers. */
const outcome = ({ statusCode, body }: { statusCode: number; body: string }) => [
  statusCode,
  body === '' ? '' : JSON.parse(body)
]
const path = (id: string) => `/clients/${encodeURIComponent(id)}`

onOneDatabase(
  t,
  'an admin registers a client, which gets a token; sees, changes and deletes it',
  async (t, database) => {
    const { api, asks, clock } = await start(t, database)
    const created = await api('POST', '/clients', {
      client_name: 'Orders worker',
      client_id: 'worker',
      grant_types: ['client_credentials', 'refresh_token'],
      scope: ' users:read  profile users:read',
      default_scope: 'profile',
      resources: ['latchkey'],
      redirect_uris: ['https://worker.example/back', 'http://127.0.0.1:8080/', 'com.example.worker:/back'],
      access_token_ttl: 600,
      session_idle_ttl: 60,
      session_absolute_ttl: 3600
    })
    const { client_secret: secret, ...registered } = created.json()
    const client = {
      ...PLAIN,
      client_id: 'worker',
      client_name: 'Orders worker',
      grant_types: ['client_credentials', 'refresh_token'],
      scope: 'profile users:read',
      default_scope: 'profile',
      resources: ['latchkey'],
      redirect_uris: ['https://worker.example/back', 'http://127.0.0.1:8080/', 'com.example.worker:/back'],
      access_token_ttl: 600,
      session_idle_ttl: 60,
      session_absolute_ttl: 3600
    }
    t.match(secret, /^lks_[\w-]{43}$/)
    t.strictSame(
      [created.statusCode, created.headers.location, created.headers['cache-control'], registered],
      [201, `${ISSUER}/clients/worker`, 'no-store', { ...client, client_secret_expires_at: 0 }]
    )
    const { secrets, ...shown } = (await api('GET', '/clients/worker')).json()
    t.strictSame(shown, client)
    t.match(secrets[0].id, /^[0-9a-f-]{36}$/)
    t.strictSame(secrets, [{ id: secrets[0].id, created_at: AT, client_secret_expires_at: 0, last_used_at: null }])
    const [status, { access_token, ...rest }] = (await asks('worker', secret)) as [number, { access_token: string }]
    t.strictSame([status, rest], [200, { token_type: 'Bearer', expires_in: 600, scope: 'profile' }], 'no refresh token')
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
    t.strictSame(outcome(await api('GET', '/clients/worker')), [
      200,
      { ...changed, secrets: [{ ...secrets[0], last_used_at: AT }] }
    ])
    t.strictSame(await asks('worker', secret), FAILED)
    t.strictSame(outcome(await api('DELETE', '/clients/worker')), [204, ''])
    for (const [method, url, body] of [
      ['GET', '/clients/worker'],
      ['PATCH', '/clients/worker', { client_name: 'x' }],
      ['DELETE', '/clients/worker'],
      ['POST', '/clients/worker/secrets', {}]
    ] as const)
      t.strictSame(outcome(await api(method, url, body)), [404, NO_CLIENT], `${method} ${url}`)
    t.strictSame(outcome(await api('DELETE', `/clients/worker/secrets/${secrets[0].id}`)), [404, NO_SECRET])
  }
)

onOneDatabase(t, 'a client has an id of its own when none is given, and an id is taken once', async (t, database) => {
  const { api } = await start(t, database)
  const {
    client_id: id,
    client_secret: secret,
    ...rest
  } = (await api('POST', '/clients', { client_name: 'Worker' })).json()
  t.match(id, /^[0-9a-f]{32}$/)
  t.match(secret, /^lks_/)
  t.strictSame(rest, { ...PLAIN, client_secret_expires_at: 0 })
  t.strictSame(outcome(await api('POST', '/clients', { client_name: 'Again', client_id: id })), [
    409,
    conflict('A client with this id is there already')
  ])
  const { secrets, ...shown } = (await api('GET', `/clients/${id}`)).json()
  t.strictSame([shown, secrets.length], [{ ...PLAIN, client_id: id }, 1], 'the first one is as it was')
  t.equal(
    (await api('POST', '/clients', { client_name: 'x', client_id: id.toUpperCase() })).statusCode,
    201,
    'case matters'
  )
})

t.test('a public client and one with keys have no secret', async (t) => {
  const { api } = await start(t)
  const page = { client_name: 'Page', client_id: 'page', token_endpoint_auth_method: 'none' }
  t.strictSame(outcome(await api('POST', '/clients', page)), [201, { ...PLAIN, ...page }])
  const { kty, crv, x, y } = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
  const jwks = { keys: [{ kty, crv, x, y, kid: 'one', use: 'sig' }] }
  const keyed = { client_name: 'Keyed', client_id: 'keyed', token_endpoint_auth_method: 'private_key_jwt' }
  const kept = { keys: [{ kty, crv, x, y, alg: 'ES256', kid: 'one' }] }
  t.strictSame(outcome(await api('POST', '/clients', { ...keyed, jwks })), [201, { ...PLAIN, ...keyed, jwks: kept }])
  for (const id of ['page', 'keyed']) t.strictSame((await api('GET', `/clients/${id}`)).json().secrets, [])
  t.strictSame(outcome(await api('POST', '/clients/page/secrets', {})), [
    409,
    conflict('A public client cannot keep a secret')
  ])
  t.strictSame(
    (await api('PATCH', '/clients/keyed', { jwks: { keys: [...kept.keys, { ...jwks.keys[0], kid: 'two' }] } })).json()
      .jwks.keys.length,
    2
  )
  t.strictSame(outcome(await api('PATCH', '/clients/keyed', { jwks: null })), [
    200,
    { ...PLAIN, ...keyed, token_endpoint_auth_method: 'client_secret_basic' }
  ])
  t.strictSame(outcome(await api('PATCH', '/clients/page', { jwks })), [400, invalid('A public client has no keys')])
})

t.test('a client is found under its id, whatever characters are in it', async (t) => {
  const { api, asks } = await start(t)
  const ids = [
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
  ]
  for (const id of ids) {
    const created = await api('POST', '/clients', { client_name: 'Worker', client_id: id, ...SERVICE })
    t.strictSame([created.statusCode, created.headers.location], [201, `${ISSUER}${path(id)}`], id)
    const { client_secret: secret } = created.json()
    t.equal((await asks(id, secret))[0], 200, id)
    t.equal((await api('GET', path(id))).json().client_id, id, id)
    t.equal((await api('PATCH', path(id), { client_name: 'x' })).json().client_id, id, id)
    const { id: second } = (await api('POST', `${path(id)}/secrets`, {})).json()
    t.strictSame(outcome(await api('DELETE', `${path(id)}/secrets/${second}`)), [204, ''], id)
    t.strictSame(outcome(await api('DELETE', path(id))), [204, ''], id)
    t.strictSame(outcome(await api('GET', path(id))), [404, NO_CLIENT], id)
  }
})

/** Where a request is not as the document says. */
const pointers = (response: { json: () => { errors?: { pointer: string }[] } }) =>
  response.json().errors?.map(({ pointer }) => pointer)
const FORM = 'The request does not have the form that the documentation describes'

t.test('what is wrong with a client is said, and nothing is stored', async (t) => {
  const { api } = await start(t)
  const add = (body: object) => api('POST', '/clients', { client_name: 'Worker', ...body })
  const ID = 'A client id has 1 to 255 printable ASCII characters and no space, and is not a UUID'
  const REDIRECT =
    'A redirect URI must be an absolute URI without fragment: https, http on a loopback host, or a scheme with a dot'
  const PASSWORD_GRANT = 'The grant password is for first-party clients only'
  const METHOD = 'A client must have jwks with the method private_key_jwt, and with no other method'
  const open = { token_endpoint_auth_method: 'none' }
  const refusals: [body: object, detail: string][] = [
    ...['.', '..', NOBODY, NOBODY.toUpperCase()].map((client_id): [object, string] => [{ client_id }, ID]),
    [
      { grant_types: ['magic'] },
      'There is no grant "magic"; the grants are password, refresh_token, client_credentials'
    ],
    [{ grant_types: ['password'] }, PASSWORD_GRANT],
    [{ grant_types: ['password'], ...open }, PASSWORD_GRANT],
    [{ grant_types: ['client_credentials'], ...open }, 'The grant client_credentials is for confidential clients only'],
    [{ scope: 'tokens:introspect', ...open }, 'The scope tokens:introspect is for confidential clients only'],
    [{ scope: 'revocations:read', ...open }, 'The scope revocations:read is for confidential clients only'],
    [{ scope: 'none:such' }, 'There is no scope "none:such"'],
    [{ scope: 'profile\tusers:read' }, 'There is no scope "profile\\tusers:read"'],
    [{ resources: ['none'] }, 'There is no resource "none"'],
    [{ resources: ['latchkey', 'latchkey latchkey'] }, 'There is no resource "latchkey latchkey"'],
    [
      { scope: Array.from({ length: 101 }, (_, n) => `s:${n}`).join(' ') },
      'A client has at most 100 scopes, resources and redirect URIs'
    ],
    ...[
      '',
      'back',
      '/back',
      '//app.example/back',
      'http://app.example/back',
      'http://127.0.0.2/',
      'http://localhost.example/',
      'https://',
      'https://app.example/#',
      'https://app.example/#x',
      'https://user@app.example/',
      'https://user:secret@app.example/',
      'https://app.example/ x',
      'https://äpp.example/',
      'javascript:alert(1)',
      'data:text/html,x',
      'app:/back',
      'urn:ietf:wg:oauth:2.0:oob'
    ].map((uri): [object, string] => [{ redirect_uris: ['https://app.example/', uri] }, REDIRECT]),
    [{ token_endpoint_auth_method: 'private_key_jwt' }, METHOD]
  ]
  for (const [body, detail] of refusals)
    t.strictSame(outcome(await add(body)), [400, invalid(detail)], JSON.stringify(body))

  const malformed: [body: object, pointer: string][] = [
    ...['', ' ', 'a b', 'a\n', 'é', 'x'.repeat(256), 7, null].map((client_id): [object, string] => [
      { client_id },
      '/body/client_id'
    ]),
    ...['', 'a\nb', 'x'.repeat(201), 7, null].map((client_name): [object, string] => [
      { client_name },
      '/body/client_name'
    ]),
    [{ grant_types: 'password' }, '/body/grant_types'],
    [{ grant_types: ['refresh_token', 'refresh_token'] }, '/body/grant_types'],
    [{ scope: ['profile'] }, '/body/scope'],
    [{ scope: 'x'.repeat(4097) }, '/body/scope'],
    [{ resources: 'latchkey' }, '/body/resources'],
    [{ redirect_uris: Array.from({ length: 101 }, (_, n) => `https://app.example/${n}`) }, '/body/redirect_uris'],
    [{ redirect_uris: [`https://app.example/${'x'.repeat(2000)}`] }, '/body/redirect_uris/0'],
    [{ first_party: 'true' }, '/body/first_party'],
    ...[0, 31_536_001, 1.5, -1, null, '60'].flatMap((ttl): [object, string][] => [
      [{ session_idle_ttl: ttl }, '/body/session_idle_ttl'],
      [{ session_absolute_ttl: ttl }, '/body/session_absolute_ttl']
    ]),
    ...[0, 3601, 1.5, '60'].map((ttl): [object, string] => [{ access_token_ttl: ttl }, '/body/access_token_ttl']),
    [{ jwks: { keys: [] } }, '/body/jwks/keys'],
    [{ jwks: [] }, '/body/jwks'],
    [{ jwks: {} }, '/body/jwks/keys']
  ]
  for (const [body, pointer] of malformed) {
    const response = await add(body)
    t.strictSame([response.statusCode, pointers(response)?.[0]], [400, pointer], JSON.stringify(body).slice(0, 80))
    t.match(response.json().detail, /^(The request does not have the form|The parameter \w+ is missing)/)
  }
  const wrong = await add({ token_endpoint_auth_method: 'tls_client_auth' })
  t.strictSame([wrong.statusCode, wrong.json().detail], [400, FORM])
  const { items } = (await api('GET', '/clients')).json()
  t.strictSame(
    items.map(({ client_id }: { client_id: string }) => client_id),
    ['docs']
  )
})

t.test('a change is held against what the client would be then', async (t) => {
  const { api, add } = await start(t)
  await add({ client_id: 'own', first_party: true, grant_types: ['password'], scope: 'profile' })
  await add({ client_id: 'page', token_endpoint_auth_method: 'none' })
  const before = (await api('GET', '/clients')).json()
  const refusals: [id: string, body: object, detail: string][] = [
    ['own', { first_party: false }, 'The grant password is for first-party clients only'],
    [
      'own',
      { grant_types: ['passwords'] },
      'There is no grant "passwords"; the grants are password, refresh_token, client_credentials'
    ],
    ['own', { scope: 'profile none' }, 'There is no scope "none"'],
    ['own', { resources: ['none'] }, 'There is no resource "none"'],
    [
      'own',
      { redirect_uris: ['http://app.example'] },
      'A redirect URI must be an absolute URI without fragment: https, http on a loopback host, or a scheme with a dot'
    ],
    ['page', { grant_types: ['client_credentials'] }, 'The grant client_credentials is for confidential clients only'],
    ['page', { scope: 'tokens:introspect' }, 'The scope tokens:introspect is for confidential clients only']
  ]
  for (const [id, body, detail] of refusals)
    t.strictSame(outcome(await api('PATCH', path(id), body)), [400, invalid(detail)], JSON.stringify(body))
  t.strictSame((await api('GET', '/clients')).json(), before)
  const together = await api('PATCH', '/clients/own', { first_party: false, grant_types: [] })
  t.match(together.json(), { first_party: false, grant_types: [], scope: 'profile' })
})

t.test('a default scope is one of the scopes, also when they change', async (t) => {
  const { api, add } = await start(t)
  await add({ client_id: 'worker', scope: 'profile users:read', default_scope: 'users:read profile' })
  const change = async (body: object) => {
    const { scope, default_scope } = (await api('PATCH', '/clients/worker', body)).json()
    return [scope, default_scope]
  }
  t.strictSame(
    await change({ scope: 'profile roles:read' }),
    ['profile roles:read', 'profile roles:read'],
    'it was all'
  )
  const wrong = await api('PATCH', '/clients/worker', { default_scope: 'roles:read clients:read' })
  t.strictSame([wrong.statusCode, wrong.json().detail], [400, 'Every default scope must be one of the scopes'])
  t.strictSame(await change({ default_scope: 'roles:read' }), ['profile roles:read', 'roles:read'])
  t.strictSame(await change({ scope: 'profile', default_scope: 'profile' }), ['profile', 'profile'])
  t.strictSame(await change({ scope: '' }), ['', ''])
})

t.test('keys are public ones for the algorithms of assertions', async (t) => {
  const { api } = await start(t)
  const jwk = (type: 'ec' | 'rsa' | 'ed25519' | 'x25519', options: object = {}) =>
    (generateKeyPairSync as (type: string, options: object) => ReturnType<typeof generateKeyPairSync>)(type, options)
  const [ec, ed, rsa] = [jwk('ec', { namedCurve: 'P-256' }), jwk('ed25519'), jwk('rsa', { modulusLength: 2048 })]
  const as = (key: { export: (options: object) => object }) => key.export({ format: 'jwk' }) as Record<string, string>
  const pub = as(ec.publicKey as never)
  const KEY =
    'A key must be a public JWK for ES256 (P-256), EdDSA (Ed25519), or RS256 or PS256 (RSA, 2048 to 4096 bits)'
  const add = (keys: object[], more: object = {}) =>
    api('POST', '/clients', {
      client_name: 'Keyed',
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys },
      ...more
    })
  const bad: Record<string, object> = {
    'private EC': as(ec.privateKey as never),
    'private Ed25519': as(ed.privateKey as never),
    'private RSA': as(rsa.privateKey as never),
    ...Object.fromEntries(
      ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].map((name) => [
        `the private member ${name}`,
        { ...pub, [name]: '' }
      ])
    ),
    oct: { kty: 'oct', k: 'c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0' },
    'oct as ES256': { kty: 'oct', k: 'c2VjcmV0', alg: 'ES256' },
    'RSA of 1024 bits': as(jwk('rsa', { modulusLength: 1024 }).publicKey as never),
    'RSA of 8192 bits': { ...as(rsa.publicKey as never), n: Buffer.alloc(1024, 0xff).toString('base64url') },
    'RSA with the exponent 1, whose signatures need no private key': { ...as(rsa.publicKey as never), e: 'AQ' },
    'RSA with the exponent 3': { ...as(rsa.publicKey as never), e: 'Aw' },
    'RSA for ES256': { ...as(rsa.publicKey as never), alg: 'ES256' },
    'EC for RS256': { ...pub, alg: 'RS256' },
    'P-384': as(jwk('ec', { namedCurve: 'P-384' }).publicKey as never),
    'P-521 as ES256': { ...as(jwk('ec', { namedCurve: 'P-521' }).publicKey as never), alg: 'ES256' },
    secp256k1: as(jwk('ec', { namedCurve: 'secp256k1' }).publicKey as never),
    X25519: as(jwk('x25519').publicKey as never),
    HS256: { ...pub, alg: 'HS256' },
    none: { ...pub, alg: 'none' },
    ES384: { ...pub, alg: 'ES384' },
    'use: enc': { ...pub, use: 'enc' },
    'key_ops without verify': { ...pub, key_ops: ['sign'] },
    'key_ops as a text': { ...pub, key_ops: 'verify' },
    'a kid that is no text': { ...pub, kid: 7 },
    'an empty kid': { ...pub, kid: '' },
    'a kid of 256 characters': { ...pub, kid: 'x'.repeat(256) },
    'a point that is on no curve': { ...pub, y: pub.x },
    'half a point': { kty: 'EC', crv: 'P-256', x: pub.x },
    'an unknown type': { kty: 'AKP' }
  }
  for (const [what, key] of Object.entries(bad)) {
    t.strictSame(outcome(await add([key])), [400, invalid(KEY)], what)
    t.strictSame(outcome(await add([pub, key])), [400, invalid(KEY)], `${what}, beside a good one`)
  }
  const eleven = await add(Array.from({ length: 11 }, () => pub))
  t.strictSame([eleven.statusCode, pointers(eleven)], [400, ['/body/jwks/keys']], '11 keys')
  const SAME = 'Keys for the same algorithm must have different kids'
  const another = as(jwk('ec', { namedCurve: 'P-256' }).publicKey as never)
  for (const [what, keys] of Object.entries({
    'the same key twice': [pub, pub],
    'two without kid': [pub, another],
    'one of two without kid': [{ ...pub, kid: 'one' }, another],
    'one kid for two': [
      { ...pub, kid: 'one' },
      { ...another, kid: 'one' }
    ]
  }))
    t.strictSame(outcome(await add(keys)), [400, invalid(SAME)], what)
  const two = await add([
    { ...pub, kid: 'one' },
    { ...another, kid: 'two' }
  ])
  t.equal(two.statusCode, 201)
  const METHOD = 'A client must have jwks with the method private_key_jwt, and with no other method'
  for (const method of ['none', 'client_secret_basic', 'client_secret_post'])
    t.strictSame(outcome(await add([pub], { token_endpoint_auth_method: method })), [400, invalid(METHOD)], method)

  const good = [
    { ...pub, kid: 'x'.repeat(255), alg: 'ES256', use: 'sig', key_ops: ['verify'], x5c: ['AA=='] },
    as(ed.publicKey as never),
    as(rsa.publicKey as never),
    { ...as(rsa.publicKey as never), alg: 'PS256' }
  ]
  const { jwks } = (await add(good)).json()
  t.strictSame(jwks.keys, [
    { ...pub, alg: 'ES256', kid: 'x'.repeat(255) },
    { ...as(ed.publicKey as never), alg: 'EdDSA' },
    { ...as(rsa.publicKey as never), alg: 'RS256' },
    { ...as(rsa.publicKey as never), alg: 'PS256' }
  ])
})

onOneDatabase(t, 'an assertion can end between two milliseconds (RFC 7519 §2) [CA8]', async (t, database) => {
  const { api, token } = await start(t, database)
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwks = { keys: [publicKey.export({ format: 'jwk' })] }
  const client = { client_name: 'K', client_id: 'k', token_endpoint_auth_method: 'private_key_jwt', jwks, ...SERVICE }
  t.equal((await api('POST', '/clients', client)).statusCode, 201)
  const claims = { iss: 'k', sub: 'k', aud: ISSUER, jti: 'one', exp: ISSUED + 60.0123 }
  const form = {
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: await new SignJWT(claims).setProtectedHeader({ alg: 'ES256' }).sign(privateKey)
  }
  t.equal((await token(form)).statusCode, 200)
  t.strictSame(outcome(await token(form)), FAILED, 'once')
})

t.test('nobody sets what is not to be set [AD3]', async (t) => {
  const { api, add } = await start(t)
  await add({ client_id: 'worker' })
  const before = (await api('GET', '/clients/worker')).json()
  const always = ['id', 'kind', 'client_secret', 'secrets', 'client_id_issued_at', 'updated_at', 'created_at', 'hash']
  const more = ['client_secret_expires_at', 'revoked_seq', 'firstParty', 'constructor', 'jwks_uri']
  for (const name of [...always, ...more, 'disabled']) {
    const response = await api('POST', '/clients', { client_name: 'x', [name]: 'x' })
    t.strictSame([response.statusCode, pointers(response)], [400, [`/body/${name}`]], `a new one with ${name}`)
  }
  for (const name of [...always, ...more, 'client_id', 'token_endpoint_auth_method']) {
    const response = await api('PATCH', '/clients/worker', { [name]: 'x' })
    t.strictSame([response.statusCode, pointers(response)], [400, [`/body/${name}`]], `a change of ${name}`)
  }
  for (const name of ['id', 'client_secret', 'hash', 'created_at', 'last_used_at']) {
    const response = await api('POST', '/clients/worker/secrets', { [name]: 'x' })
    t.strictSame([response.statusCode, pointers(response)], [400, [`/body/${name}`]], `a secret with ${name}`)
  }
  t.strictSame((await api('GET', '/clients/worker')).json(), before)
})

t.test('a secret is in the answer that made it, which nobody keeps, and in no other [AD5]', async (t) => {
  const { api, add } = await start(t)
  const first = await add({ client_id: 'worker' })
  const made = await api('POST', '/clients/worker/secrets', {})
  const { client_secret: second, id, ...rest } = made.json()
  t.match(second, /^lks_[\w-]{43}$/)
  t.strictSame(
    [made.statusCode, made.headers['cache-control'], rest],
    [201, 'no-store', { created_at: AT, client_secret_expires_at: 0, last_used_at: null }]
  )
  const others = [
    await api('GET', '/clients'),
    await api('GET', '/clients/worker'),
    await api('PATCH', '/clients/worker', { client_name: 'x' }),
    await api('POST', '/clients', { client_name: 'Worker', client_id: 'worker' }),
    await api('DELETE', `/clients/worker/secrets/${id}`),
    await api('DELETE', '/clients/worker')
  ]
  for (const { body } of others) {
    t.notMatch(body, /client_secret"|hash|lks_/)
    for (const secret of [first, second])
      t.notOk(body.includes(createHash('sha256').update(secret).digest('base64url').slice(0, 12)))
  }
})

onOneDatabase(t, 'clients are listed by id, page by page [AD5]', async (t, database) => {
  const { api, add } = await start(t, database)
  const ids = ['!', 'a/b', 'a b'.replace(' ', '+'), 'a%20b', 'B', 'b', '~']
  for (const id of ids) await add({ client_id: id })
  const all = (await api('GET', '/clients')).json()
  t.strictSame(all, { items: all.items, next_cursor: null })
  const listed: object[] = []
  let pages = 0
  for (let cursor = '' as string | null; cursor !== null; pages++) {
    const query = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const { items, next_cursor } = (await api('GET', `/clients?limit=3${query}`)).json()
    listed.push(...items)
    cursor = next_cursor
  }
  t.equal(pages, 3)
  t.strictSame(listed, all.items)
  t.strictSame(
    all.items.map(({ client_id }: { client_id: string }) => client_id),
    [...ids, 'docs'].toSorted()
  )
  t.strictSame(all.items[0], { ...PLAIN, client_id: '!' })
  for (const query of ['limit=0', 'limit=101', 'limit=x', 'cursor=', `cursor=${'x'.repeat(256)}`, 'page=2'])
    t.equal((await api('GET', `/clients?${query}`)).statusCode, 400, query)
})

onOneDatabase(
  t,
  'nobody gives a client scopes that they do not have, nor a secret to one that has more: 403, and nothing is changed [AD4]',
  async (t, database) => {
    const { api, app, add } = await start(t, database)
    await api('POST', '/resources', {
      id: 'orders',
      resource: 'https://orders.example',
      name: 'Orders',
      scopes: [{ name: 'orders:read' }]
    })
    const strong = { client_id: 'strong', grant_types: ['client_credentials'], scope: 'orders:read profile' }
    t.type(await add(strong), 'string', 'the role admin has it')
    await api('PATCH', '/roles/admin', { scopes: ALL.split(' ') })
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
      t.strictSame(answer(await api(method, url, body)), CANNOT_GIVE, `${method} ${url} ${JSON.stringify(body)}`)
    t.strictSame((await api('GET', '/clients/strong')).json(), before)

    t.match((await api('PATCH', '/clients/strong', { disabled: true })).json(), { disabled: true })
    t.strictSame(answer(await api('PATCH', '/clients/strong', { disabled: false })), CANNOT_GIVE, 'but not back')
    t.equal((await api('DELETE', `/clients/strong/secrets/${before.secrets[0].id}`)).statusCode, 204)
    t.match((await api('PATCH', '/clients/strong', { scope: 'profile' })).json(), { scope: 'profile' })
    t.equal((await api('POST', '/clients/strong/secrets', {})).statusCode, 201, 'once it has no more')

    const introspects = { client_name: 'API', client_id: 'api', scope: 'tokens:introspect' }
    t.equal((await api('POST', '/clients', introspects)).statusCode, 201, 'what only clients have is given by all')
    t.equal((await api('POST', '/clients/api/secrets', {})).statusCode, 201)
    t.equal((await app.auth.clients.addSecret(OPERATOR, 'api', {})).secret.slice(0, 4), 'lks_')
  }
)

t.test('the client of /docs stays as it is', async (t) => {
  const { api, login } = await start(t)
  const before = (await api('GET', '/clients/docs')).json()
  t.strictSame(before, {
    ...PLAIN,
    client_id: 'docs',
    client_name: 'Interactive documentation',
    grant_types: ['password', 'refresh_token'],
    scope: ALL.split(' ').toSorted().join(' '),
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
    t.strictSame(outcome(await api('PATCH', '/clients/docs', body)), [409, BUILT_IN])
  t.strictSame(outcome(await api('DELETE', '/clients/docs')), [409, BUILT_IN])
  t.strictSame(outcome(await api('POST', '/clients/docs/secrets', {})), [
    409,
    conflict('A public client cannot keep a secret')
  ])
  t.strictSame((await api('GET', '/clients/docs')).json(), before)
  t.type(await login('alice'), 'string')
})

onOneDatabase(
  t,
  'a client has several secrets, each until its end, to the millisecond by the clock',
  async (t, database) => {
    const { api, add, asks, clock } = await start(t, database)
    const first = await add({ client_id: 'worker', ...SERVICE })
    const good = async (...secrets: string[]) =>
      Promise.all(secrets.map(async (secret) => (await asks('worker', secret))[0] === 200))
    const addSecret = async (
      body: object
    ): Promise<{ id: string; client_secret: string; client_secret_expires_at: number }> =>
      (await api('POST', '/clients/worker/secrets', body)).json()
    const ends = async () =>
      (await api('GET', '/clients/worker'))
        .json()
        .secrets.map((each: { client_secret_expires_at: number }) => each.client_secret_expires_at)
        .toSorted((a: number, b: number) => a - b)

    const short = await addSecret({ expires_in: 10 })
    t.equal(short.client_secret_expires_at, ISSUED + 10)
    t.strictSame(await good(first, short.client_secret, `${first}x`, ''), [true, true, false, false])
    clock.advance(9)
    const last = (await addSecret({ others_expire_in: 2 })).client_secret
    t.strictSame(await ends(), [0, ISSUED + 10, ISSUED + 11], 'the one that would last longer ends sooner')
    clock.advance(0.999)
    t.strictSame(await good(first, short.client_secret, last), [true, true, true])
    clock.advance(0.001)
    t.strictSame(await good(first, short.client_secret, last), [true, false, true])
    t.strictSame(await ends(), [0, ISSUED + 11], 'what is over is not shown')
    clock.advance(0.999)
    t.strictSame(await good(first, last), [true, true])
    clock.advance(0.001)
    t.strictSame(await good(first, last), [false, true])

    const only = await addSecret({ others_expire_in: 0 })
    t.strictSame(await good(last, only.client_secret), [false, true], 'at once')
    t.strictSame(await ends(), [0])
    t.strictSame(outcome(await api('DELETE', `/clients/worker/secrets/${only.id}`)), [204, ''])
    t.strictSame(await good(only.client_secret), [false])
    for (const [id, secret] of [
      ['worker', only.id],
      ['worker', NOBODY],
      ['docs', only.id]
    ] as const)
      t.strictSame(outcome(await api('DELETE', `/clients/${id}/secrets/${secret}`)), [404, NO_SECRET])
    for (const body of [
      { expires_in: 0 },
      { expires_in: 315_360_001 },
      { expires_in: '60' },
      { others_expire_in: -1 },
      { others_expire_in: 315_360_001 },
      { others_expire_in: null }
    ])
      t.equal((await api('POST', '/clients/worker/secrets', body)).statusCode, 400, JSON.stringify(body))
  }
)

t.test('a secret of one client is none of another', async (t) => {
  const { api, add, asks } = await start(t)
  const [one, two] = [await add({ client_id: 'one', ...SERVICE }), await add({ client_id: 'two', ...SERVICE })]
  t.strictSame([(await asks('one', one))[0], (await asks('two', two))[0]], [200, 200])
  t.strictSame([await asks('one', two), await asks('two', one)], [FAILED, FAILED])
  const [{ id } = { id: '' }] = (await api('GET', '/clients/one')).json().secrets
  t.strictSame(outcome(await api('DELETE', `/clients/two/secrets/${id}`)), [404, NO_SECRET])
  t.equal((await asks('one', one))[0], 200)
})

onOneDatabase(t, 'a client has at most ten secrets that are good', async (t, database) => {
  const { api, add, clock } = await start(t, database)
  await add({ client_id: 'worker' })
  const more = async (body: object = {}) => (await api('POST', '/clients/worker/secrets', body)).statusCode
  for (let count = 2; count <= 9; count++) t.equal(await more(), 201)
  t.equal(await more({ expires_in: 1 }), 201)
  t.strictSame(outcome(await api('POST', '/clients/worker/secrets', {})), [
    409,
    conflict('A client has at most 10 secrets: delete one that is not used')
  ])
  t.equal(await more({ others_expire_in: 1 }), 409, 'those that end later are there until then')
  clock.advance(1)
  t.equal(await more(), 201, 'one that is over does not count')
  t.equal(await more(), 409)
  const { secrets } = (await api('GET', '/clients/worker')).json()
  t.equal(secrets.length, 10)
  t.equal(
    secrets.filter((each: { client_secret_expires_at: number }) => each.client_secret_expires_at !== 0).length,
    0,
    'a secret that was refused has ended no other'
  )
  t.equal((await api('DELETE', `/clients/worker/secrets/${secrets[0].id}`)).statusCode, 204)
  t.equal(await more(), 201)
  t.equal(await more({ others_expire_in: 0 }), 201, 'one in place of all')
  t.equal((await api('GET', '/clients/worker')).json().secrets.length, 1)
})

onOneDatabase(t, 'the last use of a secret is known to the hour', async (t, database) => {
  const { api, add, asks, clock } = await start(t, database)
  const secret = await add({ client_id: 'worker', ...SERVICE })
  const used = async () => (await api('GET', '/clients/worker')).json().secrets[0].last_used_at
  t.strictSame([(await asks('worker', 'lks_wrong'))[0], await used()], [401, null])
  t.strictSame([(await asks('worker', secret))[0], await used()], [200, AT])
  clock.advance(3599.999)
  t.strictSame([(await asks('worker', secret))[0], await used()], [200, AT])
  clock.advance(0.001)
  t.strictSame([(await asks('worker', secret))[0], await used()], [200, '2026-01-01T13:00:00.000Z'])
})

/** A client whose tokens and sessions are looked at from another instance. */
async function watched(t: Test, database: Database) {
  const at = await createDatabase(t, database, 'ready')
  const one = await start(t, database, { at })
  const two = await start(t, database, { at })
  await one.api('POST', '/resources', {
    id: 'orders',
    resource: 'https://orders.example',
    name: 'Orders',
    scopes: [{ name: 'orders:read' }]
  })
  const api = await one.add({ client_id: 'api', scope: 'tokens:introspect' })
  for (const id of ['orders', 'latchkey'])
    await one.api('PATCH', `/resources/${id}`, { introspection_clients: ['api'] })
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  /** What is good of these: each on the other instance, by introspection; nothing is remembered. */
  const good = async (tokens: string[]): Promise<boolean[]> =>
    Promise.all(
      tokens.map(async (token) => {
        const payload = new URLSearchParams({ token, client_id: 'api', client_secret: api }).toString()
        return (await two.inject({ method: 'POST', url: '/introspect', headers, payload })).json().active
      })
    )
  const BODY = {
    grant_types: ['client_credentials', 'password', 'refresh_token'],
    scope: 'orders:read profile users:read',
    default_scope: 'profile',
    resources: [] as string[],
    first_party: true
  }
  return { one, two, good, BODY }
}

onOneDatabase(
  t,
  'what a client loses ends the tokens of before at once on every instance, and is in the log; what it gets ends nothing [SC6]',
  async (t, database) => {
    const { one, two, good, BODY } = await watched(t, database)
    const nothing = [true, true, true]
    const tokens = [false, false, true]
    const sessions = [false, false, false]
    const steps: [what: string, start: object, change: object, left: boolean[]][] = [
      ['a name', {}, { client_name: 'x' }, nothing],
      ['the same', {}, { ...BODY }, nothing],
      ['more scopes', {}, { scope: `${BODY.scope} roles:read` }, nothing],
      ['other defaults', {}, { default_scope: 'users:read' }, nothing],
      ['lifetimes', {}, { access_token_ttl: 1, session_idle_ttl: 1, session_absolute_ttl: 1 }, nothing],
      ['enabling one who is', {}, { disabled: false }, nothing],
      ['redirect URIs', { redirect_uris: ['https://x.example/'] }, { redirect_uris: [] }, nothing],
      ['any resource', { resources: ['latchkey'] }, { resources: [] }, nothing],
      ['one more resource', { resources: ['latchkey'] }, { resources: ['orders', 'latchkey'] }, nothing],
      ['a scope less', {}, { scope: 'orders:read profile' }, tokens],
      ['a scope less, another more', {}, { scope: 'orders:read profile roles:read' }, tokens],
      ['no scopes', {}, { scope: '' }, [false, false, false]],
      ['a resource less', { resources: ['latchkey', 'orders'] }, { resources: ['latchkey'] }, tokens],
      ['one resource instead of any', {}, { resources: ['latchkey'] }, tokens],
      ['a grant less', {}, { grant_types: ['password', 'refresh_token'] }, sessions],
      ['the grant of refreshing less', {}, { grant_types: ['client_credentials', 'password'] }, sessions],
      [
        'not the operator’s own any more',
        { grant_types: ['client_credentials', 'password', 'refresh_token'] },
        { first_party: false, grant_types: ['client_credentials', 'refresh_token'] },
        sessions
      ],
      ['disabling', {}, { disabled: true }, sessions]
    ]
    for (const [index, [what, start, change, left]] of steps.entries()) {
      const id = `worker-${index}`
      const secret = await one.add({ client_id: id, ...BODY, ...start })
      const client = { client_id: id, client_secret: secret }
      const own = (await one.token({ grant_type: 'client_credentials', ...client })).json()
      const login = { grant_type: 'password', username: 'alice', password: PASSWORD, ...client }
      const users = (await two.token(login)).json()
      const held = [own.access_token, users.access_token, users.refresh_token]
      t.strictSame(await good(held), nothing, `before ${what}`)
      const seq = await one.app.store.revocations.seq()
      t.equal((await one.api('PATCH', path(id), change)).statusCode, 200, what)
      t.strictSame(await good(held), left, what)
      t.equal(await two.me(users.access_token), left[1] ? 200 : 401, what)
      t.strictSame(await two.since(seq), left === nothing ? [] : [{ kind: 'client', id }], what)
      if (left === tokens) {
        const renewed = await two.token({ grant_type: 'refresh_token', refresh_token: users.refresh_token, ...client })
        t.strictSame(await good([renewed.json().access_token]), [true], `${what}: the session goes on`)
        const again = await two.token({ grant_type: 'client_credentials', ...client })
        t.strictSame(await good([again.json().access_token]), [true], `${what}: and the client`)
      }
    }
  }
)

onOneDatabase(
  t,
  'a client that is disabled is refused, and enabling it, or another of its id, revives nothing [SC6]',
  async (t, database) => {
    const { one, two, good, BODY } = await watched(t, database)
    const secret = await one.add({ client_id: 'worker', ...BODY })
    const client = { client_id: 'worker', client_secret: secret }
    const login = { grant_type: 'password', username: 'alice', password: PASSWORD }
    const enter = async (client: object) => {
      const own = (await two.token({ grant_type: 'client_credentials', ...client })).json()
      const users = (await two.token({ ...login, ...client })).json()
      return [own.access_token, users.access_token, users.refresh_token] as [string, string, string]
    }
    const before = await enter(client)
    await one.api('PATCH', '/clients/worker', { disabled: true })
    t.strictSame(await good(before), [false, false, false])
    t.strictSame(await two.asks('worker', secret), FAILED)
    t.strictSame(outcome(await two.token({ ...login, ...client })), FAILED)
    t.strictSame(outcome(await two.token({ grant_type: 'refresh_token', refresh_token: before[2], ...client })), FAILED)
    await one.api('PATCH', '/clients/worker', { disabled: false })
    t.strictSame(await good(before), [false, false, false], 'enabled again')
    const refused = await two.token({ grant_type: 'refresh_token', refresh_token: before[2], ...client })
    t.strictSame([refused.statusCode, refused.json().error], [400, 'invalid_grant'])
    const then = await enter(client)
    t.strictSame(await good(then), [true, true, true], 'and what it gets now is good')

    const seq = await one.app.store.revocations.seq()
    await one.api('DELETE', '/clients/worker')
    t.strictSame(await two.since(seq), [{ kind: 'client', id: 'worker' }])
    t.strictSame(await good(then), [false, false, false], 'deleted')
    t.strictSame(await two.asks('worker', secret), FAILED)
    const other = await one.add({ client_id: 'worker', ...BODY })
    t.strictSame(await good(then), [false, false, false], 'another with its id')
    t.strictSame(await two.asks('worker', secret), FAILED)
    t.strictSame(await good(await enter({ client_id: 'worker', client_secret: other })), [true, true, true])
  }
)

onOneDatabase(t, 'the lifetimes of a client hold for its tokens and sessions', async (t, database) => {
  const { add, token, me, clock } = await start(t, database)
  const BODY = {
    first_party: true,
    grant_types: ['password', 'refresh_token'],
    scope: 'profile',
    default_scope: 'profile'
  }
  const lifetimes = { access_token_ttl: 60, session_idle_ttl: 100, session_absolute_ttl: 150 }
  const client = { client_id: 'short', client_secret: await add({ client_id: 'short', ...BODY, ...lifetimes }) }
  const usual = { client_id: 'usual', client_secret: await add({ client_id: 'usual', ...BODY }) }
  const enter = async (client: object) =>
    (await token({ grant_type: 'password', username: 'alice', password: PASSWORD, ...client })).json()
  const refresh = (refresh_token: string) => token({ grant_type: 'refresh_token', refresh_token, ...client })
  const [first, idle, other] = [await enter(client), await enter(client), await enter(usual)]
  t.strictSame([first.expires_in, other.expires_in], [60, 300])
  clock.advance(59.999)
  t.equal(await me(first.access_token), 200)
  clock.advance(0.001)
  t.strictSame([await me(first.access_token), await me(other.access_token)], [401, 200])
  clock.advance(39)
  const second = await refresh(first.refresh_token)
  t.equal(second.json().expires_in, 51, 'no longer than the session')
  clock.advance(1)
  t.strictSame(
    [(await refresh(idle.refresh_token)).json().error, (await refresh(second.json().refresh_token)).statusCode],
    ['invalid_grant', 200]
  )
  clock.advance(49.999)
  const last = (await refresh(second.json().refresh_token)).json()
  clock.advance(0.001)
  t.equal((await refresh(last.refresh_token)).json().error, 'invalid_grant', 'the session is over')
  t.equal(await me(last.access_token), 401, 'with its tokens')
})
