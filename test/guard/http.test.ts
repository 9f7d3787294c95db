import type { RequestListener } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { type Fetch, type RequestOptions, requestJson, UpstreamError } from '../../src/guard/http.ts'
import { systemTimer } from '../../src/guard/timer.ts'
import { freePort } from '../cli/process.ts'
import { createFakeTimer } from '../fake-timer.ts'
import { listen } from '../listen.ts'

const SECRET = 'lks_must-not-occur-in-an-error'
const JSON_TYPE = { 'content-type': 'application/json' }
const TIMEOUT = 500

/** Returns the body of the response, or the parts of the error. */
async function request(
  url: string,
  { fetch = globalThis.fetch, ...options }: Partial<RequestOptions> & { fetch?: Fetch } = {}
) {
  try {
    const { body } = await requestJson(fetch, `${url}/x?after=${SECRET}`, {
      method: 'POST',
      headers: { authorization: `Basic ${SECRET}` },
      body: SECRET,
      timeout: TIMEOUT,
      timer: createFakeTimer(),
      maxBytes: 1000,
      ...options
    })
    return body
  } catch (error) {
    if (!(error instanceof UpstreamError)) throw error
    const { status, message, body, retryAfter } = error
    if (inspect(error, { depth: 9 }).includes(SECRET)) throw new Error('the error holds what was sent')
    return { status, message: message.replace(url, ''), body, retryAfter }
  }
}

const failure = (status: number | null, message: string, body: unknown = null, retryAfter: number | null = null) => ({
  status,
  message: `POST /x: ${message}`,
  body,
  retryAfter
})

const respond =
  (body: string | Buffer, headers: Record<string, string> = JSON_TYPE, status = 200): RequestListener =>
  (_request, response) =>
    response.writeHead(status, headers).end(body)

const RESPONSES: [name: string, listener: RequestListener, expected: unknown][] = [
  ['JSON', respond('{"a":[1]}'), { a: [1] }],
  ['JSON with a charset, in another case', respond('1', { 'content-type': 'Application/JSON ; charset=utf-8' }), 1],
  ['201', respond('1', JSON_TYPE, 201), 1],
  ['JSON of the maximum length', respond(`"${'x'.repeat(998)}"`), 'x'.repeat(998)],
  [
    'JSON that is one byte too long',
    respond(`"${'x'.repeat(999)}"`),
    failure(200, 'the response is longer than 1000 bytes')
  ],
  [
    'JSON that is too long after decompression',
    respond(gzipSync(`"${'x'.repeat(1_000_000)}"`), { ...JSON_TYPE, 'content-encoding': 'gzip' }),
    failure(200, 'the response is longer than 1000 bytes')
  ],
  ['no media type', respond('1', {}), failure(200, 'the response is not application/json')],
  ['HTML', respond('1', { 'content-type': 'text/html' }), failure(200, 'the response is not application/json')],
  [
    'a media type that begins with that of JSON',
    respond('1', { 'content-type': 'application/json-seq' }),
    failure(200, 'the response is not application/json')
  ],
  ['text that is not JSON', respond(SECRET), failure(200, 'the response is not JSON')],
  ['half of a JSON text', respond('{"a":'), failure(200, 'the response is not JSON')],
  ['an empty body', respond(''), failure(200, 'the response is not JSON')],
  ['204', (_request, response) => response.writeHead(204).end(), failure(204, 'the response is not application/json')],
  ['invalid UTF-8', respond(Buffer.from([34, 0xff, 34])), failure(200, 'the response is not JSON')],
  ['half of a character', respond(Buffer.from([34, 0xc3])), failure(200, 'the response is not JSON')],
  ['500', respond('oops', { 'content-type': 'text/plain' }, 500), failure(500, 'the status is 500')],
  [
    '400 with JSON',
    respond(`{"error":"${SECRET}"}`, JSON_TYPE, 400),
    failure(400, 'the status is 400', { error: SECRET })
  ],
  [
    '403 with a problem document',
    respond('{"detail":"a"}', { 'content-type': 'application/problem+json; charset=utf-8' }, 403),
    failure(403, 'the status is 403', { detail: 'a' })
  ],
  [
    '200 with a problem document',
    respond('{}', { 'content-type': 'application/problem+json' }),
    failure(200, 'the response is not application/json')
  ],
  ['503 with Retry-After', respond('', { 'retry-after': '7' }, 503), failure(503, 'the status is 503', null, 7)],
  [
    '503 with a date as Retry-After',
    respond('', { 'retry-after': 'Wed, 21 Oct 2026 07:28:00 GMT' }, 503),
    failure(503, 'the status is 503')
  ],
  ['a broken connection', ({ socket }) => void socket.destroy(), failure(null, 'no response (UND_ERR_SOCKET)')],
  [
    'a connection that breaks within the body',
    ({ socket }, response) => {
      response.writeHead(200, { ...JSON_TYPE, 'content-length': '9' }).write('1', () => socket.destroy())
    },
    failure(null, 'no response (UND_ERR_SOCKET)')
  ]
]

for (const [name, listener, expected] of RESPONSES)
  t.test(`a response is read, or its problem is named: ${name}`, async (t) => {
    t.strictSame(await request(await listen(t, listener)), expected)
  })

t.test('a redirect is refused and not followed', async (t) => {
  const urls: unknown[] = []
  const origin = await listen(t, ({ url }, response) => {
    urls.push(url)
    response.writeHead(302, { location: '/elsewhere' }).end()
  })
  t.strictSame(await request(origin), failure(null, 'no response'))
  t.strictSame(urls, [`/x?after=${SECRET}`])
})

t.test('a refused connection is no response, and the error has the reason as its cause', async (t) => {
  const url = `http://127.0.0.1:${await freePort()}`
  t.strictSame(await request(url), failure(null, 'no response (ECONNREFUSED)'))
  const options = { timeout: TIMEOUT, timer: createFakeTimer(), maxBytes: 1 }
  t.match(inspect(await requestJson(fetch, url, options).catch((error: unknown) => error)), /ECONNREFUSED/)
})

t.test('a real response that arrives byte by byte is aborted after the timeout', async (t) => {
  const closed = Promise.withResolvers<void>()
  const origin = await listen(t, async (_request, response) => {
    response.on('close', closed.resolve)
    response.writeHead(200, JSON_TYPE)
    while (!response.destroyed) {
      response.write(' ')
      await sleep(10)
    }
  })
  t.strictSame(await request(origin, { timer: systemTimer, timeout: 100 }), failure(null, 'no response within 100 ms'))
  await closed.promise
})

const SILENT: [name: string, fetch: Fetch][] = [
  ['no headers', () => new Promise(() => {})],
  ['no body', async () => new Response(new ReadableStream(), { headers: JSON_TYPE })]
]
for (const [name, fetch] of SILENT)
  t.test(`the timeout applies to a fetch that ignores its signal: ${name}`, async (t) => {
    const timer = createFakeTimer()
    let isPending = true
    const response = request('http://x', { fetch, timer }).finally(() => {
      isPending = false
    })
    await timer.advance(TIMEOUT - 1)
    t.ok(isPending)
    await timer.advance(1)
    t.notOk(isPending)
    t.strictSame(await response, failure(null, 'no response within 500 ms'))
  })

t.test('the timer of the timeout is stopped when the response has been read', async (t) => {
  const timer = createFakeTimer()
  t.equal(await request('http://x', { fetch: async () => Response.json(1), timer }), 1)
  t.equal(timer.sleeping(), 0)
})

t.test('the caller can abort a request, also before it is sent', async (t) => {
  let calls = 0
  const fetch: Fetch = () => {
    calls++
    return new Promise(() => {})
  }
  const aborted = failure(null, 'aborted by the caller')
  t.strictSame(await request('http://x', { fetch, signal: AbortSignal.abort() }), aborted)
  t.equal(calls, 0)
  const caller = new AbortController()
  const response = request('http://x', { fetch, signal: caller.signal })
  t.equal(calls, 1)
  caller.abort()
  t.strictSame(await response, aborted)
})

t.test('a response that is too long is not read to its end', async (t) => {
  const closed = Promise.withResolvers<void>()
  const origin = await listen(t, (_request, response) => {
    response.on('close', closed.resolve)
    response.writeHead(200, JSON_TYPE).write(' '.repeat(5000))
  })
  t.strictSame(await request(origin), failure(200, 'the response is longer than 1000 bytes'))
  await closed.promise
})
