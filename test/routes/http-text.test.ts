import t from 'tap'
import {
  asAlice,
  asOAuthError,
  asProblem,
  FORM,
  LOGIN,
  MALFORMED,
  PROBLEM,
  refusal,
  sendBytes,
  sendForm,
  sharedApp
} from '../http.ts'
import { compareAll } from '../rows.ts'

const login = new URLSearchParams(LOGIN).toString()

const NOT_TEXT: [name: string, escape: string][] = [
  ['a NUL', '%00'],
  ['a NUL in a text', 'a%00b'],
  ['a byte that is not UTF-8', '%ff'],
  ['half a character', 'a%c3'],
  ['an overlong NUL', '%c0%80'],
  ['a lone surrogate', '%ed%a0%80'],
  ['a character beyond Unicode', '%f4%90%80%80'],
  ['half an escape', '%4'],
  ['an escape without digits', '%zz'],
  ['a bare percent sign', '100%']
]

t.test('a query that is not text is refused: 400 [HT5]', async (t) => {
  const app = await sharedApp()
  const [alice, admin] = [await app.login('alice'), await app.login('admin', 'users:read')]
  await compareAll(t, async (row) => {
    for (const [name, text] of NOT_TEXT) {
      for (const query of [`x=${text}`, `${text}=x`, `cursor=${text}`, `limit=1&x=${text}`])
        row(`${name}: ${query}`, refusal(await app.get(`/users/me?${query}`, alice)), asProblem(400, MALFORMED))
      const { statusCode, headers } = await app.get(`/users?cursor=${text}`, admin)
      row(`${name} at /users`, [statusCode, headers['content-type']], [400, PROBLEM])
      const token = await sendForm(app, login, { url: `/token?x=${text}` })
      row(`${name} at /token`, [token.statusCode, token.json().error], [400, 'invalid_request'])
    }
    for (const url of ['/', '/health/ready', '/.well-known/jwks.json', '/openapi.json'])
      for (const text of ['%00', '%ff', '%zz'])
        row(`${url}?x=${text}`, (await app.inject({ url: `${url}?x=${text}` })).statusCode, 400)
  })
})

t.test('a path that is not text is refused: 400 [HT5]', async (t) => {
  const app = await sharedApp()
  const alice = await app.login('alice')
  await compareAll(t, async (row) => {
    for (const [name, text] of NOT_TEXT) {
      for (const url of [`/${text}`, `/users/${text}`, `/users/me${text}`, `/users/me/${text}`, `/token${text}`])
        row(`${name}: ${url}`, refusal(await app.get(url, alice)), asProblem(400, MALFORMED))
    }
  })
})

const bytes = (...codes: number[]) => Buffer.from(codes).toString('latin1')

t.test('JSON with a text that no database can store is refused: 400 [HT5]', async (t) => {
  const { patch, me } = await asAlice()
  await compareAll(t, async (row) => {
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
      for (const json of [`{"email":"${text}@example.com"}`, `{"${text}":1}`, `{"x":{"${text}":1}}`]) {
        const { statusCode, headers } = await patch(Buffer.from(json, 'latin1'))
        row(JSON.stringify(json), [statusCode, headers['content-type']], [400, PROBLEM])
      }
      const name = Buffer.from(`{"full_name":"${text}"}`, 'latin1')
      row(JSON.stringify(text), refusal(await patch(name)), asProblem(400, MALFORMED))
    }
  })
  for (const full_name of ['👩‍🚀', '\u{10ffff}\uffff\ufffd', 'ｱ', 'a\u0301', '\u2028'])
    t.equal((await patch(JSON.stringify({ full_name }))).json().full_name, full_name)
  t.equal((await patch('{"full_name":"\\ud83d\\ude80"}')).json().full_name, '🚀')
  t.equal((await me()).full_name, '🚀')
})

t.test('a form that is not text is refused: 400 [HT5]', async (t) => {
  const app = await sharedApp()
  const raw = [bytes(0), bytes(0xff), bytes(0xed, 0xa0, 0x80), bytes(0xc3)]
  await compareAll(t, async (row) => {
    const refused = async (body: string) => {
      const response = await sendForm(app, Buffer.from(body, 'latin1'))
      row(body, [response.statusCode, response.json().error], [400, 'invalid_request'])
    }
    for (const text of [...NOT_TEXT.map(([, text]) => text), ...raw]) {
      await refused(`grant_type=password&username=${text}&password=x`)
      await refused(`${login}&${text}=x`)
    }
    for (const text of ['%00', '%ff', bytes(0xff)]) {
      await refused(`grant_type=password&username=alice&password=${text}`)
      await refused(`grant_type=${text}`)
      for (const name of ['scope', 'client_id', 'client_secret', 'resource', 'unknown'])
        await refused(`${login}&${name}=${text}`)
    }
  })
})

t.test('Basic credentials that are not text are refused: 401 [HT5]', async (t) => {
  const app = await sharedApp()
  for (const credentials of [
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
  ]) {
    const authorization = `Basic ${credentials.toString('base64')}`
    const response = await sendForm(app, login, { headers: { authorization } })
    t.strictSame(
      { ...refusal(response), challenge: response.headers['www-authenticate'] },
      {
        ...asOAuthError(401, 'invalid_client', 'Client authentication failed'),
        challenge: 'Basic realm="latchkey"'
      },
      authorization
    )
  }
})

t.test('a header with bytes that are not ASCII causes no failure [HT5]', async (t) => {
  const { app } = await sharedApp()
  const send = (host: string, header: string) => {
    const userAgent = `User-Agent: \xff\xed\xa0\x80${'ü'.repeat(300)}\r\n`
    const head = `POST /token HTTP/1.1\r\nHost: ${host}\r\n${userAgent}${header}Content-Type: ${FORM}\r\n`
    return sendBytes(app, Buffer.from(`${head}Content-Length: ${login.length}\r\n\r\n${login}`, 'latin1'))
  }
  const { status } = await send('\xff', 'X-\xfc: \xff\r\n')
  t.ok([200, 400].includes(status), `status ${status}`)
  t.equal((await send('x', '')).status, 200)
})

t.test('keys such as `__proto__` have no effect in a query or as a header [HT4]', async (t) => {
  const app = await sharedApp()
  const before = Reflect.ownKeys(Object.prototype)
  const [alice, admin] = [await app.login('alice'), await app.login('admin', 'users:read')]
  for (const query of ['__proto__=x', '__proto__[x]=1', 'constructor=x', 'constructor[prototype][x]=1', 'toString=1']) {
    t.equal((await app.get(`/users?${query}`, admin)).statusCode, 400, query)
    t.equal((await sendForm(app, login, { url: `/token?${query}` })).statusCode, 200, query)
    t.equal((await app.get(`/users/me?${query}`, alice)).json().username, 'alice', query)
  }
  const { status, body } = await sendBytes(
    app.app,
    `GET /users/me HTTP/1.1\r\nHost: x\r\nauthorization: Bearer ${alice}\r\n__proto__: x\r\nconstructor: y\r\n\r\n`
  )
  t.strictSame([status, body.username], [200, 'alice'])
  t.strictSame(Reflect.ownKeys(Object.prototype), before)
})
