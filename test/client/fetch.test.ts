import type { IncomingMessage, RequestListener } from 'node:http'
import { text } from 'node:stream/consumers'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { createTokenClient, type TokenClientOptions } from '../../src/client/index.ts'
import { listen } from '../listen.ts'
import { type Answer, plantIssuer } from './planted.ts'

const REFUSED = { 'www-authenticate': 'Bearer realm="orders", error="invalid_token"' }

/** A client, and a service that takes all tokens but those named; what the service saw of each call. */
async function open(
  t: Test,
  {
    refuses = [],
    challenge = REFUSED,
    answer,
    ...options
  }: {
    refuses?: string[]
    challenge?: Record<string, string>
    answer?: (n: number) => Answer
  } & Partial<TokenClientOptions> = {}
) {
  const planted = await plantIssuer(t, answer)
  const calls: { method: string | undefined; token: string; body: string }[] = []
  const bearer = ({ headers }: IncomingMessage) => headers.authorization?.replace('Bearer ', '') ?? 'none'
  const service = await listen(t, async (request, response) => {
    const token = bearer(request)
    calls.push({ method: request.method, token, body: await text(request) })
    const bad = refuses.includes(token) || refuses.includes('all')
    response.writeHead(bad ? 401 : 200, bad ? challenge : {}).end(bad ? 'refused' : 'done')
  })
  const client = createTokenClient({ ...planted.options, ...options } as TokenClientOptions)
  t.teardown(() => client.close())
  return { ...planted, client, service, calls, bearer }
}

const tokensOf = (calls: { token: string }[]) => calls.map(({ token }) => token)

t.test('it sends the token with what the caller sends, in place of credentials of the caller’s', async (t) => {
  const seen: Record<string, unknown>[] = []
  const service = await listen(t, async (request, response) => {
    const { authorization, 'x-a': a } = request.headers
    seen.push({ method: request.method, url: request.url, authorization, a, body: await text(request) })
    response.end('done')
  })
  const { client } = await open(t)
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
  const call = { method: 'PUT', url: '/x?y', authorization: 'Bearer token-1', a: '1', body: 'hello' }
  t.strictSame(seen, [call, call, call, call])
})

t.test('after a 401 it tries once more with a new token', async (t) => {
  for (const challenge of [REFUSED, { 'www-authenticate': 'Basic realm="x", Bearer' }]) {
    const { client, service, calls } = await open(t, { refuses: ['token-1'], challenge })
    const response = await client.fetch(service, { method: 'POST', body: 'hello' })
    t.strictSame([response.status, await response.text()], [200, 'done'])
    const call = { method: 'POST', body: 'hello' }
    t.strictSame(calls, [
      { ...call, token: 'token-1' },
      { ...call, token: 'token-2' }
    ])
    t.equal(await client.token(), 'token-2')
  }
})

t.test('once more and no more; then the 401 is the answer', async (t) => {
  const { client, service, calls } = await open(t, { refuses: ['all'] })
  const response = await client.fetch(service)
  t.strictSame([response.status, await response.text()], [401, 'refused'])
  t.strictSame(tokensOf(calls), ['token-1', 'token-2'])
})

t.test('a 401 that says nothing of the token, and any other refusal, is the answer', async (t) => {
  for (const challenge of [
    {},
    { 'www-authenticate': 'Basic realm="x"' },
    { 'www-authenticate': 'Bearer error="invalid_request"' }
  ]) {
    const { client, service, calls } = await open(t, { refuses: ['all'], challenge })
    t.equal((await client.fetch(service)).status, 401)
    t.equal(calls.length, 1)
    t.equal(await client.token(), 'token-1')
  }
  const { client } = await open(t)
  const forbids = await listen(t, (_request, response) => response.writeHead(403, REFUSED).end())
  t.equal((await client.fetch(forbids)).status, 403)
  t.equal(await client.token(), 'token-1')
})

t.test('100 calls that are refused at the same time make one new request', async (t) => {
  const { client, service, requests } = await open(t, { refuses: ['token-1'] })
  const responses = await Promise.all(Array.from({ length: 100 }, () => client.fetch(service)))
  t.strictSame(new Set(responses.map(({ status }) => status)), new Set([200]))
  t.equal(requests.length, 2)
})

t.test('a service that refuses all tokens makes one request in a second', async (t) => {
  const { client, service, requests } = await open(t, { refuses: ['all'] })
  const started = performance.now()
  for (let i = 0; i < 3; i++) t.equal((await client.fetch(service)).status, 401)
  const seconds = (performance.now() - started) / 1000
  t.ok(seconds > 1 && requests.length <= 2 + seconds, `${requests.length} in ${seconds} s`)
})

t.test('every body that can be sent again is, and no other', async (t) => {
  const form = new FormData()
  form.set('a', new Blob(['hello']))
  const stream = () => new Blob(['hello']).stream()
  const duplex = { duplex: 'half' as const }
  const url = (service: string) => service
  for (const [what, input, init, again] of [
    ['none', url, {}, true],
    ['a text', url, { body: 'hello' }, true],
    ['an empty text', url, { body: '' }, true],
    ['a form', url, { body: new URLSearchParams({ a: 'hello' }) }, true],
    ['form data', url, { body: form }, true],
    ['a blob', url, { body: new Blob(['hello']) }, true],
    ['bytes', url, { body: new TextEncoder().encode('hello') }, true],
    ['a buffer', url, { body: new TextEncoder().encode('hello').buffer }, true],
    ['a stream', url, { body: stream(), ...duplex }, false],
    [
      'a generator',
      url,
      {
        body: (async function* () {
          yield Buffer.from('hello')
        })(),
        ...duplex
      },
      false
    ],
    ['a request without', (service: string) => new Request(service, { method: 'POST' }), undefined, true],
    [
      'a request with one',
      (service: string) => new Request(service, { method: 'POST', body: 'hello' }),
      undefined,
      false
    ],
    [
      'a request and a text',
      (service: string) => new Request(service, { method: 'POST', body: 'x' }),
      { body: 'hello' },
      true
    ]
  ] as [string, (service: string) => string | Request, RequestInit | undefined, boolean][]) {
    const { client, service, calls } = await open(t, { refuses: ['token-1'] })
    const response = await client.fetch(input(service), init && { method: 'POST', ...init })
    const bodies = calls.map(({ body }) => body.replace(/-{4,}[^\r\n]*/g, ''))
    t.strictSame(tokensOf(calls), again ? ['token-1', 'token-2'] : ['token-1'], what)
    t.equal(new Set(bodies).size, 1, what)
    t.strictSame([response.status, await response.text()], again ? [200, 'done'] : [401, 'refused'], what)
    t.equal(await client.token(), 'token-2', what)
  }
})

t.test('a redirect to another origin does not take the token along, one within does', async (t) => {
  const { client, bearer } = await open(t)
  const seen: string[] = []
  const elsewhere = await listen(t, (request, response) => {
    seen.push(`elsewhere ${bearer(request)}`)
    response.writeHead(request.url === '/401' ? 401 : 200, REFUSED).end()
  })
  const service = await listen(t, (request, response) => {
    seen.push(`${request.url} ${bearer(request)}`)
    const location = { '/out': elsewhere, '/refused': `${elsewhere}/401`, '/in': '/end' }[request.url as string]
    response.writeHead(location === undefined ? 200 : 307, location === undefined ? {} : { location }).end()
  })
  t.equal((await client.fetch(`${service}/out`)).status, 200)
  t.equal((await client.fetch(`${service}/in`)).status, 200)
  t.equal((await client.fetch(`${service}/refused`)).status, 401)
  t.strictSame(seen, [
    '/out token-1',
    'elsewhere none',
    '/in token-1',
    '/end token-1',
    '/refused token-1',
    'elsewhere none'
  ])
  t.equal(await client.token(), 'token-1')
})

t.test('the token goes to the origin of its resource, or to those that are named, and nowhere else', async (t) => {
  const asked: string[] = []
  const options = {
    issuer: 'https://id.example.com',
    clientId: 'worker',
    clientSecret: 'secret',
    fetch: async (input: string | URL | Request) => {
      const url = String(input)
      asked.push(url)
      if (url.includes('.well-known'))
        return Response.json({
          issuer: options.issuer,
          token_endpoint: 'https://id.example.com/token',
          jwks_uri: 'https://id.example.com/jwks'
        })
      return Response.json({ access_token: 'x', token_type: 'Bearer' })
    }
  }
  const at = async (more: Partial<TokenClientOptions>, url: string | URL | Request) => {
    try {
      await createTokenClient({ ...options, ...more } as TokenClientOptions).fetch(url)
      return 'sent'
    } catch (error) {
      return `${error}`
    }
  }
  const no = (origin: string) => `TypeError: the token must not be sent to ${origin}; add it to origins to allow this`
  const resource = 'https://orders.example.com/api'
  t.equal(await at({ resource }, 'https://orders.example.com/x'), 'sent')
  t.equal(await at({ resource }, 'HTTPS://Orders.Example.com:443'), 'sent')
  asked.length = 0
  for (const [url, origin] of [
    ['http://orders.example.com/', 'http://orders.example.com'],
    ['https://orders.example.com:8443/', 'https://orders.example.com:8443'],
    ['https://evil.example.com/', 'https://evil.example.com'],
    ['https://orders.example.com@evil.example.com/', 'https://evil.example.com'],
    ['https://orders.example.com.evil.example.com/', 'https://orders.example.com.evil.example.com']
  ] as const)
    for (const input of [url, new URL(url), ...(url.includes('@') ? [] : [new Request(url)])])
      t.equal(await at({ resource }, input), no(origin))
  t.strictSame(asked, [])

  const origins = ['http://orders:3000']
  t.equal(await at({ resource, origins }, 'http://orders:3000/x'), 'sent')
  t.equal(await at({ resource, origins }, 'https://orders.example.com/x'), no('https://orders.example.com'))
  t.equal(await at({ resource, origins: [] }, 'https://orders.example.com/x'), no('https://orders.example.com'))
  t.equal(await at({ resource: 'urn:example:orders' }, 'https://anywhere.example.com'), 'sent')
  t.equal(await at({}, 'https://anywhere.example.com'), 'sent')
})

t.test('the caller’s signal ends the call, also while it waits for a token, and nobody else’s', async (t) => {
  let answer = () => {}
  const after = new Promise<void>((resolve) => (answer = resolve))
  const body = { access_token: 'late', token_type: 'Bearer' }
  const { client, service, calls } = await open(t, { answer: () => ({ body, after }) })
  const other = client.fetch(service)
  const reason = new Error('enough')
  const controller = new AbortController()
  const waiting = [
    client.fetch(service, { signal: controller.signal }),
    client.fetch(new Request(service, { signal: controller.signal }))
  ]
  setTimeout(() => controller.abort(reason), 100)
  t.strictSame(
    (await Promise.allSettled(waiting)).map((each) => each.status === 'rejected' && each.reason === reason),
    [true, true]
  )
  await t.rejects(client.fetch(service, { signal: controller.signal }), reason)
  answer()
  t.equal((await other).status, 200)
  t.strictSame(tokensOf(calls), ['late'])

  const silent: RequestListener = () => {}
  const mute = await listen(t, silent)
  await t.rejects(client.fetch(mute, { signal: AbortSignal.timeout(100) }), { name: 'TimeoutError' })
})

t.test('without a token nothing is sent, and no error holds a secret or a token', async (t) => {
  const { client, service, calls, options } = await open(t, {
    answer: () => ({ status: 401, body: { error: 'invalid_client' } })
  })
  const error = await client.fetch(service, { headers: { 'x-a': 'b' } }).catch((error: unknown) => error)
  t.match(error, { name: 'TokenError', error: 'invalid_client', status: 401 })
  t.notOk(inspect(error, { depth: 9, showHidden: true }).includes(options.clientSecret))
  t.equal(calls.length, 0)

  const good = await open(t)
  const broken = await good.client.fetch('http://127.0.0.1:1').catch((error: unknown) => error)
  t.notOk(inspect(broken, { depth: 9, showHidden: true }).includes('token-1'))
})

t.test('what fails beside the token is the caller’s: it is not tried again', async (t) => {
  let calls = 0
  const { client } = await open(t)
  const service = await listen(t, ({ socket }) => {
    calls++
    socket.destroy()
  })
  await t.rejects(client.fetch(service, { method: 'POST' }), { message: 'fetch failed' })
  t.equal(calls, 1)
  await t.rejects(client.fetch('/x'), { name: 'TypeError' })
})
