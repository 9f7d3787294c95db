import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { Writable } from 'node:stream'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { DomainError } from '../../src/domain/errors.ts'
import { anyPlace } from '../forge.ts'
import { build, type Database, ISSUER, onEachDatabase, PASSWORD, type TestApp } from '../helper.ts'

const FORM = 'application/x-www-form-urlencoded'
const PROBLEM = 'application/problem+json; charset=utf-8'
const MALFORMED = 'The request is malformed'
const NOT_AS_DESCRIBED = 'The request does not have the form that the documentation describes'

const TITLE: Record<number, string> = {
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Payload Too Large',
  415: 'Unsupported Media Type',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable'
}
const problem = (status: number, detail: string) => ({ type: 'about:blank', title: TITLE[status], status, detail })

/** Status, media type, caching and body of a refusal, with the members that are not asked for left out. */
const refusal = ({ statusCode, headers, body }: LightMyRequestResponse) => ({
  status: statusCode,
  type: headers['content-type'],
  cache: headers['cache-control'],
  body: body === '' ? '' : JSON.parse(body)
})

const asProblem = (status: number, detail: string) => ({
  status,
  type: PROBLEM,
  cache: 'no-store',
  body: problem(status, detail)
})

const asOAuthError = (status: number, error: string, error_description: string) => ({
  status,
  type: 'application/json; charset=utf-8',
  cache: 'no-store',
  body: { error, error_description }
})

/** The same without the list of what is wrong where, and that list's places, each once. */
function withPointers(response: LightMyRequestResponse) {
  const { body, ...rest } = refusal(response)
  const { errors = [], ...others } = body as { errors?: { pointer: string; detail: string }[] }
  return { answer: { ...rest, body: others }, pointers: [...new Set(errors.map(({ pointer }) => pointer))] }
}

const login = { grant_type: 'password', username: 'alice', password: PASSWORD }

const shared = new Map<Database, Promise<TestApp>>()

/** The app of all tests that change nothing but names. */
function common(database: Database = 'sqlite'): Promise<TestApp> {
  const app = shared.get(database) ?? build(t, { database })
  shared.set(database, app)
  return app
}

async function asAlice(app?: TestApp) {
  const built = app ?? (await common())
  const token = await built.login('alice')
  const patch = (payload: string | Buffer, contentType: string | null = 'application/json') =>
    built.inject({
      method: 'PATCH',
      url: '/users/me',
      payload,
      headers: { authorization: `Bearer ${token}`, ...(contentType === null ? {} : { 'content-type': contentType }) }
    })
  const me = async () => (await built.get('/users/me', token)).json()
  return { ...built, bearer: token, patch, me }
}

const form = (app: TestApp, payload: string | Buffer, headers: Record<string, string> = {}, url = '/token') =>
  app.inject({ method: 'POST', url, headers: { 'content-type': FORM, ...headers }, payload })

/** What a server answers to these bytes, and whether it closed the connection. */
async function raw(t: Test, app: FastifyInstance, bytes: string | Buffer) {
  if (app.server.address() === null) await app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk
  })
  socket.write(bytes)
  const closed = await Promise.race([
    once(socket, 'close').then(() => true),
    new Promise<boolean>((resolve) => {
      const timer = setInterval(() => {
        const [head = '', body = ''] = text.split('\r\n\r\n')
        const length = Number(/content-length: (\d+)/i.exec(head)?.[1])
        if (!/connection: close/i.test(head) && body.length >= length) resolve(false)
      }, 5)
      timer.unref()
      t.teardown(() => clearInterval(timer))
      setTimeout(resolve, 3000, false).unref()
    })
  ])
  const [head = '', body = ''] = text.split('\r\n\r\n')
  return {
    closed,
    text,
    status: Number(head.split(' ')[1]),
    type: /content-type: (.*)/i.exec(head)?.[1],
    body: body.startsWith('{') ? JSON.parse(body) : body
  }
}

async function aliveAfter(t: Test, app: TestApp): Promise<void> {
  const start = performance.now()
  const { statusCode } = await app.inject({ method: 'GET', url: '/health/ready' })
  t.equal(statusCode, 200)
  t.ok(performance.now() - start < 1000)
}

t.test('HT1 every spelling of the JSON type is validated alike', async (t) => {
  const { patch, me } = await asAlice()
  for (const type of [
    'application/json',
    'Application/JSON',
    'APPLICATION/JSON',
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'application/json ; charset=utf-8',
    'application/json\t;charset=utf-8',
    'application/json;',
    ' application/json '
  ]) {
    const { answer, pointers } = withPointers(await patch('{"roles":["admin"]}', type))
    t.strictSame(answer, asProblem(400, NOT_AS_DESCRIBED), type)
    t.strictSame(pointers, ['/body/roles'], type)
    const full_name = `Alice ${type.trim()}`.replaceAll('\t', ' ')
    t.equal((await patch(JSON.stringify({ full_name }), type)).json().full_name, full_name, type)
  }
  t.strictSame((await me()).roles, ['user'])
})

t.test('HT1 every other type is refused: 415', async (t) => {
  const { patch, me } = await asAlice()
  const expected = await me()
  for (const type of [
    'application/merge-patch+json',
    'application/vnd.api+json',
    'application/json+x',
    'application/jsonp',
    'application/json-seq',
    'application/json, text/plain',
    'application/json/x',
    'text/json',
    'text/plain',
    'text/plain;application/json',
    'multipart/form-data; boundary=x',
    FORM,
    'application/octet-stream',
    'application',
    '*/*',
    'application/*',
    'json',
    null
  ]) {
    for (const payload of ['{"full_name":"Mallory"}', '{"roles":["admin"]}']) {
      const answer = refusal(await patch(payload, type))
      t.strictSame(answer, asProblem(415, 'The content type is not supported here'), String(type))
    }
  }
  t.strictSame(await me(), expected)
})

t.test('HT1 a charset does not change how the bytes are read', async (t) => {
  const { patch, me } = await asAlice()
  const expected = await me()
  const utf16 = Buffer.from('{"full_name":"Mallory"}', 'utf16le')
  t.strictSame(refusal(await patch(utf16, 'application/json; charset=utf-16')), asProblem(400, MALFORMED))
  const latin1 = Buffer.from('{"full_name":"Zoë"}', 'latin1')
  t.strictSame(refusal(await patch(latin1, 'application/json; charset=latin1')), asProblem(400, MALFORMED))
  t.strictSame(await me(), expected)
})

t.test('HT2 a body over 16 KB is refused: 413 in the shape of the endpoint', async (t) => {
  const { app, token, patch, ...built } = await asAlice()
  const json = (size: number) => `{"full_name":"${'x'.repeat(size - 16)}"}`
  t.equal(json(100).length, 100)
  t.strictSame(refusal(await patch(json(16_385))), asProblem(413, 'The body is too large'))
  t.strictSame(refusal(await patch(json(1_000_000))), asProblem(413, 'The body is too large'))
  t.strictSame(withPointers(await patch(json(16_384))).answer, asProblem(400, NOT_AS_DESCRIBED))

  const tooLarge = asOAuthError(413, 'invalid_request', 'The body is too large')
  const padded = (size: number) => `${new URLSearchParams(login)}&x=`.padEnd(size, 'x')
  t.strictSame(refusal(await token(padded(16_385))), tooLarge)
  t.strictSame(refusal(await token(padded(1_000_000))), tooLarge)
  t.equal((await token(padded(16_384))).statusCode, 200)
  await aliveAfter(t, { app, token, ...built })
})

t.test('HT2 a large body is refused however its length is told', async (t) => {
  const built = await common()
  const head = `POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\n`
  const expected = { error: 'invalid_request', error_description: 'The body is too large' }
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
  for (const bytes of [
    `${head}Content-Length: 999999999\r\n\r\n`,
    `${head}Transfer-Encoding: chunked\r\n\r\n${chunk}${chunk}0\r\n\r\n`
  ]) {
    const { status, body } = await raw(t, built.app, bytes)
    t.strictSame([status, body], [413, expected])
  }
  await aliveAfter(t, built)
})

t.test('HT2 a huge password never reaches the hasher', async (t) => {
  const { app, token } = await build(t)
  let calls = 0
  const { hash, verify } = app.hasher
  app.hasher.hash = (password) => {
    calls++
    return hash(password)
  }
  app.hasher.verify = (stored, password) => {
    calls++
    return verify(stored, password)
  }
  const withPassword = (password: string) => token({ ...login, password })

  for (const username of ['alice', 'nobody']) {
    const tooLong = asOAuthError(400, 'invalid_request', 'A password has at most 1024 bytes')
    for (const password of ['x'.repeat(1025), 'ü'.repeat(513), '👩‍🚀'.repeat(94), 'x'.repeat(16_000)])
      t.strictSame(refusal(await token({ ...login, username, password })), tooLong)
    t.equal((await token({ ...login, username, password: 'x'.repeat(1_000_000) })).statusCode, 413)
  }
  t.equal(calls, 0)
  t.equal((await withPassword('x'.repeat(1024))).json().error, 'invalid_grant')
  t.equal((await withPassword('ü'.repeat(512))).json().error, 'invalid_grant')
  t.equal(calls, 2)
})

t.test('HT3 deep and wide JSON is refused quickly, in few words', async (t) => {
  const built = await asAlice()
  const deep = '['.repeat(8000) + ']'.repeat(8000)
  const deepObject = `${'{"a":'.repeat(2700)}1${'}'.repeat(2700)}`
  const wide = `{${Array.from({ length: 2000 }, (_, index) => `"${index.toString(36)}":1`).join(',')}}`
  for (const [what, payload] of Object.entries({
    deep,
    deepObject,
    wide,
    deepMember: `{"full_name":${'['.repeat(7900)}${']'.repeat(7900)}}`,
    wideList: `[${'0,'.repeat(8000)}0]`,
    wideMember: `{"email":[${'[],'.repeat(5000)}0]}`,
    long: `{"email":"${'@'.repeat(16_000)}"}`,
    spaces: `{"email":"${'a '.repeat(8000)}"}`,
    unclosed: '['.repeat(16_000),
    digits: `{"full_name":${'9'.repeat(16_000)}}`
  })) {
    const start = performance.now()
    const response = await built.patch(payload)
    const took = performance.now() - start
    t.equal(response.statusCode, 400, what)
    t.match(response.json(), { type: 'about:blank', title: 'Bad Request', status: 400, detail: String }, what)
    t.ok(took < 2500, `${what} took ${Math.round(took)} ms`)
    t.ok(response.body.length < 16_384, `${what} is answered with ${response.body.length} characters`)
  }
  await aliveAfter(t, built)
})

t.test('HT4 names of prototypes are inert in JSON', async (t) => {
  const { patch, me } = await asAlice()
  const before = Reflect.ownKeys(Object.prototype)
  const expected = await me()
  for (const payload of [
    '{"__proto__":{"full_name":"x"}}',
    '{"__proto__":null}',
    '{"\\u005f_proto__":{"full_name":"x"}}',
    '{"constructor":{"prototype":{"full_name":"x"}}}',
    '{"full_name":{"__proto__":{"x":1}}}',
    '{"constructor":1}',
    '{"prototype":{"x":1}}',
    '{"toString":"x","hasOwnProperty":"x"}'
  ]) {
    const { statusCode, headers } = await patch(payload)
    t.strictSame([statusCode, headers['content-type']], [400, PROBLEM], payload)
  }
  t.strictSame(Reflect.ownKeys(Object.prototype), before)
  t.equal(({} as Record<string, unknown>).full_name, undefined)
  t.strictSame(await me(), expected)
})

t.test('HT4 names of prototypes are inert in a form', async (t) => {
  const app = await common()
  const before = Reflect.ownKeys(Object.prototype)
  const names = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__proto__[x]', 'constructor.x']
  const unknown = names.map((name) => `${encodeURIComponent(name)}=polluted`).join('&')
  t.equal((await form(app, `${new URLSearchParams(login)}&${unknown}`)).statusCode, 200)
  t.strictSame(
    refusal(await form(app, '__proto__=x&__proto__=y')),
    asOAuthError(400, 'invalid_request', 'A parameter is repeated')
  )
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const errors = await Promise.all(
      [
        { grant_type: name },
        { ...login, client_id: name },
        { ...login, username: name },
        { ...login, scope: name },
        { ...login, resource: name }
      ].map(async (body) => (await app.token(body)).json().error)
    )
    t.strictSame(
      errors,
      ['unsupported_grant_type', 'invalid_client', 'invalid_grant', 'invalid_scope', 'invalid_target'],
      name
    )
  }
  t.strictSame(Reflect.ownKeys(Object.prototype), before)
})

t.test('HT4 names of prototypes are inert in a query and as a header', async (t) => {
  const app = await common()
  const before = Reflect.ownKeys(Object.prototype)
  const [alice, admin] = [await app.login('alice'), await app.login('admin', 'users:read')]
  for (const query of ['__proto__=x', '__proto__[x]=1', 'constructor=x', 'constructor[prototype][x]=1', 'toString=1']) {
    t.equal((await app.get(`/users?${query}`, admin)).statusCode, 400, query)
    t.equal((await form(app, new URLSearchParams(login).toString(), {}, `/token?${query}`)).statusCode, 400, query)
    t.equal((await app.get(`/users/me?${query}`, alice)).json().username, 'alice', query)
  }
  const { status, body } = await raw(
    t,
    app.app,
    `GET /users/me HTTP/1.1\r\nHost: x\r\nauthorization: Bearer ${alice}\r\n__proto__: x\r\nconstructor: y\r\n\r\n`
  )
  t.strictSame([status, body.username], [200, 'alice'])
  t.strictSame(Reflect.ownKeys(Object.prototype), before)
})

const NO_TEXT: [what: string, escape: string][] = [
  ['a NUL', '%00'],
  ['a NUL in a text', 'a%00b'],
  ['a byte that is no UTF-8', '%ff'],
  ['half a character', 'a%c3'],
  ['an overlong NUL', '%c0%80'],
  ['a lone surrogate', '%ed%a0%80'],
  ['a character beyond Unicode', '%f4%90%80%80'],
  ['half an escape', '%4'],
  ['no escape', '%zz'],
  ['a bare percent sign', '100%']
]

onEachDatabase(t, 'HT5 what is no text is refused in a query: 400', async (t, database) => {
  const app = await common(database)
  const [alice, admin] = [await app.login('alice'), await app.login('admin', 'users:read')]
  for (const [what, text] of NO_TEXT) {
    for (const query of [`x=${text}`, `${text}=x`, `cursor=${text}`, `limit=1&x=${text}`]) {
      t.strictSame(refusal(await app.get(`/users/me?${query}`, alice)), asProblem(400, MALFORMED), `${what} ${query}`)
      const { statusCode, headers } = await app.get(`/users?${query}`, admin)
      t.strictSame([statusCode, headers['content-type']], [400, PROBLEM], `${what} ${query}`)
      const token = await form(app, new URLSearchParams(login).toString(), {}, `/token?${query}`)
      t.strictSame([token.statusCode, token.json().error], [400, 'invalid_request'], `${what} ${query}`)
      for (const url of ['/', '/health/ready', '/.well-known/jwks.json', '/openapi.json'])
        t.equal((await app.inject({ method: 'GET', url: `${url}?${query}` })).statusCode, 400, `${what} ${url}`)
    }
  }
  await aliveAfter(t, app)
})

onEachDatabase(t, 'HT5 what is no text is refused in a path: 400', async (t, database) => {
  const app = await common(database)
  const alice = await app.login('alice')
  for (const [what, text] of NO_TEXT) {
    for (const url of [`/${text}`, `/users/${text}`, `/users/me${text}`, `/users/me/${text}`, `/token${text}`]) {
      t.strictSame(refusal(await app.get(url, alice)), asProblem(400, MALFORMED), `${what} ${url}`)
    }
  }
  await aliveAfter(t, app)
})

onEachDatabase(t, 'HT5 what is no text is refused in JSON: 400', async (t, database) => {
  const app = await common(database)
  const { patch, me } = await asAlice(app)
  const bytes = (...codes: number[]) => Buffer.from(codes).toString('latin1')
  for (const text of [
    '\\u0000',
    'a\\u0000b',
    '\\ud800',
    '\\udc00',
    'a\\udfff\\ud800b',
    '\\ud83dx',
    bytes(0xff),
    bytes(0xc0, 0x80),
    bytes(0xed, 0xa0, 0x80),
    bytes(0xf4, 0x90, 0x80, 0x80),
    bytes(0xc3),
    bytes(0),
    bytes(9)
  ]) {
    for (const json of [
      `{"full_name":"${text}"}`,
      `{"email":"${text}@example.com"}`,
      `{"${text}":1}`,
      `{"x":{"${text}":1}}`
    ]) {
      const { statusCode, headers } = await patch(Buffer.from(json, 'latin1'))
      t.strictSame([statusCode, headers['content-type']], [400, PROBLEM], json)
    }
    t.strictSame(
      refusal(await patch(Buffer.from(`{"full_name":"${text}"}`, 'latin1'))),
      asProblem(400, MALFORMED),
      text
    )
  }
  for (const full_name of ['👩‍🚀', '\u{10ffff}\uffff\ufffd', 'ｱ', 'a\u0301', '\u2028'])
    t.equal((await patch(JSON.stringify({ full_name }))).json().full_name, full_name)
  t.equal((await patch('{"full_name":"\\ud83d\\ude80"}')).json().full_name, '🚀')
  t.equal((await me()).full_name, '🚀')
  await aliveAfter(t, app)
})

onEachDatabase(t, 'HT5 what is no text is refused in a form: 400', async (t, database) => {
  const app = await common(database)
  const bytes = ([codes]: [number[]]) => Buffer.from(codes).toString('latin1')
  const texts = [
    ...NO_TEXT.map(([, text]) => text),
    bytes([[0]]),
    bytes([[0xff]]),
    bytes([[0xed, 0xa0, 0x80]]),
    bytes([[0xc3]])
  ]
  for (const text of texts) {
    for (const body of [
      `grant_type=password&username=${text}&password=x`,
      `grant_type=password&username=alice&password=${text}`,
      `${new URLSearchParams(login)}&scope=${text}`,
      `${new URLSearchParams(login)}&client_id=${text}`,
      `${new URLSearchParams(login)}&client_secret=${text}`,
      `${new URLSearchParams(login)}&resource=${text}`,
      `${new URLSearchParams(login)}&unknown=${text}`,
      `${new URLSearchParams(login)}&${text}=x`,
      `grant_type=${text}`
    ]) {
      const response = await form(app, Buffer.from(body, 'latin1'))
      t.strictSame([response.statusCode, response.json().error], [400, 'invalid_request'], `${text} in ${body}`)
    }
  }
  await aliveAfter(t, app)
})

onEachDatabase(t, 'HT5 what is no text is refused in Basic credentials: 401', async (t, database) => {
  const app = await common(database)
  const credentials = [
    Buffer.from('\0:'),
    Buffer.from('\0'),
    Buffer.from('docs\0:'),
    Buffer.from('docs:\0'),
    Buffer.from('%00:'),
    Buffer.from('docs%00:'),
    Buffer.from('docs:%00'),
    Buffer.from('%ff:'),
    Buffer.from('%ed%a0%80:'),
    Buffer.from([0xff, 0x3a]),
    Buffer.from([0xed, 0xa0, 0x80, 0x3a]),
    Buffer.from('\ud800:', 'utf16le')
  ]
  for (const each of credentials) {
    const header = `Basic ${each.toString('base64')}`
    const response = await form(app, new URLSearchParams(login).toString(), { authorization: header })
    t.strictSame(
      { ...refusal(response), challenge: response.headers['www-authenticate'] },
      {
        ...asOAuthError(401, 'invalid_client', 'Client authentication failed'),
        challenge: 'Basic realm="latchkey"'
      },
      header
    )
  }
  await aliveAfter(t, app)
})

onEachDatabase(t, 'HT5 bytes beyond ASCII in headers do no harm', async (t, database) => {
  const app = await common(database)
  const body = new URLSearchParams(login).toString()
  const bytes = Buffer.from(
    `POST /token HTTP/1.1\r\nHost: \xff\r\nUser-Agent: \xff\xed\xa0\x80${'ü'.repeat(300)}\r\nX-\xfc: \xff\r\nContent-Type: ${FORM}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    'latin1'
  )
  const { status } = await raw(t, app.app, bytes)
  t.ok([200, 400].includes(status), `status ${status}`)
  const plain = Buffer.from(
    `POST /token HTTP/1.1\r\nHost: x\r\nUser-Agent: \xff\xed\xa0\x80${'ü'.repeat(300)}\r\nContent-Type: ${FORM}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    'latin1'
  )
  t.equal((await raw(t, app.app, plain)).status, 200)
  await aliveAfter(t, app)
})

t.test('HT6 a wrong JSON type is refused where it is, and nothing is converted: 400', async (t) => {
  const { patch, me } = await asAlice()
  const expected = await me()
  for (const value of ['1', '0', 'true', 'false', '[]', '{}', '["a@example.com"]', '1e400', '{"a":"b"}']) {
    for (const name of ['email', 'full_name']) {
      const { answer, pointers } = withPointers(await patch(`{"${name}":${value}}`))
      t.strictSame(answer, asProblem(400, NOT_AS_DESCRIBED), `${name} ${value}`)
      t.strictSame(pointers, [`/body/${name}`], `${name} ${value}`)
    }
  }
  for (const body of ['[]', '"x"', '1', 'true', 'null', '[{"full_name":"x"}]']) {
    const { answer, pointers } = withPointers(await patch(body))
    t.strictSame(answer, asProblem(400, NOT_AS_DESCRIBED), body)
    t.strictSame(pointers, ['/body'], body)
  }
  t.strictSame(await me(), expected)
})

t.test('each wrong member is told by its own pointer', async (t) => {
  const { patch } = await asAlice()
  const { pointers } = withPointers(await patch('{"email":1,"full_name":false,"a/b~c":1,"":2}'))
  t.strictSame(pointers.toSorted(), ['/body/', '/body/a~1b~0c', '/body/email', '/body/full_name'])
  for (const { pointer, detail } of (await patch('{"email":1}')).json().errors)
    t.strictSame([pointer, typeof detail], ['/body/email', 'string'])
})

t.test('JSON that is none is malformed: 400', async (t) => {
  const { patch, me } = await asAlice()
  const expected = await me()
  for (const body of [
    '',
    ' ',
    '{',
    '{"full_name":}',
    '{"full_name":"x"}garbage',
    '{"full_name":"x",}',
    "{'full_name':'x'}",
    '{full_name:"x"}',
    'nul',
    'NaN',
    '{"full_name":"\\x41"}',
    '{"full_name":"a\nb"}',
    '\ufeff\ufeff{}',
    '// {}'
  ])
    t.strictSame(refusal(await patch(body)), asProblem(400, MALFORMED), JSON.stringify(body))
  t.strictSame(await me(), expected)
})

t.test('a request that needs a body and has none is refused: 400', async (t) => {
  const { inject, bearer, me } = await asAlice()
  const expected = await me()
  const response = await inject({ method: 'PATCH', url: '/users/me', headers: { authorization: `Bearer ${bearer}` } })
  const { answer, pointers } = withPointers(response)
  t.strictSame(answer, asProblem(400, NOT_AS_DESCRIBED))
  t.strictSame(pointers, ['/body'])
  t.strictSame(await me(), expected)
})

t.test('what is nowhere is a problem document: 404', async (t) => {
  const { inject } = await common()
  for (const url of ['/none', '/users/me/none', '/tokens', '/USERS/ME', '/users//me', '/users/me;x=1'])
    for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS'] as const)
      t.strictSame(refusal(await inject({ method, url })), asProblem(404, 'There is nothing here'), `${method} ${url}`)
  const head = await inject({ method: 'HEAD', url: '/none' })
  t.strictSame([head.statusCode, head.headers['content-type'], head.body], [404, PROBLEM, ''])
})

t.test('a wrong method is refused on every route, with those that are right: 405', async (t) => {
  const { app, inject } = await common()
  const paths = app.swagger().paths as Record<string, Record<string, unknown>>
  const routes: Record<string, string[]> = { '/openapi.json': ['GET'], '/docs': ['GET'] }
  for (const [path, operations] of Object.entries(paths))
    routes[anyPlace(path)] = Object.keys(operations).map((name) => name.toUpperCase())
  t.match(routes, {
    '/token': ['POST'],
    '/users/me': ['GET', 'PATCH'],
    '/users': ['GET', 'POST'],
    '/health/ready': ['GET']
  })

  for (const [url, methods] of Object.entries(routes)) {
    const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : [])].sort()
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'] as const) {
      if (allow.includes(method)) continue
      for (const variant of [url, `${url}?x=1`, ...(url === '/' ? [] : [`${url}/`])]) {
        const response = await inject({ method: method as 'GET', url: variant })
        const refused = 'The method is not allowed here'
        const expected = ['/token', '/revoke', '/introspect'].includes(url)
          ? asOAuthError(405, 'invalid_request', refused)
          : asProblem(405, refused)
        const { body, ...rest } = expected
        t.strictSame(
          { ...refusal(response), allow: response.headers.allow },
          { ...rest, body: method === 'HEAD' ? '' : body, allow: allow.join(', ') },
          `${method} ${variant}`
        )
      }
    }
  }
})

t.test('a wrong method is refused before the body and the caller are looked at', async (t) => {
  const { inject } = await common()
  for (const [method, url] of [
    ['PUT', '/users/me'],
    ['PUT', '/users'],
    ['PATCH', '/token']
  ] as const) {
    for (const payload of ['{', 'x'.repeat(100_000)]) {
      const response = await inject({ method, url, payload, headers: { 'content-type': 'application/json' } })
      t.equal(response.statusCode, 405, `${method} ${url}`)
    }
  }
})

t.test('a path in another spelling is the same path, for a wrong method too', async (t) => {
  const app = await common()
  const body = new URLSearchParams(login).toString()
  for (const url of ['/token/', '/%74oken', '/tok%65n/']) {
    t.equal((await form(app, body, {}, url)).statusCode, 200, url)
    const refused = await form(app, 'grant_type=x', {}, url)
    t.strictSame(refusal(refused), asOAuthError(400, 'unsupported_grant_type', 'The grant type is not supported'), url)
    const response = await app.inject({ method: 'GET', url })
    t.strictSame([response.statusCode, response.headers.allow], [405, 'POST'], url)
    t.strictSame(refusal(response), asOAuthError(405, 'invalid_request', 'The method is not allowed here'), url)
  }
  const token = await app.login('alice')
  for (const url of ['/users/me/', '/users/m%65', '/%75sers/me/'])
    t.strictSame((await app.get(url, token)).json(), (await app.get('/users/me', token)).json(), url)
})

t.test('a URL that is none is a problem document, over a socket too: 400', async (t) => {
  const app = await common()
  for (const url of ['/%zz', '/%ff', '/%', '/users/%c3', '/token/%zz', '/docs/%ff', '/%zz?%zz']) {
    t.strictSame(refusal(await app.inject({ method: 'GET', url })), asProblem(400, MALFORMED), url)
    const { status, type, body } = await raw(t, app.app, `GET ${url} HTTP/1.1\r\nHost: x\r\n\r\n`)
    t.strictSame([status, type, body], [400, PROBLEM, problem(400, MALFORMED)], url)
  }
  await aliveAfter(t, app)
})

t.test('what is no HTTP gets a problem document and the end of the connection: 400', async (t) => {
  const app = await common()
  for (const bytes of [
    'HELLO\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'GET / HTTP/9.9\r\nHost: x\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: x\r\nX A: b\r\n\r\n',
    'GET / \0 HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET / HTTP/1.1\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n',
    'GET / HTTP/1.0\r\nHost: x\r\nhost: y\r\n\r\n',
    'POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n',
    'POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n'
  ]) {
    const { status, type, body, closed } = await raw(t, app.app, Buffer.from(bytes, 'latin1'))
    t.strictSame(
      { status, type, body, closed },
      { status: 400, type: PROBLEM, body: problem(400, MALFORMED), closed: true },
      JSON.stringify(bytes)
    )
  }
  await aliveAfter(t, app)
})

t.test('an expectation that nobody knows is ignored (RFC 9110 §10.1.1), and HTTP/1.0 needs no Host', async (t) => {
  const app = await common()
  for (const bytes of [
    'GET /health/live HTTP/1.1\r\nHost: x\r\nExpect: the-unexpected\r\n\r\n',
    'GET /health/live HTTP/1.0\r\n\r\n'
  ]) {
    const { status, body } = await raw(t, app.app, bytes)
    t.strictSame([status, body], [200, { status: 'ok' }], bytes)
  }
})

t.test('HT8 a message of two lengths is refused and the connection closed: 400', async (t) => {
  const app = await common()
  const smuggled = 'GET /users/me HTTP/1.1\r\nHost: x\r\n\r\n'
  const post = 'POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n'
  for (const bytes of [
    `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    `${post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n${smuggled}`,
    `${post}Content-Length: 5\r\nContent-Length: 6\r\n\r\naaaaaa${smuggled}`,
    `${post}Content-Length: 5, 6\r\n\r\naaaaaa${smuggled}`,
    `${post}Content-Length: +5\r\n\r\naaaaa${smuggled}`,
    `${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`,
    `${post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`,
    `${post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    `${post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    `${post}Transfer-Encoding: chunked\r\n\r\n0x5\r\naaaaa\r\n0\r\n\r\n${smuggled}`,
    `${post}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\naaaaa${smuggled}`,
    `GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n${smuggled}`
  ]) {
    const { text, status, closed } = await raw(t, app.app, bytes)
    t.strictSame(
      { status, closed, answers: text.match(/HTTP\/1\.1 \d+/g)?.filter((line) => !line.endsWith('415')).length },
      { status: 400, closed: true, answers: 1 },
      JSON.stringify(bytes)
    )
  }
  await aliveAfter(t, app)
})

t.test('headers that are too large are a problem document and the end of the connection: 431', async (t) => {
  const app = await common()
  for (const bytes of [
    `GET / HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(20_000)}\r\n\r\n`,
    `GET /users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${'x'.repeat(70_000)}\r\n\r\n`,
    `GET /?${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`
  ]) {
    const { status, type, body, closed } = await raw(t, app.app, bytes)
    t.strictSame(
      { status, type, body, closed },
      {
        status: 431,
        type: PROBLEM,
        body: problem(431, 'The headers are too large'),
        closed: true
      },
      bytes.slice(0, 60)
    )
  }
  await aliveAfter(t, app)
})

t.test('HEAD answers as GET does, without a body', async (t) => {
  const { inject, login } = await common()
  const authorization = `Bearer ${await login('alice')}`
  for (const url of [
    '/',
    '/health/live',
    '/health/ready',
    '/.well-known/jwks.json',
    '/openapi.json',
    '/users/me',
    '/users'
  ]) {
    for (const headers of [{}, { authorization }]) {
      const [get, head] = [
        await inject({ method: 'GET', url, headers }),
        await inject({ method: 'HEAD', url, headers })
      ]
      const seen = ({ statusCode, headers: all }: LightMyRequestResponse) => ({
        statusCode,
        type: all['content-type'],
        cache: all['cache-control'],
        challenge: all['www-authenticate']
      })
      t.strictSame(seen(head), seen(get), url)
      t.equal(head.body, '', url)
    }
  }
})

const SPOOFED = {
  host: 'evil.example',
  forwarded: 'for=198.51.100.1;host=evil.example;proto=https',
  'x-forwarded-for': '198.51.100.1',
  'x-forwarded-host': 'evil.example',
  'x-forwarded-proto': 'https',
  'x-forwarded-port': '444',
  'x-forwarded-prefix': '/evil',
  'x-original-url': '/users',
  'x-rewrite-url': '/users',
  'x-http-method-override': 'DELETE'
}

for (const proxies of ['', '127.0.0.1']) {
  t.test(`HT10 spoofed headers are inert, ${proxies === '' ? 'without a' : 'also from a trusted'} proxy`, async (t) => {
    const app = await build(t, { env: { LATCHKEY_TRUSTED_PROXIES: proxies } })
    const token = await app.login('alice')
    const headers = { authorization: `Bearer ${token}` }
    for (const url of [
      '/',
      '/.well-known/oauth-authorization-server',
      '/openapi.json',
      '/users/me',
      '/none',
      '/users'
    ]) {
      const plain = await app.inject({ method: 'GET', url, headers })
      const spoofed = await app.inject({ method: 'GET', url, headers: { ...headers, ...SPOOFED } })
      t.strictSame([spoofed.statusCode, spoofed.body], [plain.statusCode, plain.body], url)
      t.notMatch(JSON.stringify(spoofed.headers), /evil/, url)
    }
    t.equal((await app.inject({ method: 'GET', url: '/' })).json().links.token, `${ISSUER}/token`)

    const addresses: (string | null)[] = []
    const { open } = app.app.store.sessions
    app.app.store.sessions.open = (session, version, rev) => {
      addresses.push(session.address)
      return open(session, version, rev)
    }
    const response = await app.token(login, SPOOFED)
    const claims = JSON.parse(Buffer.from(response.json().access_token.split('.')[1], 'base64url').toString())
    t.strictSame([claims.iss, claims.aud], [ISSUER, ISSUER])
    t.strictSame(addresses, [proxies === '' ? '127.0.0.1' : '198.51.100.1'])
  })
}

/** An app whose log can be read. */
async function logged(t: Test) {
  const lines: Record<string, unknown>[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      for (const line of String(chunk).trim().split('\n')) lines.push(JSON.parse(line))
      done()
    }
  })
  const app = await build(t, { logger: { level: 'error', stream } })
  return { ...app, lines }
}

t.test('HT10 a failure of ours tells nothing to the caller and all to the log: 500', async (t) => {
  const { app, token, get, login: logIn, inject, lines } = await logged(t)
  const bearer = await logIn('alice')
  const secret = 'connection to 10.0.0.7 as latchkey:hunter2 failed at /srv/store.ts'
  const failing = async (error: unknown) => {
    const fail = () => Promise.reject(error)
    Object.assign(app.store.users, { get: fail, credentials: fail })
    Object.assign(app.store.keys, { list: fail })
    lines.length = 0
    const shown = { status: 500, type: PROBLEM, cache: 'no-store', body: problem(500, 'The server failed') }
    const [me, jwks, issued] = [
      await get('/users/me', bearer),
      await inject({ method: 'GET', url: '/.well-known/jwks.json' }),
      await token(login)
    ]
    t.strictSame(refusal(me), shown)
    t.strictSame(refusal(jwks), shown)
    t.strictSame(refusal(issued), asOAuthError(500, 'server_error', 'The server failed'))
    t.equal(lines.length, 3)
    for (const { body, headers } of [me, jwks, issued]) t.notMatch(body + JSON.stringify(headers), /hunter2|srv/)
  }
  await failing(new Error(secret))
  for (const line of lines) {
    t.match(line, {
      level: 50,
      msg: 'request failed',
      reqId: /^[0-9a-f-]{36}$/,
      err: { message: secret, stack: /http\.test\.ts/ }
    })
  }
  await failing(Object.assign(new Error(secret), { code: 'ERR_X', statusCode: 418 }))
  await failing(Object.assign(new TypeError(secret), { status: 404 }))
  await failing(new AggregateError([new Error(secret)], secret))
  await failing(secret)
  await failing(null)
  await failing(undefined)
})

t.test('a database that is away is told in the shape of the endpoint, with when to come again: 503', async (t) => {
  const { app, token, get, login: logIn, inject } = await logged(t)
  const bearer = await logIn('alice')
  const away = () => Promise.reject(new DomainError('unavailable', 'The database is not available', { retryAfter: 1 }))
  const state = app.store.state
  const seen = (response: LightMyRequestResponse) => ({
    ...refusal(response),
    retryAfter: response.headers['retry-after'],
    challenge: response.headers['www-authenticate']
  })
  const unavailable = {
    ...asProblem(503, 'The database is not available'),
    retryAfter: '1',
    challenge: undefined
  }
  const unavailableToken = {
    ...asOAuthError(503, 'temporarily_unavailable', 'The database is not available'),
    retryAfter: '1',
    challenge: undefined
  }
  app.store.state = away
  t.strictSame(seen(await get('/users/me', bearer)), unavailable, 'the guard’s question')
  app.store.state = state
  app.store.users.get = away
  t.strictSame(seen(await get('/users/me', bearer)), unavailable, 'the handler’s question')
  app.store.keys.list = away
  t.strictSame(seen(await inject({ method: 'GET', url: '/.well-known/jwks.json' })), unavailable)

  const restore: [object, object][] = [
    [app.store.clients, { ...app.store.clients }],
    [app.store.users, { ...app.store.users }],
    [app.store.scopes, { ...app.store.scopes }],
    [app.store.sessions, { ...app.store.sessions }],
    [app.store.keys, { ...app.store.keys }]
  ]
  for (const [part, before] of restore) {
    const methods = Object.keys(before)
    Object.assign(part, Object.fromEntries(methods.map((name) => [name, away])))
    t.strictSame(seen(await token(login)), unavailableToken, methods.join())
    Object.assign(part, before)
  }
  t.equal((await token(login)).statusCode, 200)
})

t.test('too many logins at once are told when to come again: 503', async (t) => {
  const { app, token } = await build(t)
  app.hasher.verify = () => Promise.reject(new DomainError('unavailable', 'Too many logins at once', { retryAfter: 2 }))
  const response = await token(login)
  t.strictSame(refusal(response), asOAuthError(503, 'temporarily_unavailable', 'Too many logins at once'))
  t.equal(response.headers['retry-after'], '2')
})

t.test('a compressed body is refused, not read as it is: 415', async (t) => {
  const { token, inject, login } = await build(t)
  const form = await token('grant_type=password', { 'content-encoding': 'gzip' })
  t.strictSame(
    [form.statusCode, form.json()],
    [415, { error: 'invalid_request', error_description: 'The content type is not supported here' }]
  )
  const headers = { authorization: `Bearer ${await login('alice')}`, 'content-encoding': 'gzip' }
  t.equal((await inject({ method: 'PATCH', url: '/users/me', headers, payload: {} })).statusCode, 415)
})

t.test('tricks with the path of a file of the pages find nothing: 404', async (t) => {
  const { inject } = await build(t)
  for (const path of ['nope.js', '..%2f..%2fpackage.json', '%2e%2e/package.json', '/etc/passwd', '.git', '']) {
    const response = await inject({ url: `/docs/static/${path}` })
    t.strictSame(
      [response.statusCode, response.json()],
      [404, { type: 'about:blank', title: 'Not Found', status: 404, detail: 'There is nothing here' }],
      path
    )
  }
})

t.test('an error of a library is our failure, whatever status it holds: 500', async (t) => {
  const { app, get, login } = await build(t, { logger: false })
  const token = await login('alice')
  app.store.users.get = async () => {
    throw Object.assign(new Error('the library says no'), { statusCode: 400 })
  }
  t.equal((await get('/users/me', token)).statusCode, 500)
})
