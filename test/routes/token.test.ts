import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, createDatabase, ISSUER, PASSWORD, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'

const FORM = 'application/x-www-form-urlencoded'
const LOGIN = { grant_type: 'password', username: 'alice', password: PASSWORD }
const LOGIN_FORM = new URLSearchParams(LOGIN).toString()
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const basic = (credentials: string) => ({ authorization: `Basic ${Buffer.from(credentials).toString('base64')}` })

type Response = Awaited<ReturnType<TestApp['token']>>

/** What RFC 6749 §5.2 wants of every refusal, and which one it is. */
function refused(t: Test, response: Response, status: number, error: string, description: string, what = error) {
  const { headers, statusCode } = response
  const body = { error, error_description: description }
  t.strictSame([statusCode, response.json()], [status, body], what)
  t.equal(headers['content-type'], 'application/json; charset=utf-8')
  t.equal(headers['cache-control'], 'no-store')
  t.equal(headers['www-authenticate'], error === 'invalid_client' ? 'Basic realm="latchkey"' : undefined)
}

const invalidClient = (t: Test, response: Response, what = '') =>
  refused(t, response, 401, 'invalid_client', 'Client authentication failed', what)

/** For tests that leave the database as it was, but for more users and sessions. */
const shared = await build(t)
const { token, inject, get } = shared

t.test('a login gets a token in the form of RFC 6749 section 5.1 [TE1]', async (t) => {
  const response = await token(LOGIN)
  const { access_token, refresh_token, ...rest } = response.json()
  t.match(refresh_token, /^lkr_[\w-]{80}$/)
  t.strictSame([response.statusCode, rest], [200, { token_type: 'Bearer', expires_in: 300, scope: 'profile' }])
  const { 'content-type': type, 'cache-control': cache, pragma } = response.headers
  t.strictSame([type, cache, pragma], ['application/json; charset=utf-8', 'no-store', 'no-cache'])
  t.equal((await get('/users/me', access_token)).statusCode, 200)
})

t.test('the answer says which scopes were granted, also when they are not those asked for [TE1]', async (t) => {
  t.equal((await token({ ...LOGIN, scope: 'profile' })).json().scope, 'profile')
  t.equal((await token({ ...LOGIN, scope: 'users:read profile' })).json().scope, 'profile')
})

t.test('the access token is a JWT after RFC 9068 with every claim [TE1]', async (t) => {
  const app = shared
  const id = await app.createUser('bob', ['admin', 'user'])
  const response = await app.token({ ...LOGIN, username: 'bob', scope: 'users:read profile' })
  const jwt = response.json().access_token
  const jwks = (await app.inject({ url: '/.well-known/jwks.json' })).json()
  const [signing] = await sql<{ kid: string }>(app, "select kid from signing_keys where state = 'signing'")
  const { payload, protectedHeader } = await jwtVerify(jwt, createLocalJWKSet(jwks), {
    typ: 'at+jwt',
    issuer: ISSUER,
    audience: ISSUER,
    currentDate: new Date(app.clock.now())
  })
  t.strictSame(protectedHeader, { alg: 'ES256', typ: 'at+jwt', kid: signing?.kid })

  const { jti, sid, ...rest } = payload
  const now = app.clock.now() / 1000
  t.strictSame(rest, {
    iss: ISSUER,
    sub: id,
    aud: ISSUER,
    client_id: 'docs',
    iat: now,
    exp: now + 300,
    scope: 'users:read profile',
    roles: ['admin', 'user'],
    rev: 0
  })
  t.match(id, UUID_V7)
  t.match(jti, /^[\w-]{22}$/, '128 random bits')
  t.match(sid, UUID_V7)
  t.strictSame(await sql(app, 'select user_id, client_id, scopes, amr from sessions where id = $1', sid as string), [
    { user_id: id, client_id: 'docs', scopes: 'users:read profile', amr: 'pwd' }
  ])
})

t.test('two logins get two sessions and two token ids [TE1]', async (t) => {
  const [one, two] = (await Promise.all([token(LOGIN), token(LOGIN)])).map((each) =>
    decodeJwt(each.json().access_token)
  )
  t.equal(one?.sub, two?.sub)
  t.not(one?.jti, two?.jti)
  t.not(one?.sid, two?.sid)
})

t.test('LATCHKEY_ACCESS_TOKEN_TTL says how long a token lives, to the second [TE1]', async (t) => {
  const { token, get, clock } = await build(t, { env: { LATCHKEY_ACCESS_TOKEN_TTL: '60' } })
  const { access_token, expires_in } = (await token(LOGIN)).json()
  const { iat = 0, exp = 0 } = decodeJwt(access_token)
  t.strictSame([expires_in, exp - iat], [60, 60])
  clock.advance(59)
  t.equal((await get('/users/me', access_token)).statusCode, 200)
  clock.advance(1)
  t.equal((await get('/users/me', access_token)).statusCode, 401)
})

t.test('a missing or empty grant_type is refused: invalid_request [TE2]', async (t) => {
  const { grant_type: _, ...others } = LOGIN
  const forms = [new URLSearchParams(others).toString(), `grant_type=&${new URLSearchParams(others)}`, '', '&', 'x=y']
  for (const form of forms) {
    refused(t, await token(form), 400, 'invalid_request', 'The parameter grant_type is missing', `form "${form}"`)
  }
})

t.test('a missing or empty username or password is refused: invalid_request [TE2]', async (t) => {
  for (const name of ['username', 'password']) {
    const form = new URLSearchParams(LOGIN)
    form.set(name, '')
    refused(t, await token(form.toString()), 400, 'invalid_request', `The parameter ${name} is missing`)
    form.delete(name)
    refused(t, await token(form.toString()), 400, 'invalid_request', `The parameter ${name} is missing`)
  }
})

t.test('an unknown or differently written grant_type is refused: unsupported_grant_type [TE3]', async (t) => {
  const types = ['Password', 'PASSWORD', 'password ', ' password', 'passwor', 'implicit', '__proto__', 'toString', '0']
  for (const grant_type of [...types, 'urn:ietf:params:oauth:grant-type:saml2-bearer']) {
    const response = await token({ ...LOGIN, grant_type })
    refused(t, response, 400, 'unsupported_grant_type', 'The grant type is not supported', grant_type)
  }
})

t.test('a parameter sent twice is refused: invalid_request [TE4]', async (t) => {
  const repeated = [
    ...Object.keys(LOGIN).map((name) => `${LOGIN_FORM}&${name}=x`),
    `${LOGIN_FORM}&grant_type=password`,
    `${LOGIN_FORM}&grant%5Ftype=password`,
    `grant_type=&${LOGIN_FORM}`,
    `${LOGIN_FORM}&scope=profile&scope=profile`,
    `${LOGIN_FORM}&scope=&scope=`,
    `${LOGIN_FORM}&scope=profile&scope=`,
    `${LOGIN_FORM}&scope&scope`,
    `${LOGIN_FORM}&client_id=docs&client_id=docs`,
    `${LOGIN_FORM}&client_secret=&client_secret=`,
    `${LOGIN_FORM}&of_no_meaning=1&of_no_meaning=2`,
    `${LOGIN_FORM}&__proto__=1&__proto__=2`
  ]
  for (const form of repeated) {
    refused(t, await token(form), 400, 'invalid_request', 'A parameter is repeated', form)
  }
})

t.test('only resource may be repeated (RFC 8707) [TE4]', async (t) => {
  t.equal((await token(`${LOGIN_FORM}&resource=${ISSUER}&resource=${ISSUER}`)).statusCode, 200)
})

t.test('an unknown parameter is ignored [TE5]', async (t) => {
  const extras = ['audience=x', 'x', '=x', '=', '&&', 'x=1=2', '__proto__=x', 'constructor=x&hasOwnProperty=y']
  for (const extra of extras) {
    const response = await token(`${LOGIN_FORM}&${extra}`)
    const { access_token: _, refresh_token: __, ...rest } = response.json()
    t.strictSame(
      [response.statusCode, rest],
      [200, { token_type: 'Bearer', expires_in: 300, scope: 'profile' }],
      `with ${extra}`
    )
  }
})

t.test('an empty parameter is as good as none [TE5]', async (t) => {
  for (const empty of ['scope=', 'scope', 'client_id=', 'client_id=&client_secret=', 'client_secret=', 'resource=']) {
    const response = await token(`${LOGIN_FORM}&${empty}`)
    t.strictSame([response.statusCode, response.json().scope], [200, 'profile'], `with ${empty}`)
  }
})

t.test('parameters in the query are refused: invalid_request [TE6]', async (t) => {
  const queries = [
    `username=alice&password=${encodeURIComponent(PASSWORD)}`,
    LOGIN_FORM,
    'password=',
    'password',
    'password=x&password=y',
    'client_id=docs',
    'client_secret=x',
    'access_token=x',
    'refresh_token=x',
    'of_no_meaning=x',
    '__proto__=x'
  ]
  const description = 'The query does not have the form that the documentation describes'
  for (const query of queries) {
    for (const path of ['/token', '/token/']) {
      const response = await inject({
        method: 'POST',
        url: `${path}?${query}`,
        headers: { 'content-type': FORM },
        payload: LOGIN_FORM
      })
      refused(t, response, 400, 'invalid_request', description, `${path}?${query}`)
    }
  }
})

t.test('credentials in the query count for nothing [TE6]', async (t) => {
  const response = await inject({ method: 'POST', url: `/token?${LOGIN_FORM}`, headers: { 'content-type': FORM } })
  t.strictSame([response.statusCode, response.json().error], [400, 'invalid_request'])
})

t.test('an empty query is none [TE6]', async (t) => {
  const headers = { 'content-type': FORM }
  t.equal((await inject({ method: 'POST', url: '/token?', headers, payload: LOGIN_FORM })).statusCode, 200)
})

t.test('neither the query nor the form is in the log, whatever becomes of the request [TE6]', async (t) => {
  const lines: string[] = []
  const stream = { write: (line: string) => void lines.push(line) }
  const { inject, app } = await build(t, { logger: { level: 'trace', stream } })
  const secret = 'planted-secret-0815'
  await app.auth.users.create(OPERATOR, { username: 'carol', password: secret, roles: ['user'] })
  const login = `grant_type=password&username=carol&password=${secret}`
  const basicSecret = basic(`docs:${secret}`)

  const requests: [method: 'GET' | 'POST' | 'PUT', url: string, headers: object, payload: string, status: number][] = [
    ['POST', '/token', {}, login, 200],
    ['POST', '/token', {}, `${login}x`, 400],
    ['POST', '/token', {}, `${login}&client_secret=${secret}`, 401],
    ['POST', '/token', {}, `${login}&scope=${secret}`, 400],
    ['POST', '/token', {}, `${login}&${secret}=%zz`, 400],
    ['POST', '/token', basicSecret, login, 401],
    ['POST', '/token', { 'content-type': 'application/json' }, JSON.stringify({ password: secret }), 415],
    ['POST', `/token?password=${secret}`, {}, login, 400],
    ['POST', `/token?${secret}`, {}, login, 400],
    ['POST', `/token?password=${secret}%zz`, {}, login, 400],
    ['POST', `/token%zz?password=${secret}`, {}, login, 400],
    ['POST', `/tokens?password=${secret}`, {}, login, 404],
    ['GET', `/token?password=${secret}`, {}, '', 405],
    ['PUT', `/token/?password=${secret}`, {}, login, 405],
    ['GET', `/users/me?access_token=${secret}`, {}, '', 401],
    ['GET', '/users/me', { authorization: `Bearer ${secret}` }, '', 401]
  ]
  for (const [method, url, headers, payload, status] of requests) {
    const before = lines.length
    const { statusCode } = await inject({ method, url, headers: { 'content-type': FORM, ...headers }, payload })
    const what = `${method} ${url} ${JSON.stringify(headers)} ${payload}`
    t.equal(statusCode, status, what)
    const logged = lines.slice(before).join('')
    t.match(logged, `"method":"${method}"`, 'the request is in the log')
    t.notMatch(logged, secret, what)
    t.notMatch(logged, Buffer.from(`docs:${secret}`).toString('base64'), what)
  }
})

t.test('what the HTTP parser refuses is not in the log either [TE6]', async (t) => {
  const lines: string[] = []
  const stream = { write: (line: string) => void lines.push(line) }
  const { app } = await build(t, { logger: { level: 'trace', stream } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const secret = 'planted-secret-0815'
  const requests = [
    `POST /token?password=${secret} HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\npassword=${secret}`,
    `POST /token HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${secret}\0\r\n\r\n`,
    `password=${secret}`
  ]
  for (const request of requests) {
    const before = lines.length
    const socket = connect(port, '127.0.0.1')
    socket.end(request, 'latin1')
    t.match(await text(socket), 'HTTP/1.1 400 Bad Request')
    const logged = lines.slice(before).join('')
    t.match(logged, 'refused by the HTTP parser')
    t.notMatch(logged, secret)
    t.notMatch(logged, [...Buffer.from(secret)].join(','), 'nor as bytes')
  }
})

t.test('every method but POST is refused with 405 and Allow [TE7]', async (t) => {
  for (const method of ['GET', 'PUT', 'HEAD', 'DELETE', 'PATCH', 'OPTIONS'] as const) {
    for (const url of ['/token', '/token/', '/token?grant_type=password']) {
      const response = await inject({ method, url })
      const { allow, 'cache-control': cache, 'content-type': type } = response.headers
      t.strictSame(
        [response.statusCode, allow, cache, type],
        [405, 'POST', 'no-store', 'application/json; charset=utf-8'],
        `${method} ${url}`
      )
      const body = '{"error":"invalid_request","error_description":"The method is not allowed here"}'
      t.equal(response.body, method === 'HEAD' ? '' : body)
    }
  }
})

t.test('a form sent by another method is refused with 405 too [TE7]', async (t) => {
  for (const method of ['PUT', 'PATCH', 'DELETE'] as const) {
    for (const type of [FORM, 'application/json', 'text/plain']) {
      const response = await inject({ method, url: '/token', headers: { 'content-type': type }, payload: LOGIN_FORM })
      t.strictSame([response.statusCode, response.headers.allow], [405, 'POST'], `${method} ${type}`)
    }
  }
})

t.test('a trailing slash makes no difference, any other path does [TE7]', async (t) => {
  const headers = { 'content-type': FORM }
  t.equal((await inject({ method: 'POST', url: '/token/', headers, payload: LOGIN_FORM })).statusCode, 200)
  for (const url of ['//token', '/token//', '/TOKEN', '/token/x', '/token;x', '/tokens']) {
    const response = await inject({ method: 'POST', url, headers, payload: LOGIN_FORM })
    t.strictSame(
      [response.statusCode, response.headers['content-type'], response.json()],
      [
        404,
        'application/problem+json; charset=utf-8',
        { type: 'about:blank', title: 'Not Found', status: 404, detail: 'There is nothing here' }
      ],
      url
    )
  }
})

t.test('everything but a form is refused with 415 [TE8]', async (t) => {
  const multipart = `--b\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\npassword\r\n--b--\r\n`
  const bodies: [type: string | null, payload: string][] = [
    ['application/json', JSON.stringify(LOGIN)],
    ['application/json', ''],
    ['application/json', '{'],
    ['application/json; charset=utf-8', JSON.stringify(LOGIN)],
    [`application/json; x=${FORM}`, LOGIN_FORM],
    [`application/json, ${FORM}`, LOGIN_FORM],
    [`${FORM}, application/json`, LOGIN_FORM],
    ['application/vnd.api+json', JSON.stringify(LOGIN)],
    ['text/plain', LOGIN_FORM],
    ['text/plain; charset=utf-8', LOGIN_FORM],
    ['multipart/form-data; boundary=b', multipart],
    ['application/octet-stream', LOGIN_FORM],
    [`${FORM}x`, LOGIN_FORM],
    [`x${FORM}`, LOGIN_FORM],
    ['application/*', LOGIN_FORM],
    ['*/*', LOGIN_FORM],
    ['form', LOGIN_FORM],
    [null, LOGIN_FORM],
    [null, '']
  ]
  for (const [type, payload] of bodies) {
    const headers = type === null ? {} : { 'content-type': type }
    // A Buffer, because a string would get a content type by itself.
    const response = await inject({ method: 'POST', url: '/token', headers, payload: Buffer.from(payload) })
    refused(t, response, 415, 'invalid_request', 'The content type is not supported here', `${type}: ${payload}`)
  }
})

t.test('a form is taken in every way its content type can be written [TE8]', async (t) => {
  for (const type of [FORM.toUpperCase(), `${FORM}; charset=UTF-8`, `${FORM};charset="utf-8"`, `${FORM} ; x=y`]) {
    t.equal((await token(LOGIN, { 'content-type': type })).statusCode, 200, type)
  }
})

t.test('a body over 16 KB is refused with 413 [TE8]', async (t) => {
  const form = `${LOGIN_FORM}&x=`
  t.equal((await token(form.padEnd(16_384, 'x'))).statusCode, 200)
  refused(t, await token(form.padEnd(16_385, 'x')), 413, 'invalid_request', 'The body is too large')
  refused(t, await token(form.padEnd(1_000_000, 'x')), 413, 'invalid_request', 'The body is too large')
})

t.test('hostile values are refused in plain ASCII that repeats nothing [TE9]', async (t) => {
  const hostile = [
    '"zqx"',
    'zqx\\',
    'zqx\r\nx-injected: 1',
    '<script>zqx</script>',
    'zqx\u2028é🔑',
    "zqx';--",
    '\x7fzqx'
  ]
  const check = (response: Response, what: string) => {
    const { error, error_description, ...more } = response.json()
    t.ok([400, 401, 405].includes(response.statusCode), `${what} is refused with ${response.statusCode}`)
    t.strictSame(more, {}, what)
    t.match(error, /^[a-z_]+$/, what)
    t.match(error_description, /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/, what)
    t.notMatch(`${response.body}${JSON.stringify(response.headers)}`, 'zqx', what)
    t.notOk('x-injected' in response.headers, what)
  }
  for (const value of hostile) {
    const encoded = encodeURIComponent(value)
    for (const name of ['username', 'password', 'scope', 'grant_type', 'client_id', 'client_secret', 'resource']) {
      check(await token({ ...LOGIN, [name]: value }), `${name}=${encoded}`)
    }
    check(await token(`${encoded}=x`), `a parameter ${encoded}`)
    check(await token(`${encoded}=x&${encoded}=y`), `a repeated parameter ${encoded}`)
    check(await token(LOGIN, basic(`${value}:zqx`)), `Basic ${encoded}`)
    const headers = { 'content-type': FORM }
    const url = `/token?${encoded}=${encoded}`
    check(await inject({ method: 'POST', url, headers, payload: LOGIN_FORM }), url)
    check(await inject({ method: 'PUT', url }), `PUT ${url}`)
  }
})

t.test('a login that names no client, or docs in any way, is one of docs [CA4]', async (t) => {
  const ways: [what: string, form: object, headers: Record<string, string>][] = [
    ['no client', {}, {}],
    ['blank Basic, as Swagger UI sends it', {}, { authorization: 'Basic Og==' }],
    ['blank Basic, the scheme in lower case', {}, { authorization: 'basic Og==' }],
    ['blank Basic and client_id', { client_id: 'docs' }, { authorization: 'Basic Og==' }],
    ['client_id', { client_id: 'docs' }, {}],
    ['client_id and an empty secret', { client_id: 'docs', client_secret: '' }, {}],
    ['Basic', {}, basic('docs:')],
    ['Basic, form-encoded', {}, basic('%64ocs:')],
    ['Basic and the same client_id', { client_id: 'docs' }, basic('docs:')],
    ['Basic and an empty secret in the form', { client_secret: '' }, basic('docs:')]
  ]
  for (const [what, form, headers] of ways) {
    const response = await token({ ...LOGIN, ...form }, headers)
    t.equal(response.statusCode, 200, what)
    t.equal(decodeJwt(response.json().access_token).client_id, 'docs', what)
  }
})

t.test('a client that is not known gets one answer: invalid_client [CA1 CA2 CA4]', async (t) => {
  const { token } = shared
  const ways: [what: string, form: object, headers: Record<string, string>][] = [
    ['unknown client_id', { client_id: 'nobody' }, {}],
    ['unknown client_id beside blank Basic', { client_id: 'nobody' }, { authorization: 'Basic Og==' }],
    ['unknown client_id with a secret', { client_id: 'nobody', client_secret: 'x' }, {}],
    ['client_id in another case', { client_id: 'DOCS' }, {}],
    ['client_id with a space', { client_id: 'docs ' }, {}],
    ['client_id of a prototype', { client_id: '__proto__' }, {}],
    ['a very long client_id', { client_id: 'd'.repeat(10_000) }, {}],
    ['secret of the public client', { client_id: 'docs', client_secret: 'x' }, {}],
    ['secret without a client', { client_secret: 'x' }, {}],
    ['secret beside blank Basic', { client_secret: 'x' }, { authorization: 'Basic Og==' }],
    ['unknown client in Basic', {}, basic('nobody:')],
    ['unknown client in Basic with a secret', {}, basic('nobody:x')],
    ['secret of the public client in Basic', {}, basic('docs:x')],
    ['secret of colons', {}, basic('docs::')],
    ['secret without a client in Basic', {}, basic(':x')],
    ['no colon', {}, basic('docs')],
    ['nothing after Basic', {}, { authorization: 'Basic' }],
    ['a space after Basic', {}, { authorization: 'Basic ' }],
    ['no base64', {}, { authorization: 'Basic !!!' }],
    ['base64 with a gap', {}, { authorization: 'Basic Og== x' }],
    ['base64 after the padding', {}, { authorization: 'Basic O=g=' }],
    ['two credentials in one header', {}, { authorization: 'Basic Og==, Basic Og==' }],
    ['no space', {}, { authorization: 'BasicOg==' }],
    ['an empty header', {}, { authorization: '' }],
    ['another scheme', {}, { authorization: 'Bearer x' }],
    ['a bad percent-escape', {}, basic('docs%:')],
    ['bad UTF-8', {}, { authorization: `Basic ${Buffer.from('64ff3a', 'hex').toString('base64')}` }],
    ['NUL in the client', {}, basic('docs\0:')],
    ['an encoded NUL in the client', {}, basic('docs%00:')],
    ['NUL in the secret', {}, basic('docs:\0')]
  ]
  for (const [what, form, headers] of ways) invalidClient(t, await token({ ...LOGIN, ...form }, headers), what)
})

t.test('two methods of authentication at once are refused: invalid_request [CA3]', async (t) => {
  for (const credentials of ['docs:', 'docs:x', 'nobody:x', ':x']) {
    for (const form of [{ client_secret: 'x' }, { client_id: 'docs', client_secret: 'x' }]) {
      const response = await token({ ...LOGIN, ...form }, basic(credentials))
      refused(t, response, 400, 'invalid_request', 'The client authenticates by more than one method', credentials)
    }
  }
})

t.test('a client_id that is not the one of the header is refused: invalid_request [CA3]', async (t) => {
  const pairs = [
    ['docs:', 'nobody'],
    ['docs:', 'DOCS'],
    ['nobody:', 'docs'],
    ['docs:x', 'nobody']
  ] as const
  for (const [credentials, client_id] of pairs) {
    const response = await token({ ...LOGIN, client_id }, basic(credentials))
    const description = 'The client_id is not the one of the Authorization header'
    refused(t, response, 400, 'invalid_request', description, `${credentials} and ${client_id}`)
  }
})

t.test('two Authorization headers are refused: invalid_request [CA3]', async (t) => {
  const blank = 'Basic Og=='
  const response = await inject({
    method: 'POST',
    url: '/token',
    headers: { 'content-type': FORM, authorization: [blank, blank] as unknown as string },
    payload: LOGIN_FORM
  })
  t.strictSame(
    [response.statusCode, response.json()],
    [400, { error: 'invalid_request', error_description: 'The request has more than one Authorization header' }]
  )
})

t.test('a client may use only the grants that it has: unauthorized_client [CA6]', async (t) => {
  const app = await build(t)
  const insert = (id: string, grants: string) =>
    sql(
      app,
      `insert into clients (id, name, kind, first_party, resources, redirect_uris, revoked_seq, grant_types, session_idle_ttl, session_absolute_ttl, created_at, updated_at)
       values ($1, 'an app', 'public', 0, '', '', 0, $2, 60, 60, 0, 0)`,
      id,
      grants
    )
  await insert('without', '')
  await insert('almost', 'password2 xpassword')
  await insert('with', 'password')
  await insert('foreign', 'password')
  await sql(app, "update clients set first_party = 1 where id <> 'foreign'")
  for (const client_id of ['without', 'almost', 'foreign']) {
    const response = await app.token({ ...LOGIN, client_id })
    refused(t, response, 400, 'unauthorized_client', 'The client may not use this grant type', client_id)
  }
  await sql(app, "insert into client_scopes (client_id, scope, is_default) values ('with', 'profile', 1)")
  const response = await app.token({ ...LOGIN, client_id: 'with' })
  t.equal(response.statusCode, 200)
  t.equal(decodeJwt(response.json().access_token).client_id, 'with')
})

t.test('a disabled client gets no token, and those it has are dead [SC6]', async (t) => {
  const app = shared
  const jwt = await app.login('alice')
  t.equal((await app.get('/users/me', jwt)).statusCode, 200)
  await sql(app, "update clients set disabled_at = $1 where id = 'docs'", app.clock.now())
  invalidClient(t, await app.token(LOGIN))
  invalidClient(t, await app.token({ ...LOGIN, client_id: 'docs' }))
  t.equal((await app.get('/users/me', jwt)).statusCode, 401)
  await sql(app, 'update clients set disabled_at = null')
  t.equal((await app.token(LOGIN)).statusCode, 200, 'enabled again')
})

t.test('LATCHKEY_DOCS=false switches the client of /docs off, with the tokens it has', async (t) => {
  const at = await createDatabase(t, 'sqlite')
  const on = await build(t, { at })
  const off = await build(t, { at, env: { LATCHKEY_DOCS: 'false' } })
  const jwt = await on.login('alice')

  const ways: [form: object, headers: Record<string, string>][] = [
    [{}, {}],
    [{}, { authorization: 'Basic Og==' }],
    [{}, basic('docs:')],
    [{ client_id: 'docs' }, {}]
  ]
  for (const [form, headers] of ways) {
    invalidClient(t, await off.token({ ...LOGIN, ...form }, headers), JSON.stringify({ form, headers }))
  }
  const response = await off.get('/users/me', jwt)
  t.strictSame(
    [response.statusCode, response.headers['www-authenticate']],
    [401, 'Bearer realm="latchkey", error="invalid_token", error_description="Could not validate credentials"']
  )
  t.equal((await on.get('/users/me', jwt)).statusCode, 200)
})
