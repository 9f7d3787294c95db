import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { neverRespond } from '../fake-issuer.ts'
import { settle } from '../fake-timer.ts'
import { listen } from '../listen.ts'
import { granted, refused, setUp as setUpClient } from './setup.ts'

const INVALID_TOKEN = { 'www-authenticate': 'Bearer realm="orders", error="invalid_token"' }

/** A token client, and a real service that refuses the tokens in `refuses`. `calls` receives its requests. */
async function setUp(
  t: Test,
  {
    refuses = [],
    challenge = INVALID_TOKEN,
    respond
  }: {
    refuses?: string[]
    challenge?: Record<string, string>
    respond?: Parameters<typeof setUpClient>[1]
  } = {}
) {
  const calls: { method: string | undefined; token: string; body: string }[] = []
  const service = await listen(t, async (request, response) => {
    const token = request.headers.authorization?.replace('Bearer ', '') ?? 'none'
    calls.push({ method: request.method, token, body: await text(request) })
    const isRefused = refuses.includes(token)
    response.writeHead(isRefused ? 401 : 200, isRefused ? challenge : {}).end(isRefused ? 'refused' : 'done')
  })
  return { ...setUpClient(t, respond), service, calls, tokens: () => calls.map(({ token }) => token) }
}

t.test('a request is sent as it is, with the token in place of its Authorization header', async (t) => {
  const requests: Record<string, unknown>[] = []
  const service = await listen(t, async (request, response) => {
    const { authorization, 'x-a': a } = request.headers
    requests.push({ method: request.method, url: request.url, authorization, a, body: await text(request) })
    response.end('done')
  })
  const { client } = setUpClient(t)
  const init = { method: 'PUT', headers: { 'x-a': '1', Authorization: 'Basic x' }, body: 'hello' }
  for (const [input, more] of [
    [`${service}/x?y`, init],
    [new URL(`${service}/x?y`), { ...init, headers: new Headers(init.headers) }],
    [new Request(`${service}/x?y`, init), undefined],
    [new Request(`${service}/x?y`, { method: 'POST', headers: { 'x-a': '2' }, body: 'other' }), init]
  ] as const) {
    const response = await client.fetch(input, more)
    t.equal(await response.text(), 'done')
  }
  const expected = { method: 'PUT', url: '/x?y', authorization: 'Bearer token-1', a: '1', body: 'hello' }
  t.strictSame(requests, Array(4).fill(expected))
})

t.test('after a 401 that refuses the token, the request is sent once more with a new token', async (t) => {
  for (const challenge of [INVALID_TOKEN, { 'www-authenticate': 'Basic realm="x", Bearer' }]) {
    const { client, service, calls } = await setUp(t, { refuses: ['token-1'], challenge })
    const response = await client.fetch(service, { method: 'POST', body: 'hello' })
    t.strictSame([response.status, await response.text()], [200, 'done'])
    t.strictSame(calls, [
      { method: 'POST', body: 'hello', token: 'token-1' },
      { method: 'POST', body: 'hello', token: 'token-2' }
    ])
    t.equal(await client.token(), 'token-2')
  }
})

t.test('a second 401 is returned', async (t) => {
  const { client, service, tokens } = await setUp(t, { refuses: ['token-1', 'token-2'] })
  const response = await client.fetch(service)
  t.strictSame([response.status, await response.text()], [401, 'refused'])
  t.strictSame(tokens(), ['token-1', 'token-2'])
})

const OTHER_REFUSALS: [name: string, status: number, headers: Record<string, string>][] = [
  ['401 without a challenge', 401, {}],
  ['401 with a challenge for Basic', 401, { 'www-authenticate': 'Basic realm="x"' }],
  ['401 with another error', 401, { 'www-authenticate': 'Bearer error="invalid_request"' }],
  ['403', 403, INVALID_TOKEN]
]
for (const [name, status, headers] of OTHER_REFUSALS)
  t.test(`another refusal is returned, and the token is kept: ${name}`, async (t) => {
    let calls = 0
    const service = await listen(t, (_request, response) => {
      calls++
      response.writeHead(status, headers).end()
    })
    const { client } = setUpClient(t)
    t.equal((await client.fetch(service)).status, status)
    t.equal(calls, 1)
    t.equal(await client.token(), 'token-1')
  })

t.test('100 concurrent calls with a refused token cause one request for a new token', async (t) => {
  const { client, service, requests } = await setUp(t, { refuses: ['token-1'] })
  const responses = await Promise.all(Array.from({ length: 100 }, () => client.fetch(service)))
  t.strictSame(new Set(responses.map(({ status }) => status)), new Set([200]))
  t.equal(requests().length, 2)
})

t.test('a service that refuses every token causes one request for a token per second', async (t) => {
  const fetch = async () => new Response('refused', { status: 401, headers: INVALID_TOKEN })
  const { client, requests, timer } = setUpClient(t, undefined, { fetch })
  const responses = Promise.all(
    Array.from({ length: 3 }, async () => {
      for (let times = 0; times < 3; times++) t.equal((await client.fetch('https://orders.example.com')).status, 401)
    })
  )
  await timer.advance(10_000)
  await responses
  t.strictSame(
    requests().map(({ at }) => at),
    [0, 0, 1000, 2000, 3000, 4000],
    'the first refused token is renewed at once'
  )
})

const stream = () => new Blob(['hello']).stream()
async function* generate() {
  yield Buffer.from('hello')
}
function formData(): FormData {
  const form = new FormData()
  form.set('a', new Blob(['hello']))
  return form
}
const duplex = { duplex: 'half' as const }
const requestTo = (service: string, body?: string) =>
  new Request(service, { method: 'POST', ...(body === undefined ? {} : { body }) })
const BODIES: [name: string, isRepeatable: boolean, call: (url: string) => [string | Request, RequestInit?]][] = [
  ['none', true, (url) => [url, {}]],
  ['a string', true, (url) => [url, { body: 'hello' }]],
  ['an empty string', true, (url) => [url, { body: '' }]],
  ['URLSearchParams', true, (url) => [url, { body: new URLSearchParams({ a: 'hello' }) }]],
  ['FormData', true, (url) => [url, { body: formData() }]],
  ['a Blob', true, (url) => [url, { body: new Blob(['hello']) }]],
  ['bytes', true, (url) => [url, { body: new TextEncoder().encode('hello') }]],
  ['an ArrayBuffer', true, (url) => [url, { body: new TextEncoder().encode('hello').buffer }]],
  ['a stream', false, (url) => [url, { body: stream(), ...duplex } as RequestInit]],
  ['a generator', false, (url) => [url, { body: generate(), ...duplex } as unknown as RequestInit]],
  ['a Request without a body', true, (url) => [requestTo(url)]],
  ['a Request with a body', false, (url) => [requestTo(url, 'hello')]],
  ['a Request with a body, and a string', true, (url) => [requestTo(url, 'x'), { body: 'hello' }]]
]
for (const [name, isRepeatable, call] of BODIES)
  t.test(`a request is ${isRepeatable ? '' : 'not '}sent once more with the body: ${name}`, async (t) => {
    const { client, service, calls, tokens } = await setUp(t, { refuses: ['token-1'] })
    const [input, init] = call(service)
    const response = await client.fetch(input, init && { method: 'POST', ...init })
    t.strictSame(
      [response.status, await response.text(), tokens()],
      isRepeatable ? [200, 'done', ['token-1', 'token-2']] : [401, 'refused', ['token-1']]
    )
    const bodies = calls.map(({ body }) => body.replace(/-{4,}[^\r\n]*/g, ''))
    t.equal(new Set(bodies).size, 1, 'both bodies are the same')
    t.equal(await client.token(), 'token-2')
  })

t.test('a redirect to another origin does not carry the token, and its 401 does not refuse the token', async (t) => {
  const { client } = setUpClient(t)
  const seen: string[] = []
  const other = await listen(t, ({ url, headers }, response) => {
    seen.push(`other ${headers.authorization}`)
    response.writeHead(url === '/401' ? 401 : 200, INVALID_TOKEN).end()
  })
  const service = await listen(t, ({ url, headers }, response) => {
    seen.push(`${url} ${headers.authorization}`)
    const location = { '/out': other, '/refused': `${other}/401`, '/in': '/end' }[url as string]
    response.writeHead(location === undefined ? 200 : 307, location === undefined ? {} : { location }).end()
  })
  for (const [path, status] of [
    ['/out', 200],
    ['/in', 200],
    ['/refused', 401]
  ] as const)
    t.equal((await client.fetch(service + path)).status, status, path)
  t.strictSame(seen, [
    '/out Bearer token-1',
    'other undefined',
    '/in Bearer token-1',
    '/end Bearer token-1',
    '/refused Bearer token-1',
    'other undefined'
  ])
  t.equal(await client.token(), 'token-1')
})

t.test('the signal of the caller aborts its call, also while it waits for a token, and no other call', async (t) => {
  const response = Promise.withResolvers<Response>()
  const { client, service, tokens } = await setUp(t, { respond: () => response.promise })
  const other = client.fetch(service)
  const reason = new Error('enough')
  const caller = new AbortController()
  const calls = Promise.allSettled([
    client.fetch(service, { signal: caller.signal }),
    client.fetch(new Request(service, { signal: caller.signal }))
  ])
  await settle()
  caller.abort(reason)
  t.strictSame(
    (await calls).map((call) => call.status === 'rejected' && call.reason === reason),
    [true, true]
  )
  await t.rejects(client.fetch(service, { signal: caller.signal }), reason)
  response.resolve(granted('late'))
  t.equal((await other).status, 200)
  t.strictSame(tokens(), ['late'])
})

t.test('the signal of the caller aborts its call while it waits for a second token', async (t) => {
  const fetch = async () => new Response('refused', { status: 401, headers: INVALID_TOKEN })
  const respond = (n: number) => (n === 1 ? granted('token-1') : neverRespond())
  const { client, requests } = setUpClient(t, respond, { fetch })
  const reason = new Error('enough')
  const caller = new AbortController()
  const rejected = t.rejects(client.fetch('https://orders.example.com', { signal: caller.signal }), reason)
  await settle()
  t.equal(requests().length, 2)
  caller.abort(reason)
  await rejected
})

t.test('the signal of the caller aborts the request to the service', async (t) => {
  const received = Promise.withResolvers<void>()
  const service = await listen(t, () => received.resolve())
  const caller = new AbortController()
  const rejected = t.rejects(setUpClient(t).client.fetch(service, { signal: caller.signal }), { name: 'AbortError' })
  await received.promise
  caller.abort()
  await rejected
})

t.test('without a token nothing is sent to the service', async (t) => {
  const { client, service, calls } = await setUp(t, { respond: refused })
  const error = await client.fetch(service).catch((error: unknown) => error)
  t.match(error, { name: 'TokenError', error: 'invalid_client', status: 401 })
  t.strictSame(calls, [])
})

t.test('a connection error is thrown without the token, and the request is not repeated', async (t) => {
  let calls = 0
  const { client } = setUpClient(t)
  const service = await listen(t, ({ socket }) => {
    calls++
    socket.destroy()
  })
  const error = await client.fetch(service, { method: 'POST' }).catch((error: unknown) => error)
  t.match(error, { message: 'fetch failed' })
  t.notOk(inspect(error, { depth: 9, showHidden: true }).includes('token-1'))
  t.equal(calls, 1)
})

t.test('a URL without an origin throws', async (t) => {
  await t.rejects(setUpClient(t).client.fetch('/x'), { name: 'TypeError' })
})
