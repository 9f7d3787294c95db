import t from 'tap'
import {
  asProblem,
  FORM,
  LOGIN,
  MALFORMED,
  PROBLEM,
  problem,
  receiveAll,
  refusal,
  sendBytes,
  sharedApp
} from '../http.ts'

const isReady = async () => (await (await sharedApp()).inject({ url: '/health/ready' })).statusCode === 200

t.test('a malformed URL is a problem document, also over a socket: 400', async (t) => {
  const { app, inject } = await sharedApp()
  for (const url of ['/%zz', '/%ff', '/%', '/users/%c3', '/token/%zz', '/docs/%ff', '/%zz?%zz']) {
    t.strictSame(refusal(await inject({ method: 'GET', url })), asProblem(400, MALFORMED), url)
    const { status, type, body } = await sendBytes(app, `GET ${url} HTTP/1.1\r\nHost: x\r\n\r\n`)
    t.strictSame([status, type, body], [400, PROBLEM, problem(400, MALFORMED)], url)
  }
  t.ok(await isReady())
})

t.test('bytes that are not HTTP get a problem document, and the connection ends: 400', async (t) => {
  const { app } = await sharedApp()
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
    const { status, type, body, closed } = await sendBytes(app, Buffer.from(bytes, 'latin1'))
    t.strictSame(
      { status, type, body, closed },
      { status: 400, type: PROBLEM, body: problem(400, MALFORMED), closed: true },
      JSON.stringify(bytes)
    )
  }
  t.ok(await isReady())
})

t.test('a target that begins with an asterisk is no path of the service: 404', async (t) => {
  const { app } = await sharedApp()
  for (const line of ['GET *', 'OPTIONS *', 'GET *?x=1', 'POST *token', 'GET *users/me']) {
    const { status, body } = await sendBytes(app, `${line} HTTP/1.1\r\nHost: x\r\n\r\n`)
    t.strictSame([status, body], [404, problem(404, 'The path does not exist')], line)
  }
})

t.test('an unknown expectation is ignored (RFC 9110 §10.1.1), and HTTP/1.0 needs no Host', async (t) => {
  const { app } = await sharedApp()
  for (const bytes of [
    'GET /health/live HTTP/1.1\r\nHost: x\r\nExpect: the-unexpected\r\n\r\n',
    'GET /health/live HTTP/1.0\r\n\r\n'
  ]) {
    const { status, body } = await sendBytes(app, bytes)
    t.strictSame([status, body], [200, { status: 'ok' }], bytes)
  }
  const form = `Content-Type: ${FORM}\r\nContent-Length: 7\r\n\r\ntoken=x`
  const { status, body } = await sendBytes(app, `POST /revoke HTTP/1.1\r\nHost: x\r\nExpect: 200-nope\r\n${form}`)
  t.strictSame([status, body], [200, ''], 'the body arrives too')
})

t.test('a body that is too large is refused before it arrived, with its length or in chunks: 413 [HT2]', async (t) => {
  const { app } = await sharedApp()
  const head = `POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\n`
  const expected = { error: 'invalid_request', error_description: 'The body is too large' }
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
  for (const bytes of [
    `${head}Content-Length: 999999999\r\n\r\n`,
    `${head}Transfer-Encoding: chunked\r\n\r\n${chunk}${chunk}0\r\n\r\n`
  ]) {
    const { status, body } = await sendBytes(app, bytes)
    t.strictSame([status, body], [413, expected])
  }
  t.ok(await isReady())
})

t.test('a message whose end is ambiguous is refused, and the connection ends: 400 [HT8]', async (t) => {
  const { app } = await sharedApp()
  const smuggled = 'GET /users/me HTTP/1.1\r\nHost: x\r\n\r\n'
  const post = `POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\n`
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
    const { text, status, closed } = await sendBytes(app, bytes)
    t.strictSame(
      { status, closed, answers: text.match(/HTTP\/1\.1 \d+/g)?.length },
      { status: 400, closed: true, answers: 1 },
      JSON.stringify(bytes)
    )
  }
  t.ok(await isReady())
})

t.test('garbage after requests gets 400, and only after the responses to these requests [HT8]', async (t) => {
  const { app, login } = await sharedApp()
  const statuses = async (bytes: string) => (await receiveAll(app, bytes)).match(/HTTP\/1\.1 \d+/g)
  const live = 'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'
  const me = `GET /users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await login('alice')}\r\n\r\n`
  const form = new URLSearchParams(LOGIN).toString()
  const post = `POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\n`
  const slow = `${post}Content-Length: ${form.length}\r\n\r\n${form}`
  const [ok, bad] = ['HTTP/1.1 200', 'HTTP/1.1 400']
  for (const garbage of ['garbage\r\n\r\n', '\x16\x03\x01', 'GET / HTTP/9.9\r\n\r\n']) {
    t.strictSame(await statuses(slow + garbage), [ok, bad], `after a login: ${JSON.stringify(garbage)}`)
    t.strictSame(await statuses(slow + me + live + garbage + garbage), [ok, ok, ok, bad], 'after several requests')
  }
  const chunked = `${post}Transfer-Encoding: chunked\r\n\r\n`
  t.strictSame(await statuses(`${slow}${chunked}zz\r\n`), [ok, bad], 'in the body of the next request')
  t.strictSame(
    await statuses(`${slow}GET /users/me HTTP/1.1\r\nX-Large: ${'x'.repeat(20_000)}\r\n\r\n`),
    [ok, 'HTTP/1.1 431'],
    'headers that are too large'
  )
  t.strictSame(
    await statuses(`${slow.replace('\r\nHost', '\r\nConnection: close\r\nHost')}garbage`),
    [ok],
    'after the last request'
  )
  t.ok(await isReady())
})

t.test('headers that are too large get a problem document, and the connection ends: 431', async (t) => {
  const { app } = await sharedApp()
  for (const bytes of [
    `GET / HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(20_000)}\r\n\r\n`,
    `GET /users/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${'x'.repeat(70_000)}\r\n\r\n`,
    `GET /?${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`
  ]) {
    const { status, type, body, closed } = await sendBytes(app, bytes)
    t.strictSame(
      { status, type, body, closed },
      { status: 431, type: PROBLEM, body: problem(431, 'The headers are too large'), closed: true },
      bytes.slice(0, 60)
    )
  }
  t.ok(await isReady())
})
