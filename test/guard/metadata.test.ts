import t from 'tap'
import type { Fetch } from '../../src/guard/http.ts'
import { createMetadata } from '../../src/guard/metadata.ts'
import { jsonText, metadataOf } from '../fake-issuer.ts'
import { createFakeTimer } from '../fake-timer.ts'
import { build, ISSUER as LATCHKEY } from '../helper.ts'

const ISSUER = 'https://id.example.com'
const VALID = metadataOf(ISSUER)
const READ = {
  authorizationEndpoint: `${ISSUER}/authorize`,
  tokenEndpoint: `${ISSUER}/token`,
  jwksUri: `${ISSUER}/jwks`,
  introspectionEndpoint: `${ISSUER}/introspect`,
  revocations: `${ISSUER}/revocations`,
  resourceScopes: null
}

/** The metadata of an issuer that responds like this, and the URLs of its requests. */
function setUp(respond: () => Response | Promise<Response>, issuer = ISSUER, internalUrl?: string) {
  const timer = createFakeTimer()
  const urls: string[] = []
  const fetch: Fetch = async (url) => {
    urls.push(url)
    return respond()
  }
  return { metadata: createMetadata({ issuer, internalUrl, fetch, timer }), timer, urls }
}

const CHANGES: [name: string, change: object, problem: string][] = [
  ['another issuer', { issuer: 'https://evil.example.com' }, 'names another issuer: "https://evil.example.com"'],
  ['the issuer with a slash', { issuer: `${ISSUER}/` }, 'names another issuer: "https://id.example.com/"'],
  [
    'the issuer in another case',
    { issuer: 'https://ID.example.com' },
    'names another issuer: "https://ID.example.com"'
  ],
  ['an issuer with a line feed', { issuer: 'a\n"b' }, 'names another issuer: "a\\n\\"b"'],
  ['no issuer', { issuer: undefined }, 'names no issuer'],
  ['keys on another host', { jwks_uri: 'https://evil.example.com/jwks' }, 'names another origin as jwks_uri'],
  ['keys on another port', { jwks_uri: 'https://id.example.com:1/jwks' }, 'names another origin as jwks_uri'],
  ['keys as a data URL', { jwks_uri: 'data:application/json,{}' }, 'names another origin as jwks_uri'],
  [
    'a token endpoint on another port',
    { token_endpoint: 'https://id.example.com:1/' },
    'names another origin as token_endpoint'
  ],
  [
    'a token endpoint over http',
    { token_endpoint: 'http://id.example.com/token' },
    'names another origin as token_endpoint'
  ],
  [
    'introspection on another host',
    { introspection_endpoint: 'https://evil.example.com' },
    'names another origin as introspection_endpoint'
  ],
  [
    'a revocation log on another host',
    { latchkey_revocations_endpoint: 'http://localhost/revocations' },
    'names another origin as latchkey_revocations_endpoint'
  ],
  ['no token endpoint', { token_endpoint: undefined }, 'has no token_endpoint'],
  ['no keys', { jwks_uri: undefined }, 'has no jwks_uri'],
  ['keys in the metadata', { jwks_uri: undefined, jwks: { keys: [] } }, 'has no jwks_uri'],
  ['null for a URL', { jwks_uri: null }, 'names no URL as jwks_uri'],
  ['a number for a URL', { token_endpoint: 7 }, 'names no URL as token_endpoint'],
  ['an array for a URL', { token_endpoint: ['/token'] }, 'names no URL as token_endpoint'],
  ['a path for a URL', { jwks_uri: '/jwks' }, 'names no URL as jwks_uri'],
  [
    'a URL with credentials',
    { jwks_uri: 'https://a:b@id.example.com/jwks' },
    'has credentials or a fragment in jwks_uri'
  ],
  ['a URL with a fragment', { jwks_uri: `${ISSUER}/jwks#x` }, 'has credentials or a fragment in jwks_uri']
]
for (const [name, change, problem] of CHANGES)
  t.test(`metadata with an invalid member is refused: ${name}`, async (t) => {
    const { metadata } = setUp(() => Response.json({ ...VALID, ...change }))
    await t.rejects(metadata.get(), { name: 'UpstreamError', message: `the metadata of ${ISSUER} ${problem}` })
  })

const NOT_AN_OBJECT = `the metadata of ${ISSUER} is not an object`
const REQUEST = `GET ${ISSUER}/.well-known/oauth-authorization-server`
const RESPONSES: [name: string, respond: () => Response, message: string][] = [
  ['an array', () => Response.json([]), NOT_AN_OBJECT],
  ['null', () => Response.json(null), NOT_AN_OBJECT],
  ['a string', () => Response.json('x'), NOT_AN_OBJECT],
  ['text that is not JSON', () => jsonText('<html>'), `${REQUEST}: the response is not JSON`],
  [
    'more than 64 KB',
    () => Response.json({ ...VALID, more: 'x'.repeat(65_536) }),
    `${REQUEST}: the response is longer than 65536 bytes`
  ],
  ['500 with valid metadata', () => Response.json(VALID, { status: 500 }), `${REQUEST}: the status is 500`]
]
for (const [name, respond, message] of RESPONSES)
  t.test(`a response that is not metadata is refused: ${name}`, async (t) => {
    await t.rejects(setUp(respond).metadata.get(), { name: 'UpstreamError', message })
  })

t.test('metadata that does not arrive within five seconds is refused', async (t) => {
  const { metadata, timer } = setUp(() => new Promise(() => {}))
  const refused = t.rejects(metadata.get(), { message: `${REQUEST}: no response within 5000 ms` })
  await timer.advance(5000)
  await refused
})

t.test('valid metadata is read, with and without the optional members', async (t) => {
  t.strictSame(await setUp(() => Response.json(VALID)).metadata.get(), READ)
  const { issuer, token_endpoint, jwks_uri } = VALID
  t.strictSame(await setUp(() => Response.json({ issuer, token_endpoint, jwks_uri })).metadata.get(), {
    ...READ,
    authorizationEndpoint: null,
    introspectionEndpoint: null,
    revocations: null
  })
})

t.test('the path of an issuer follows the well-known part (RFC 8414 §3.1)', async (t) => {
  for (const [issuer, url] of [
    ['https://id.example.com', 'https://id.example.com/.well-known/oauth-authorization-server'],
    ['https://id.example.com/auth', 'https://id.example.com/.well-known/oauth-authorization-server/auth'],
    ['https://id.example.com/a/b', 'https://id.example.com/.well-known/oauth-authorization-server/a/b']
  ] as const) {
    const { metadata, urls } = setUp(() => Response.json(metadataOf(issuer)), issuer)
    t.match(await metadata.get(), { tokenEndpoint: `${issuer}/token` })
    t.strictSame(urls, [url])
  }
})

t.test('the metadata of Latchkey is valid, with and without a path', async (t) => {
  for (const path of ['', '/auth']) {
    const issuer = LATCHKEY + path
    const { inject } = await build(t, { env: { LATCHKEY_ISSUER: issuer } })
    const fetch: Fetch = async (url) => {
      const { body, headers } = await inject({ url: new URL(url).pathname })
      return new Response(body, { headers: { 'content-type': String(headers['content-type']) } })
    }
    t.strictSame(await createMetadata({ issuer, fetch, timer: createFakeTimer() }).get(), {
      authorizationEndpoint: `${issuer}/authorize`,
      tokenEndpoint: `${issuer}/token`,
      jwksUri: `${issuer}/.well-known/jwks.json`,
      introspectionEndpoint: `${issuer}/introspect`,
      revocations: `${issuer}/revocations`,
      resourceScopes: `${issuer}/resource-scopes`
    })
  }
})

const INVALID_ISSUERS = [
  '',
  'id.example.com',
  'ftp://id.example.com',
  'http://id.example.com',
  'http://localhost.example.com',
  'https://id.example.com/',
  'https://id.example.com/auth/',
  'https://ID.example.com',
  'https://id.example.com?',
  'https://id.example.com?x=1',
  'https://id.example.com#x',
  'https://a:b@id.example.com',
  'https://id.example.com:443'
]
t.test('an invalid issuer throws at once, a valid one does not', async (t) => {
  const create = (issuer: string) => () => createMetadata({ issuer, fetch, timer: createFakeTimer() })
  for (const issuer of INVALID_ISSUERS)
    t.throws(create(issuer), { name: 'TypeError', message: /^issuer must be/ }, issuer)
  for (const issuer of ['https://id.example.com', 'http://localhost:3000', 'http://127.0.0.1:1/a', 'http://[::1]:2'])
    t.doesNotThrow(create(issuer), issuer)
})

t.test('a plain-http issuer on another host than loopback is valid with insecureHttp only', async (t) => {
  const create = (issuer: string, insecureHttp?: boolean) => () =>
    createMetadata({ issuer, insecureHttp, fetch, timer: createFakeTimer() })
  t.throws(create('http://id.example.com', false), {
    message: /or with insecureHttp: true\); it is http on a host that is not loopback$/
  })
  t.doesNotThrow(create('http://id.example.com', true))
  t.doesNotThrow(create('http://id.localhost'))
  t.doesNotThrow(create('http://[::ffff:7f00:1]'))
  for (const issuer of INVALID_ISSUERS.filter((each) => each.startsWith('https:')))
    t.throws(create(issuer, true), { name: 'TypeError' }, issuer)
})

const INTERNAL: [issuer: string, internalUrl: string, metadataUrl: string, token: string][] = [
  [
    ISSUER,
    'http://latchkey:3000',
    'http://latchkey:3000/.well-known/oauth-authorization-server',
    'http://latchkey:3000/token'
  ],
  [
    ISSUER,
    'https://internal.example/id',
    'https://internal.example/.well-known/oauth-authorization-server/id',
    'https://internal.example/id/token'
  ],
  [
    `${ISSUER}/auth`,
    'http://latchkey:3000',
    'http://latchkey:3000/.well-known/oauth-authorization-server',
    'http://latchkey:3000/token'
  ],
  [
    `${ISSUER}/auth`,
    'http://host:8080/auth',
    'http://host:8080/.well-known/oauth-authorization-server/auth',
    'http://host:8080/auth/token'
  ]
]
for (const [issuer, internalUrl, metadataUrl, token] of INTERNAL)
  t.test(`with internalUrl every endpoint is reached through it: ${issuer} at ${internalUrl}`, async (t) => {
    const { metadata, urls } = setUp(() => Response.json(metadataOf(issuer)), issuer, internalUrl)
    t.strictSame(await metadata.get(), {
      authorizationEndpoint: `${internalUrl}/authorize`,
      tokenEndpoint: token,
      jwksUri: `${internalUrl}/jwks`,
      introspectionEndpoint: `${internalUrl}/introspect`,
      revocations: `${internalUrl}/revocations`,
      resourceScopes: null
    })
    t.strictSame(urls, [metadataUrl])
  })

t.test('with internalUrl the metadata must be the metadata of the issuer, with endpoints below it', async (t) => {
  const issuer = `${ISSUER}/auth`
  const valid = metadataOf(issuer)
  for (const [change, problem] of [
    [{ issuer: 'http://latchkey:3000' }, 'names another issuer: "http://latchkey:3000"'],
    [{ token_endpoint: 'http://latchkey:3000/token' }, 'names another origin as token_endpoint'],
    [
      { jwks_uri: `${ISSUER}/jwks` },
      'has a jwks_uri that does not begin with the issuer, so internalUrl does not lead to it'
    ],
    [
      { jwks_uri: `${issuer}/../jwks` },
      'has a jwks_uri that does not begin with the issuer, so internalUrl does not lead to it'
    ]
  ] as const)
    await t.rejects(
      setUp(() => Response.json({ ...valid, ...change }), issuer, 'http://latchkey:3000').metadata.get(),
      {
        message: `the metadata of ${issuer} ${problem}`
      }
    )
})

t.test('an invalid internalUrl throws at once; plain http is valid on any host', async (t) => {
  const create = (internalUrl: string) => () => setUp(() => Response.json(VALID), ISSUER, internalUrl)
  for (const url of [
    '',
    'latchkey:3000',
    'http://latchkey/',
    'http://latchkey?x',
    'http://a:b@latchkey',
    'ftp://latchkey'
  ])
    t.throws(create(url), { name: 'TypeError', message: /^internalUrl must be an http or https URL/ }, url)
  for (const url of ['http://latchkey', 'http://10.0.0.1:3000', 'https://id.internal/auth']) t.doesNotThrow(create(url))
})

t.test('concurrent and later callers share one request', async (t) => {
  const { metadata, urls } = setUp(() => Response.json(VALID))
  await Promise.all(Array.from({ length: 100 }, () => metadata.get()))
  t.strictSame(await metadata.get(), READ)
  t.equal(urls.length, 1)
})

t.test('every caller gets the same failure for one second, then the metadata is requested again', async (t) => {
  let isDown = true
  const { metadata, timer, urls } = setUp(() => {
    if (isDown) throw new Error('the network is down')
    return Response.json(VALID)
  })
  const failure = { message: `${REQUEST}: no response` }
  await Promise.all(Array.from({ length: 10 }, () => t.rejects(metadata.get(), failure)))
  isDown = false
  await timer.advance(999)
  await t.rejects(metadata.get(), failure)
  t.equal(urls.length, 1)
  await timer.advance(1)
  t.strictSame(await metadata.get(), READ)
  t.equal(urls.length, 2)
})

t.test('metadata without an endpoint is requested again after one second', async (t) => {
  let hasLog = false
  const { metadata, timer, urls } = setUp(() =>
    Response.json({ ...VALID, ...(hasLog ? {} : { latchkey_revocations_endpoint: undefined }) })
  )
  const missing = { message: 'the issuer has no revocation log' }
  await t.rejects(metadata.endpoint('revocations'), missing)
  hasLog = true
  await timer.advance(999)
  await t.rejects(metadata.endpoint('revocations'), missing)
  t.equal(urls.length, 1)
  await timer.advance(1)
  t.equal(await metadata.endpoint('revocations'), `${ISSUER}/revocations`)
  await metadata.get()
  t.equal(urls.length, 2)
})
