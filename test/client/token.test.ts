import { generateKeyPairSync } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { createTokenClient, type TokenClientOptions, type TokenError } from '../../src/client/index.ts'
import { basic } from '../basic.ts'
import { freePort } from '../cli/process.ts'
import { jsonText, metadataOf, SECRET } from '../fake-issuer.ts'
import { failure, granted, setUp } from './setup.ts'

const VALID = { issuer: 'https://id.example.com', clientId: 'worker', clientSecret: SECRET }
const { clientSecret: _secret, ...WITHOUT_SECRET } = VALID

const ROUNDS = 40 * Number(process.env.LATCHKEY_ROUNDS ?? 3)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed}`)

t.test('1,000 concurrent calls and all later calls share one request', async (t) => {
  const { client, requests } = setUp(t)
  const tokens = await Promise.all(Array.from({ length: 1000 }, () => client.token()))
  t.strictSame(new Set([...tokens, await client.token()]), new Set(['token-1']))
  t.equal(requests().length, 1)
})

t.test('the client requests its scope and resource with its own credentials', async (t) => {
  const options = { scope: 'orders:read orders:write', resource: 'https://orders.example.com' }
  for (const given of [options, {}]) {
    const { client, requests } = setUp(t, undefined, given)
    await client.token()
    const [request] = requests()
    t.strictSame(Object.fromEntries(new URLSearchParams(request?.body)), {
      grant_type: 'client_credentials',
      ...given
    })
    t.equal(request?.headers.get('authorization'), basic('worker', SECRET))
  }
})

t.test(
  'a token client for a plain-http issuer on another host than loopback needs insecureHttp and warns',
  async (t) => {
    const warnings: string[] = []
    const original = process.emitWarning
    process.emitWarning = ((text: string) => void warnings.push(text)) as typeof process.emitWarning
    t.teardown(() => void (process.emitWarning = original))
    const create = (options: object) =>
      createTokenClient({ clientId: 'worker', clientSecret: SECRET, ...options } as TokenClientOptions).close()
    const issuer = 'http://id.example.com'
    t.throws(() => create({ issuer }), {
      message: /or with insecureHttp: true\); it is http on a host that is not loopback$/
    })
    create({ issuer: 'http://localhost:3000', insecureHttp: true })
    t.strictSame(warnings, [])
    create({ issuer, insecureHttp: true })
    t.strictSame(warnings, [
      `${issuer} is plain http on a host that is not loopback: everyone on the network can read tokens and passwords. Use https`
    ])
  }
)

t.test('id and secret are form-encoded (RFC 6749 §2.3.1)', async (t) => {
  const { client, requests } = setUp(t, undefined, { clientId: 'a:b%+~ é', clientSecret: 'p: /?' })
  await client.token()
  const [, encoded = ''] = requests()[0]?.headers.get('authorization')?.split(' ') ?? []
  t.equal(Buffer.from(encoded, 'base64').toString(), 'a%3Ab%25%2B%7E+%C3%A9:p%3A+%2F%3F')
})

t.test('every id and every secret can be decoded by the issuer', async (t) => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 })
  await fc.assert(
    fc.asyncProperty(text, text, async (clientId, clientSecret) => {
      const { client, requests } = setUp(t, undefined, { clientId, clientSecret })
      await client.token()
      const [, encoded = ''] = requests()[0]?.headers.get('authorization')?.split(' ') ?? []
      const [, ...parts] = /^([^:]*):([^:]*)$/.exec(Buffer.from(encoded, 'base64').toString()) ?? []
      const decoded = parts.map((part) => decodeURIComponent(part.replaceAll('+', ' ')))
      t.strictSame(decoded, [clientId, clientSecret])
    }),
    { numRuns: ROUNDS, seed }
  )
})

const STATUS_400 = failure(400, 'POST https://id.example.com/token: the status is 400')
const NO_TOKEN = failure(200, 'the response has no valid access_token')
const NO_TYPE = failure(200, 'the response has a token_type other than Bearer')
const REFUSALS: [name: string, respond: () => Response, expected: unknown][] = [
  [
    '400 with an error code',
    () => Response.json({ error: 'invalid_scope' }, { status: 400 }),
    failure(400, 'invalid_scope', 'invalid_scope')
  ],
  ['400 without an error code', () => Response.json({}, { status: 400 }), STATUS_400],
  ['400 with null', () => Response.json(null, { status: 400 }), STATUS_400],
  ['400 with the secret as its error code', () => Response.json({ error: SECRET }, { status: 400 }), STATUS_400],
  [
    'HTML',
    () => new Response('{}', { headers: { 'content-type': 'text/html' } }),
    failure(200, 'POST https://id.example.com/token: the response is not application/json')
  ],
  [
    'text that is not JSON',
    () => jsonText(SECRET),
    failure(200, 'POST https://id.example.com/token: the response is not JSON')
  ],
  [
    'more than 64 KB',
    () => granted('x'.repeat(65_536)),
    failure(200, 'POST https://id.example.com/token: the response is longer than 65536 bytes')
  ],
  ['null', () => Response.json(null), NO_TOKEN],
  ['no token', () => granted('x', { access_token: undefined }), NO_TOKEN],
  ['a token with a line break', () => granted('x\r\nx: y'), NO_TOKEN],
  ['a token with a space', () => granted('x y'), NO_TOKEN],
  ['an empty token', () => granted(''), NO_TOKEN],
  ['another token type', () => granted('x', { token_type: 'DPoP' }), NO_TYPE],
  ['no token type', () => granted('x', { token_type: undefined }), NO_TYPE],
  ...['300', null, 0, -1, 0.5, {}].map((lifetime): [string, () => Response, unknown] => [
    `a lifetime of ${JSON.stringify(lifetime)}`,
    () => granted('x', { expires_in: lifetime }),
    failure(200, 'the response has an expires_in that is not a number of at least 1')
  ])
]
for (const [name, respond, expected] of REFUSALS)
  t.test(`a response without a usable token throws at once: ${name}`, async (t) => {
    const { token, requests } = setUp(t, respond)
    t.strictSame(await token(), expected)
    t.equal(requests().length, 1)
  })

const DESCRIPTIONS: [name: string, value: unknown, expected: string | null][] = [
  ['a sentence', 'The scope orders:write is not allowed', 'The scope orders:write is not allowed'],
  ['no text', 7, null],
  ['an empty text', '', ''],
  ['the secret', `not ${SECRET}!`, null],
  ['credentials as a word', `not Basic ${'x'.repeat(64)}`, null],
  ['a long text', 'a word '.repeat(100), 'a word '.repeat(100).slice(0, 300)]
]
for (const [name, value, expected] of DESCRIPTIONS)
  t.test(`the error has the description of the issuer, unless it may hold credentials: ${name}`, async (t) => {
    const { client } = setUp(t, () =>
      Response.json({ error: 'invalid_scope', error_description: value }, { status: 400 })
    )
    const thrown = (await client.token().catch((error: unknown) => error)) as TokenError
    t.equal(thrown.description, expected)
    const end = expected === null ? '' : `: ${expected}`
    t.equal(thrown.message, `no token for worker from https://id.example.com: invalid_scope${end}`)
  })

t.test('a description with control characters stays one line of the message', async (t) => {
  const answer = { error: 'invalid_scope', error_description: 'a\n\u001b[2J\u202eb' }
  const { client } = setUp(t, () => Response.json(answer, { status: 400 }))
  const { message } = (await client.token().catch((error: unknown) => error)) as TokenError
  t.equal(message, 'no token for worker from https://id.example.com: invalid_scope: a\\n\\u001b[2J\\u202eb')
})

t.test('with internalUrl the client requests its token there, for the issuer', async (t) => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const urls: string[] = []
  const forms: string[] = []
  const fetch = async (url: string | URL | Request, init?: RequestInit) => {
    urls.push(String(url))
    if (init?.body) forms.push(String(init.body))
    return String(url).includes('.well-known') ? Response.json(metadataOf(VALID.issuer)) : granted('token')
  }
  const client = createTokenClient({ ...WITHOUT_SECRET, privateKey, internalUrl: 'http://latchkey:3000', fetch })
  t.equal(await client.token(), 'token')
  t.strictSame(urls, ['http://latchkey:3000/.well-known/oauth-authorization-server', 'http://latchkey:3000/token'])
  const [, claims = ''] = new URLSearchParams(forms[0]).get('client_assertion')?.split('.') ?? []
  t.equal(JSON.parse(Buffer.from(claims, 'base64url').toString()).aud, VALID.issuer)
})

t.test('the token type may have any case', async (t) => {
  const { token } = setUp(t, () => granted('x', { token_type: 'bEARER' }))
  t.equal(await token(), 'x')
})

t.test('an issuer with invalid metadata gets no secret', async (t) => {
  const { client, responders, requests, issuer } = setUp(t)
  responders['oauth-authorization-server'] = () => Response.json(metadataOf('https://evil.example.com'))
  await t.rejects(client.token(), {
    name: 'TokenError',
    message: `no token for worker from ${issuer}: the metadata of ${issuer} names another issuer: "https://evil.example.com"`
  })
  t.strictSame(requests(), [])
})

t.test('a client with the system timer fails when the issuer refuses connections', async (t) => {
  const issuer = `http://127.0.0.1:${await freePort()}`
  const client = createTokenClient({ issuer, clientId: 'worker', clientSecret: SECRET, timeout: 200 })
  const message = `no token for worker from ${issuer}: GET ${issuer}/.well-known/oauth-authorization-server: no response (ECONNREFUSED)`
  await t.rejects(client.token(), { name: 'TokenError', status: null, error: null, message })
})

const INVALID_OPTIONS: [name: string, options: object, message: RegExp][] = [
  ['an issuer with a trailing slash', { ...VALID, issuer: 'https://id.example.com/' }, /^issuer must be/],
  ['an internalUrl that is no URL', { ...VALID, internalUrl: 'latchkey:3000' }, /^internalUrl must be/],
  ['an empty clientId', { ...VALID, clientId: '' }, /^clientId must be/],
  ['an empty secret', { ...VALID, clientSecret: '' }, /^clientSecret must be/],
  ['no credentials', WITHOUT_SECRET, /^either clientSecret or privateKey/],
  ['a secret and a key', { ...VALID, privateKey: SECRET }, /^either clientSecret or privateKey/],
  ['a secret as the key', { ...WITHOUT_SECRET, privateKey: SECRET }, /^privateKey must be a private key/],
  [
    'an invalid PEM',
    { ...WITHOUT_SECRET, privateKey: `-----BEGIN PRIVATE KEY-----\n${SECRET}` },
    /^privateKey must be a private key/
  ],
  ['a resource without a scheme', { ...VALID, resource: 'localhost:4000' }, /^resource must be an absolute URI/],
  ['a timeout of 0', { ...VALID, timeout: 0 }, /^timeout must be/],
  ['a timeout that is not a number', { ...VALID, timeout: Number.NaN }, /^timeout must be/],
  ['an origin with a path', { ...VALID, origins: ['https://x.example.com/'] }, /^origins must be/],
  ['an origin that is not a URL', { ...VALID, origins: ['x'] }, /^origins must be/]
]
for (const [name, options, message] of INVALID_OPTIONS)
  t.test(`invalid options throw at once, without the secret in the error: ${name}`, async (t) => {
    try {
      createTokenClient(options as TokenClientOptions)
      t.fail('the options are accepted')
    } catch (error) {
      t.match(error, { name: 'TypeError', message })
      t.notOk(inspect(error).includes(SECRET))
    }
  })
