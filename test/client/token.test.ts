import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createTokenClient, type TokenClientOptions, TokenError } from '../../src/client/index.ts'
import { freePort } from '../cli/process.ts'
import { TestClock } from '../helper.ts'
import { type Answer, granted, plantIssuer, SECRET } from './planted.ts'

const ROUNDS = 40 * Number(process.env.LATCHKEY_ROUNDS ?? 3)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))

async function open(t: Test, answer?: (n: number) => Answer, more: Partial<TokenClientOptions> = {}) {
  const planted = await plantIssuer(t, answer)
  const clock = new TestClock()
  const client = createTokenClient({ ...planted.options, clock, ...more } as TokenClientOptions)
  t.teardown(() => client.close())
  /** The token, or the error in short. */
  const token = async () => {
    try {
      return await client.token()
    } catch (error) {
      if (!(error instanceof TokenError)) throw error
      if (`${inspect(error, { depth: 9 })}${JSON.stringify(error)}`.includes(SECRET))
        throw new Error('a secret is seen')
      return { error: error.error, status: error.status, message: error.message.replaceAll(planted.issuer, 'ISSUER') }
    }
  }
  return { ...planted, client, clock, token }
}

/** Until the background is done. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await sleep(5)
  await sleep(20)
}

const failed = (status: number | null, message: string, error: string | null = null) => ({
  error,
  status,
  message: `no token for worker from ISSUER: ${message}`
})
const refused = { status: 401, body: { error: 'invalid_client', error_description: `not ${SECRET}` } }
const unavailable = { status: 503, body: { error: 'temporarily_unavailable' } }

t.test('1,000 who ask at the same time make one request, and all later ones none', async (t) => {
  const { client, requests } = await open(t)
  const tokens = await Promise.all(Array.from({ length: 1000 }, () => client.token()))
  t.strictSame(new Set(tokens), new Set(['token-1']))
  t.equal(await client.token(), 'token-1')
  t.equal(requests.length, 1)
})

t.test('it asks in its own name for the scope and the resource that it was made with, and nothing else', async (t) => {
  const options = { scope: 'orders:read orders:write', resource: 'https://orders.example.com' }
  const { client, requests } = await open(t, undefined, options)
  await client.token()
  t.match(requests, [{ form: { grant_type: 'client_credentials', ...options } }])
  const bare = await open(t)
  await bare.client.token()
  t.strictSame(bare.requests[0]?.form, { grant_type: 'client_credentials' })
})

t.test('RFC 6749 §2.3.1 id and secret are form-encoded', async (t) => {
  const { client, requests } = await open(t, undefined, { clientId: 'a:b%+~ é', clientSecret: 'p: /?' })
  await client.token()
  const [, encoded = ''] = requests[0]?.authorization?.split(' ') ?? []
  t.equal(Buffer.from(encoded, 'base64').toString(), 'a%3Ab%25%2B%7E+%C3%A9:p%3A+%2F%3F')
})

t.test('any id and any secret can be read back from what is sent', async (t) => {
  const sent: string[] = []
  const issuer = 'https://id.example.com'
  const fetch = async (url: string | URL | Request, init?: RequestInit) => {
    if (init?.method === 'POST') sent.push(new Headers(init.headers).get('authorization') ?? '')
    return Response.json(
      String(url).endsWith('/token')
        ? granted('x').body
        : { issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` }
    )
  }
  const text = fc.string({ unit: 'grapheme', minLength: 1 })
  await fc.assert(
    fc.asyncProperty(text, text, async (clientId, clientSecret) => {
      await createTokenClient({ issuer, clientId, clientSecret, fetch }).token()
      const [, ...parts] = /^([^:]*):([^:]*)$/.exec(Buffer.from(sent.pop()?.slice(6) ?? '', 'base64').toString()) ?? []
      const read = parts.map((part) => decodeURIComponent(part.replaceAll('+', ' ')))
      t.strictSame(read, [clientId, clientSecret])
    }),
    { numRuns: ROUNDS, seed }
  )
})

t.test(
  'it is renewed beside a call at 75 to 90 % of its life, by chance, and the old one is given out meanwhile',
  async (t) => {
    const ages = new Set<number>()
    for (let round = 0; round < 12; round++) {
      let answer = () => {}
      const after = new Promise<void>((resolve) => (answer = resolve))
      const { client, clock, requests } = await open(t, (n) => ({
        ...granted(`token-${n}`),
        ...(n === 2 ? { after } : {})
      }))
      await client.token()
      clock.advance(224)
      t.equal(await client.token(), 'token-1')
      let age = 224
      while (requests.length === 1 && age < 280) {
        clock.advance(1)
        age++
        t.equal(await client.token(), 'token-1')
        await sleep(5)
      }
      ages.add(age)
      t.ok(age >= 225 && age <= 275, `at ${age} s of 300`)
      t.strictSame(new Set(await Promise.all(Array.from({ length: 50 }, () => client.token()))), new Set(['token-1']))
      answer()
      await sleep(50)
      t.equal(await client.token(), 'token-2')
      t.equal(requests.length, 2)
    }
    t.ok(ages.size > 1)
  }
)

t.test('one that is over is not given out, a little before its end', async (t) => {
  const { client, clock } = await open(t)
  await client.token()
  clock.advance(295)
  t.equal(await client.token(), 'token-2')
})

t.test('it is kept through failures of whatever kind while it is good, and no longer', async (t) => {
  const answers: Answer[] = [unavailable, 'break', refused, { body: 'no JSON' }]
  const { token, clock, requests } = await open(t, (n) => (n === 1 ? granted('token-1') : (answers[n - 2] ?? refused)))
  t.equal(await token(), 'token-1')
  clock.advance(280)
  for (let n = 2; n <= 5; n++) {
    t.equal(await token(), 'token-1')
    await until(() => requests.length === n)
    t.equal(await token(), 'token-1')
    await sleep(1000)
  }
  clock.advance(15)
  t.strictSame(await token(), failed(401, 'invalid_client', 'invalid_client'))
})

t.test('while it can be renewed only later, each call does not ask', async (t) => {
  const { client, clock, requests } = await open(t, (n) => (n === 1 ? granted('token-1') : refused))
  await client.token()
  clock.advance(280)
  for (let i = 0; i < 50; i++) {
    t.equal(await client.token(), 'token-1')
    await sleep(5)
  }
  t.equal(requests.length, 2)
})

t.test('a refusal is thrown at once to all who wait and all who ask within a second, for one request', async (t) => {
  const { token, requests } = await open(t, (n) => (n === 1 ? refused : granted('good')))
  const error = failed(401, 'invalid_client', 'invalid_client')
  t.strictSame(await Promise.all(Array.from({ length: 100 }, token)), Array(100).fill(error))
  t.strictSame(await token(), error)
  t.equal(requests.length, 1)
  await sleep(1000)
  t.equal(await token(), 'good')
})

const REFUSALS: [what: string, answer: Answer, expected: unknown][] = [
  ['400 with a code', { status: 400, body: { error: 'invalid_scope' } }, failed(400, 'invalid_scope', 'invalid_scope')],
  ['400 without', { status: 400, body: {} }, failed(400, 'POST ISSUER/token: the status is 400')],
  ['400 with null', { status: 400, body: null }, failed(400, 'POST ISSUER/token: the status is 400')],
  [
    'the secret for a code',
    { status: 400, body: { error: SECRET } },
    failed(400, 'POST ISSUER/token: the status is 400')
  ],
  [
    'a page',
    { headers: { 'content-type': 'text/html' } },
    failed(200, 'POST ISSUER/token: the response is not application/json')
  ],
  ['no JSON', { body: SECRET }, failed(200, 'POST ISSUER/token: the response is not JSON')],
  [
    'more than 64 KB',
    granted('x'.repeat(65_536)),
    failed(200, 'POST ISSUER/token: the response is longer than 65536 bytes')
  ],
  ['null', { body: null }, failed(200, 'the response has no valid access_token')],
  ['no token', granted('x', { access_token: undefined }), failed(200, 'the response has no valid access_token')],
  ['a header in the token', granted('x\r\nx: y'), failed(200, 'the response has no valid access_token')],
  ['a token with spaces', granted('x y'), failed(200, 'the response has no valid access_token')],
  ['an empty token', granted(''), failed(200, 'the response has no valid access_token')],
  [
    'another type',
    granted('x', { token_type: 'DPoP' }),
    failed(200, 'the response has a token_type other than Bearer')
  ],
  ['no type', granted('x', { token_type: undefined }), failed(200, 'the response has a token_type other than Bearer')],
  ...['300', null, 0, -1, 0.5, {}].map((lifetime): [string, Answer, unknown] => [
    `a life of ${JSON.stringify(lifetime)}`,
    granted('x', { expires_in: lifetime }),
    failed(200, 'the response has an expires_in below one second')
  ])
]

for (const [what, answer, expected] of REFUSALS)
  t.test(`an answer without a token that can be used is refused at once: ${what}`, async (t) => {
    const { token, requests } = await open(t, () => answer)
    t.strictSame(await token(), expected)
    t.equal(requests.length, 1)
  })

t.test('a token without expires_in is good for a minute, none for more than a day', async (t) => {
  for (const [lifetime, good] of [
    [undefined, 60],
    [1e300, 86_400],
    [10.5, 10]
  ] as const) {
    const { client, clock } = await open(t, (n) => granted(`token-${n}`, { expires_in: lifetime }))
    await client.token()
    clock.advance(good * 0.7)
    t.equal(await client.token(), 'token-1')
    clock.advance(good * 0.3)
    t.equal(await client.token(), 'token-2')
  }
})

t.test('the type may be written in any case', async (t) => {
  const { token } = await open(t, () => granted('x', { token_type: 'bEARER' }))
  t.equal(await token(), 'x')
})

t.test('failures that pass lose no call: nobody answers, 429, 500, 502, 503', async (t) => {
  const answers: Answer[] = ['break', { status: 429 }, { status: 500 }, { status: 502, body: '<html>' }, unavailable]
  const { client, requests } = await open(t, (n) => answers[n - 1] ?? granted('good'))
  const tokens = await Promise.all(Array.from({ length: 100 }, () => client.token()))
  t.strictSame(new Set(tokens), new Set(['good']))
  t.equal(requests.length, 6)
  const pauses = requests.slice(1).map(({ at }, index) => at - (requests[index]?.at ?? 0))
  const least = [100, 200, 400, 800, 1000]
  t.ok(
    pauses.every((pause, index) => pause > (least[index] as number) - 5),
    `pauses of ${pauses.map(Math.round)} ms`
  )
})

t.test('Retry-After is waited for, and when that is too long the failure is thrown at once', async (t) => {
  const retry = (seconds: string, headers = {}): Answer => ({
    status: 503,
    headers: { 'retry-after': seconds, ...headers }
  })
  const patient = await open(t, (n) => (n === 1 ? retry('1') : granted('good')))
  t.equal(await patient.token(), 'good')
  const [first, second] = patient.requests
  t.ok((second?.at ?? 0) - (first?.at ?? 0) >= 990)

  const late = await open(t, () => retry('999999999'))
  const started = performance.now()
  t.strictSame(await late.token(), failed(503, 'POST ISSUER/token: the status is 503'))
  t.strictSame(await late.token(), failed(503, 'POST ISSUER/token: the status is 503'))
  t.match(await late.client.token().catch((error: unknown) => error), { retryAfter: 999_999_999 })
  t.ok(performance.now() - started < 500)
  t.equal(late.requests.length, 1)
})

t.test('who has waited for as long as was said gets the last failure', async (t) => {
  const { token } = await open(t, () => unavailable, { timeout: 1000 })
  const started = performance.now()
  t.strictSame(await token(), failed(503, 'temporarily_unavailable', 'temporarily_unavailable'))
  t.ok(performance.now() - started <= 1100)
})

t.test('an issuer that says nothing holds nobody up', async (t) => {
  const { token } = await open(t, () => 'nothing', { timeout: 300 })
  t.strictSame(await token(), { error: null, status: null, message: 'there was no token within 300 ms' })
})

t.test('where nobody listens it is tried for as long as was said', async (t) => {
  const issuer = `http://127.0.0.1:${await freePort()}`
  const client = createTokenClient({ issuer, clientId: 'worker', clientSecret: SECRET, timeout: 300 })
  const message = `no token for worker from ${issuer}: GET ${issuer}/.well-known/oauth-authorization-server: no response`
  await t.rejects(client.token(), { name: 'TokenError', status: null, error: null, message })
})

t.test('each caller waits for as long as was said, whoever else has given up', async (t) => {
  const busy = { ...unavailable, headers: { 'retry-after': '2' } }
  const { token, requests } = await open(t, (n) => (n === 1 ? busy : granted('good')), { timeout: 1500 })
  t.match(await token(), { status: 503 })
  await sleep(1000)
  t.equal(await token(), 'good')
  t.equal(requests.length, 2)
})

t.test('an issuer that lies in its metadata gets no secret', async (t) => {
  const { options, requests } = await plantIssuer(t)
  const issuer = options.issuer.replace('127.0.0.1', 'localhost')
  await t.rejects(createTokenClient({ ...options, issuer }).token(), {
    name: 'TokenError',
    message: `no token for worker from ${issuer}: the metadata of ${issuer} names another issuer`
  })
  t.equal(requests.length, 0)
})

t.test('after close() nobody waits and nobody gets one', async (t) => {
  const closed = { error: null, status: null, message: 'the token client is closed' }
  const waiting = await open(t, () => 'nothing')
  const asked = waiting.token()
  await until(() => waiting.requests.length === 1)
  waiting.client.close()
  t.strictSame(await asked, closed)

  const pausing = await open(t, () => ({ ...unavailable, headers: { 'retry-after': '5' } }))
  const patient = pausing.token()
  await until(() => pausing.requests.length === 1)
  pausing.client.close()
  t.strictSame(await patient, closed)

  const { client, token } = await open(t)
  await token()
  client.close()
  client.close()
  t.strictSame(await token(), closed)
})

t.test('options that cannot be used are refused at once, with no secret in the message', async (t) => {
  const good = { issuer: 'https://id.example.com', clientId: 'worker', clientSecret: SECRET }
  const { clientSecret: _secret, ...bare } = good
  for (const [options, message] of [
    [{ ...good, issuer: 'https://id.example.com/' }, /^issuer must be/],
    [{ ...good, clientId: '' }, /^clientId must be/],
    [{ ...good, clientSecret: '' }, /^clientSecret must be/],
    [bare, /^either clientSecret or privateKey/],
    [{ ...good, privateKey: SECRET }, /^either clientSecret or privateKey/],
    [{ ...bare, privateKey: SECRET }, /^privateKey must be a private key/],
    [{ ...bare, privateKey: `-----BEGIN PRIVATE KEY-----\n${SECRET}` }, /^privateKey must be a private key/],
    [{ ...good, timeout: 0 }, /^timeout must be/],
    [{ ...good, timeout: Number.NaN }, /^timeout must be/],
    [{ ...good, origins: ['https://x.example.com/'] }, /^origins must be/],
    [{ ...good, origins: ['x'] }, /^origins must be/]
  ] as [TokenClientOptions, RegExp][])
    try {
      createTokenClient(options)
      t.fail(`taken: ${message}`)
    } catch (error) {
      t.match(error, { name: 'TypeError', message })
      t.notOk(inspect(error).includes(SECRET))
    }
})
