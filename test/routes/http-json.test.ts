import t from 'tap'
import {
  asAlice,
  asOAuthError,
  asProblem,
  FORM,
  LOGIN,
  MALFORMED,
  NOT_AS_DESCRIBED,
  PROBLEM,
  refusal,
  sendForm,
  sharedApp,
  withPointers
} from '../http.ts'
import { compareAll } from '../rows.ts'

const NOT_JSON = 'The body must be application/json in UTF-8, and not compressed'

t.test('a body is validated with every spelling of the JSON type [HT1]', async (t) => {
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

t.test('a body of any other type is refused: 415 [HT1]', async (t) => {
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
    const answer = refusal(await patch('{"full_name":"Mallory"}', type))
    t.strictSame(answer, asProblem(415, NOT_JSON), String(type))
  }
  t.strictSame(await me(), expected)
})

t.test('a charset that is not UTF-8 is refused: 415 [HT1]', async (t) => {
  const { patch, me } = await asAlice()
  const expected = await me()
  for (const charset of ['utf-16', '"UTF-16LE"', 'latin1', 'iso-8859-1', '', '"utf-8', 'utf-8; charset=utf-7'])
    for (const body of ['{"full_name":"Mallory"}', ''])
      t.strictSame(
        refusal(await patch(body, `application/json; charset=${charset}`)),
        asProblem(415, NOT_JSON),
        charset
      )
  t.strictSame(await me(), expected)
})

t.test('a compressed body is refused: 415', async (t) => {
  const { token, inject, bearer } = await asAlice()
  t.strictSame(
    refusal(await token('grant_type=password', { 'content-encoding': 'gzip' })),
    asOAuthError(415, 'invalid_request', `The body must be ${FORM} in UTF-8, and not compressed`)
  )
  const headers = { authorization: `Bearer ${bearer}`, 'content-encoding': 'gzip' }
  t.equal((await inject({ method: 'PATCH', url: '/users/me', headers, payload: {} })).statusCode, 415)
})

t.test('a body over 16 KB is 413 in the format of the endpoint [HT2]', async (t) => {
  const { token, patch } = await asAlice()
  const json = (size: number) => `{"full_name":"${'x'.repeat(size - 16)}"}`
  t.equal(json(100).length, 100)
  t.strictSame(refusal(await patch(json(16_385))), asProblem(413, 'The body is too large'))
  t.strictSame(refusal(await patch(json(1_000_000))), asProblem(413, 'The body is too large'))
  t.strictSame(
    withPointers(await patch(json(16_384))).answer,
    asProblem(400, 'A text of the request has more than 1024 bytes')
  )

  const tooLarge = asOAuthError(413, 'invalid_request', 'The body is too large')
  const padded = (size: number) => `${new URLSearchParams(LOGIN)}`.padEnd(size, '&')
  t.strictSame(refusal(await token(padded(16_385))), tooLarge)
  t.strictSame(refusal(await token(padded(1_000_000))), tooLarge)
  t.equal((await token(padded(16_384))).statusCode, 200)
})

t.test('a password over 1024 bytes never reaches the hasher [HT2]', async (t) => {
  const { app, token } = await sharedApp()
  let calls = 0
  const { hash, verify } = app.hasher
  t.teardown(() => Object.assign(app.hasher, { hash, verify }))
  app.hasher.hash = (password) => {
    calls++
    return hash(password)
  }
  app.hasher.verify = (stored, password, visit) => {
    calls++
    return verify(stored, password, visit)
  }
  const withPassword = (password: string) => token({ ...LOGIN, password })

  for (const username of ['alice', 'nobody']) {
    const tooLong = asOAuthError(400, 'invalid_request', 'A text of the request has more than 1024 bytes')
    for (const password of ['x'.repeat(1025), 'ü'.repeat(513), '👩‍🚀'.repeat(94), 'x'.repeat(16_000)])
      t.strictSame(refusal(await token({ ...LOGIN, username, password })), tooLong)
    t.equal((await token({ ...LOGIN, username, password: 'x'.repeat(1_000_000) })).statusCode, 413)
  }
  t.equal(calls, 0)
  t.equal((await withPassword('x'.repeat(1024))).json().error, 'invalid_grant')
  t.equal((await withPassword('ü'.repeat(512))).json().error, 'invalid_grant')
  t.equal(calls, 2)
})

t.test('deep, wide and long JSON is refused with a short answer [HT3]', async (t) => {
  const { patch, inject } = await asAlice()
  for (const [name, payload] of Object.entries({
    deep: '['.repeat(8000) + ']'.repeat(8000),
    deepObject: `${'{"a":'.repeat(2700)}1${'}'.repeat(2700)}`,
    wide: `{${Array.from({ length: 2000 }, (_, index) => `"${index.toString(36)}":1`).join(',')}}`,
    deepMember: `{"full_name":${'['.repeat(7900)}${']'.repeat(7900)}}`,
    wideList: `[${'0,'.repeat(8000)}0]`,
    wideMember: `{"email":[${'[],'.repeat(5000)}0]}`,
    long: `{"email":"${'@'.repeat(16_000)}"}`,
    spaces: `{"email":"${'a '.repeat(8000)}"}`,
    unclosed: '['.repeat(16_000),
    digits: `{"full_name":${'9'.repeat(16_000)}}`
  })) {
    const response = await patch(payload)
    t.equal(response.statusCode, 400, name)
    t.match(response.json(), { type: 'about:blank', title: 'Bad Request', status: 400, detail: String }, name)
    t.ok(response.body.length < 16_384, `${name}: the answer has ${response.body.length} characters`)
  }
  t.equal((await inject({ url: '/health/ready' })).statusCode, 200)
})

t.test('keys such as __proto__ have no effect in JSON [HT4]', async (t) => {
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

t.test('keys such as __proto__ have no effect in a form [HT4]', async (t) => {
  const app = await sharedApp()
  const before = Reflect.ownKeys(Object.prototype)
  const names = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '__proto__[x]', 'constructor.x']
  const unknown = names.map((name) => `${encodeURIComponent(name)}=polluted`).join('&')
  t.equal((await sendForm(app, `${new URLSearchParams(LOGIN)}&${unknown}`)).statusCode, 200)
  t.strictSame(
    refusal(await sendForm(app, '__proto__=x&__proto__=y')),
    asOAuthError(400, 'invalid_request', 'A parameter is repeated')
  )
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const errors = await Promise.all(
      [
        { grant_type: name },
        { ...LOGIN, client_id: name },
        { ...LOGIN, username: name },
        { ...LOGIN, scope: name },
        { ...LOGIN, resource: name }
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

t.test('a wrong JSON type is refused with its place, and nothing is converted: 400 [HT6]', async (t) => {
  const { patch, me } = await asAlice()
  const expected = await me()
  await compareAll(t, async (row) => {
    for (const value of ['1', '0', 'true', 'false', '[]', '{}', '["a@example.com"]', '1e400', '{"a":"b"}']) {
      for (const name of ['email', 'full_name']) {
        const refused = { answer: asProblem(400, NOT_AS_DESCRIBED), pointers: [`/body/${name}`] }
        row(`${name}: ${value}`, withPointers(await patch(`{"${name}":${value}}`)), refused)
      }
    }
    for (const body of ['[]', '"x"', '1', 'true', 'null', '[{"full_name":"x"}]'])
      row(body, withPointers(await patch(body)), { answer: asProblem(400, NOT_AS_DESCRIBED), pointers: ['/body'] })
  })
  t.strictSame(await me(), expected)
})

t.test('each invalid member has its own pointer', async (t) => {
  const { patch } = await asAlice()
  const { pointers } = withPointers(await patch('{"email":1,"full_name":false,"a/b~c":1,"":2}'))
  t.strictSame(pointers.toSorted(), ['/body/', '/body/a~1b~0c', '/body/email', '/body/full_name'])
  for (const { pointer, detail } of (await patch('{"email":1}')).json().errors)
    t.strictSame([pointer, typeof detail], ['/body/email', 'string'])
})

t.test('a body that is not JSON is malformed: 400', async (t) => {
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
