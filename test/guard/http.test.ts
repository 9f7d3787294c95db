import type { RequestListener, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { type Fetch, requestJson, UpstreamError } from '../../src/guard/http.ts'
import { freePort } from '../cli/process.ts'
import { listen } from '../listen.ts'

const SECRET = 'lks_not-to-be-seen-by-anybody'
const JSON_TYPE = { 'content-type': 'application/json' }

/** What becomes of a request: the body, or status, message and JSON of the error. */
async function ask(url: string, { signal, fetch = globalThis.fetch }: { signal?: AbortSignal; fetch?: Fetch } = {}) {
  try {
    const { body } = await requestJson(fetch, `${url}/x?after=${SECRET}`, {
      method: 'POST',
      headers: { authorization: `Basic ${SECRET}` },
      body: SECRET,
      timeout: 500,
      maxBytes: 1000,
      ...(signal === undefined ? {} : { signal })
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

const answer =
  (body: string | Buffer, headers: Record<string, string> = JSON_TYPE, status = 200): RequestListener =>
  (_request, response) =>
    response.writeHead(status, headers).end(body)

const CASES: [what: string, listener: RequestListener, expected: unknown][] = [
  ['JSON', answer('{"a":[1]}'), { a: [1] }],
  ['JSON with a charset, in capitals', answer('1', { 'content-type': 'Application/JSON ; charset=utf-8' }), 1],
  ['201', answer('1', JSON_TYPE, 201), 1],
  ['JSON as long as is allowed', answer(`"${'x'.repeat(998)}"`), 'x'.repeat(998)],
  [
    'JSON that is one byte longer',
    answer(`"${'x'.repeat(999)}"`),
    failure(200, 'the response is longer than 1000 bytes')
  ],
  [
    'much in little',
    answer(gzipSync(`"${'x'.repeat(1_000_000)}"`), { ...JSON_TYPE, 'content-encoding': 'gzip' }),
    failure(200, 'the response is longer than 1000 bytes')
  ],
  ['no media type', answer('1', {}), failure(200, 'the response is not application/json')],
  ['HTML', answer('1', { 'content-type': 'text/html' }), failure(200, 'the response is not application/json')],
  [
    'another JSON',
    answer('1', { 'content-type': 'application/json-seq' }),
    failure(200, 'the response is not application/json')
  ],
  ['no JSON', answer(SECRET), failure(200, 'the response is not JSON')],
  ['half of it', answer('{"a":'), failure(200, 'the response is not JSON')],
  ['nothing', answer(''), failure(200, 'the response is not JSON')],
  ['204', (_request, response) => response.writeHead(204).end(), failure(204, 'the response is not application/json')],
  ['bytes that are not UTF-8', answer(Buffer.from([34, 0xff, 34])), failure(200, 'the response is not JSON')],
  ['half of a character', answer(Buffer.from([34, 0xc3])), failure(200, 'the response is not JSON')],
  ['500', answer('oops', { 'content-type': 'text/plain' }, 500), failure(500, 'the status is 500')],
  [
    '400 with JSON',
    answer(`{"error":"${SECRET}"}`, JSON_TYPE, 400),
    failure(400, 'the status is 400', { error: SECRET })
  ],
  ['503 with Retry-After', answer('', { 'retry-after': '7' }, 503), failure(503, 'the status is 503', null, 7)],
  [
    '503 with a date in Retry-After',
    answer('', { 'retry-after': 'Wed, 21 Oct 2026 07:28:00 GMT' }, 503),
    failure(503, 'the status is 503')
  ],
  ['a redirect', answer('', { location: '/elsewhere' }, 307), failure(null, 'no response')],
  ['headers that never come', () => {}, failure(null, 'no response within 500 ms')],
  [
    'a body that never ends',
    (_request, response) => void response.writeHead(200, JSON_TYPE).write('1'),
    failure(null, 'no response within 500 ms')
  ],
  ['a body that drips', (_request, response) => void drip(response), failure(null, 'no response within 500 ms')],
  ['a connection that breaks', ({ socket }) => void socket.destroy(), failure(null, 'no response')],
  [
    'a body that breaks',
    ({ socket }, response) => {
      response.writeHead(200, { ...JSON_TYPE, 'content-length': '9' }).write('1')
      setTimeout(() => socket.destroy(), 50)
    },
    failure(null, 'no response')
  ]
]

async function drip(response: ServerResponse): Promise<void> {
  response.writeHead(200, JSON_TYPE)
  while (!response.destroyed) {
    response.write(' ')
    await sleep(20)
  }
}

for (const [what, listener, expected] of CASES)
  t.test(`what the issuer answers: ${what}`, async (t) => {
    t.strictSame(await ask(await listen(t, listener)), expected)
  })

t.test('nobody is asked twice, and a redirect is not followed', async (t) => {
  const asked: unknown[] = []
  const origin = await listen(t, ({ url }, response) => {
    asked.push(url)
    response.writeHead(302, { location: '/elsewhere' }).end()
  })
  await ask(origin)
  t.strictSame(asked, [`/x?after=${SECRET}`])
})

t.test('where nobody listens there is no response, and its reason is in the cause', async (t) => {
  const url = `http://127.0.0.1:${await freePort()}`
  t.strictSame(await ask(url), failure(null, 'no response'))
  const error = await requestJson(fetch, url, { timeout: 500, maxBytes: 1 }).catch((error: unknown) => error)
  t.match(inspect(error), /ECONNREFUSED/)
})

/** A fetch that answers when it likes. */
const deaf: Fetch = () => new Promise(() => {})

t.test('a fetch that does not heed its signal does not hold up the caller', async (t) => {
  t.strictSame(await ask('http://x', { fetch: deaf }), failure(null, 'no response within 500 ms'))
})

t.test('a body that does not heed the signal does not hold up the caller', async (t) => {
  const fetch: Fetch = async () => new Response(new ReadableStream(), { headers: JSON_TYPE })
  t.strictSame(await ask('http://x', { fetch }), failure(null, 'no response within 500 ms'))
})

t.test('the caller gives up, before and while it waits', async (t) => {
  const expected = failure(null, 'aborted by the caller')
  let asked = 0
  const fetch: Fetch = (...args) => {
    asked++
    return deaf(...args)
  }
  t.strictSame(await ask('http://x', { fetch, signal: AbortSignal.abort() }), expected)
  t.equal(asked, 0)
  t.strictSame(await ask('http://x', { fetch, signal: AbortSignal.timeout(50) }), expected)
})

t.test('a long answer is not read to its end', async (t: Test) => {
  let closed: (() => void) | undefined
  const gone = new Promise<void>((resolve) => (closed = resolve))
  const origin = await listen(t, (_request, response) => {
    response.on('close', () => closed?.())
    response.writeHead(200, JSON_TYPE).write(' '.repeat(5000))
  })
  t.strictSame(await ask(origin), failure(200, 'the response is longer than 1000 bytes'))
  await gone
})
