import type { RequestListener } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Fetch, UpstreamError } from '../../src/guard/http.ts'
import { createMetadata } from '../../src/guard/metadata.ts'
import { build, ISSUER } from '../helper.ts'
import { listen } from '../listen.ts'

type Members = Record<string, unknown>

const good = (issuer: string): Members => ({
  issuer,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
  introspection_endpoint: `${issuer}/introspect`,
  latchkey_revocations_endpoint: `${issuer}/revocations`
})

const send = (body: unknown, status = 200): RequestListener => {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return (_request, response) => response.writeHead(status, { 'content-type': 'application/json' }).end(text)
}

/** What becomes of the metadata of an issuer that answers so; its origin is left out of a message. */
async function get(t: Test, listener: (issuer: string) => RequestListener, path = '') {
  let inner: RequestListener = () => {}
  const origin = await listen(t, (request, response) => inner(request, response))
  inner = listener(origin + path)
  const metadata = createMetadata({ issuer: origin + path, fetch })
  try {
    return await metadata.get()
  } catch (error) {
    return error instanceof UpstreamError ? error.message.replaceAll(origin, '') : error
  }
}

const LIES: [what: string, change: Members, refused: string][] = [
  ['another issuer', { issuer: 'https://evil.example.com' }, 'names another issuer'],
  ['no issuer', { issuer: undefined }, 'names another issuer'],
  ['keys on another origin', { jwks_uri: 'https://evil.example.com/jwks' }, 'has a jwks_uri on another origin'],
  ['keys on another port', { jwks_uri: 'http://127.0.0.1:1/jwks' }, 'has a jwks_uri on another origin'],
  ['tokens on another origin', { token_endpoint: 'http://127.0.0.1:1/' }, 'has a token_endpoint on another origin'],
  [
    'introspection on another origin',
    { introspection_endpoint: 'https://evil.example.com' },
    'has a introspection_endpoint on another origin'
  ],
  [
    'a log on another origin',
    { latchkey_revocations_endpoint: 'http://localhost/revocations' },
    'has a latchkey_revocations_endpoint on another origin'
  ],
  ['no token endpoint', { token_endpoint: undefined }, 'has no token_endpoint'],
  ['no keys', { jwks_uri: undefined }, 'has no jwks_uri'],
  ['keys null', { jwks_uri: null }, 'has a jwks_uri that is not a URL'],
  ['a number for a URL', { token_endpoint: 7 }, 'has a token_endpoint that is not a URL'],
  ['a list of URLs', { token_endpoint: ['/token'] }, 'has a token_endpoint that is not a URL'],
  ['a path for a URL', { jwks_uri: '/jwks' }, 'has a jwks_uri that is not a URL'],
  ['a script for a URL', { jwks_uri: 'data:application/json,{}' }, 'has a jwks_uri on another origin']
]

for (const [what, change, refused] of LIES)
  t.test(`an issuer that lies in its metadata is refused: ${what}`, async (t) => {
    const got = await get(t, (issuer) => send({ ...good(issuer), ...change }))
    t.equal(got, `the metadata of  ${refused}`)
  })

t.test('an issuer that lies in its metadata is refused: credentials or a fragment in a URL', async (t) => {
  for (const change of [(url: string) => url.replace('//', '//a:b@'), (url: string) => `${url}#x`]) {
    const got = await get(t, (issuer) => send({ ...good(issuer), jwks_uri: change(`${issuer}/jwks`) }))
    t.equal(got, 'the metadata of  has a jwks_uri with credentials or a fragment')
  }
})

t.test('an issuer that lies in its metadata is refused: http where the issuer has https', async (t) => {
  const issuer = 'https://id.example.com'
  const fetch: Fetch = async () => Response.json({ ...good(issuer), token_endpoint: 'http://id.example.com/token' })
  const refused = { message: `the metadata of ${issuer} has a token_endpoint on another origin` }
  await t.rejects(createMetadata({ issuer, fetch }).get(), refused)
})

const WHERE = 'GET /.well-known/oauth-authorization-server'
const BAD: [what: string, listener: (issuer: string) => RequestListener, message: string][] = [
  ['no JSON', () => send('<html>'), `${WHERE}: the response is not JSON`],
  ['a list', () => send([]), 'the metadata of  is not an object'],
  ['null', () => send('null'), 'the metadata of  is not an object'],
  ['a string', () => send('"x"'), 'the metadata of  is not an object'],
  [
    'more than 64 KB',
    (issuer) => send({ ...good(issuer), more: 'x'.repeat(65_536) }),
    `${WHERE}: the response is longer than 65536 bytes`
  ],
  ['500', (issuer) => send(good(issuer), 500), `${WHERE}: the status is 500`],
  ['404', (issuer) => send(good(issuer), 404), `${WHERE}: the status is 404`],
  [
    'a redirect to what would be good',
    (issuer) => (request, response) =>
      request.url === '/other'
        ? send(good(issuer))(request, response)
        : response.writeHead(302, { location: '/other' }).end(),
    `${WHERE}: no response`
  ],
  ['nothing for five seconds', () => () => {}, `${WHERE}: no response within 5000 ms`]
]

for (const [what, listener, message] of BAD)
  t.test(`metadata that cannot be used is refused: ${what}`, async (t) => {
    t.equal(await get(t, listener), message)
  })

t.test('good metadata is read, with and without what is optional', async (t) => {
  const issuer = 'https://id.example.com'
  const whole = {
    tokenEndpoint: `${issuer}/token`,
    jwksUri: `${issuer}/jwks`,
    introspectionEndpoint: `${issuer}/introspect`,
    revocations: `${issuer}/revocations`
  }
  const { issuer: _issuer, token_endpoint, jwks_uri } = good(issuer)
  const serve = (members: Members) => createMetadata({ issuer, fetch: async () => Response.json(members) }).get()
  t.strictSame(await serve(good(issuer)), whole)
  t.strictSame(await serve({ issuer, token_endpoint, jwks_uri }), {
    ...whole,
    introspectionEndpoint: null,
    revocations: null
  })
})

t.test('RFC 8414 §3.1 the path of an issuer comes after the well-known part', async (t) => {
  for (const [issuer, url] of [
    ['https://id.example.com', 'https://id.example.com/.well-known/oauth-authorization-server'],
    ['https://id.example.com/auth', 'https://id.example.com/.well-known/oauth-authorization-server/auth'],
    ['https://id.example.com/a/b', 'https://id.example.com/.well-known/oauth-authorization-server/a/b']
  ] as const) {
    const asked: string[] = []
    const fetch: Fetch = async (url) => {
      asked.push(url)
      return Response.json(good(issuer))
    }
    t.match(await createMetadata({ issuer, fetch }).get(), { tokenEndpoint: `${issuer}/token` })
    t.strictSame(asked, [url])
  }
})

t.test('the metadata of Latchkey is good, at the root and under a path', async (t) => {
  for (const path of ['', '/auth']) {
    const issuer = ISSUER + path
    const { inject } = await build(t, { env: { LATCHKEY_ISSUER: issuer } })
    const fetch: Fetch = async (url) => {
      const { body, headers } = await inject({ url: new URL(url).pathname })
      return new Response(body, { headers: { 'content-type': String(headers['content-type']) } })
    }
    t.match(await createMetadata({ issuer, fetch }).get(), {
      tokenEndpoint: `${issuer}/token`,
      jwksUri: `${issuer}/.well-known/jwks.json`,
      introspectionEndpoint: `${issuer}/introspect`
    })
  }
})

t.test('an issuer that cannot be one is refused at once', async (t) => {
  for (const issuer of [
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
  ])
    t.throws(() => createMetadata({ issuer, fetch }), { name: 'TypeError', message: /^issuer must be/ }, issuer)
  for (const issuer of ['https://id.example.com', 'http://localhost:3000', 'http://127.0.0.1:1/a', 'http://[::1]:2'])
    t.doesNotThrow(() => createMetadata({ issuer, fetch }), issuer)
})

t.test('good metadata is asked for once, by all who ask at the same time and later', async (t) => {
  let asked = 0
  const issuer = 'https://id.example.com'
  const fetch: Fetch = async () => {
    asked++
    await sleep(20)
    return Response.json(good(issuer))
  }
  const metadata = createMetadata({ issuer, fetch })
  await Promise.all(Array.from({ length: 100 }, () => metadata.get()))
  await metadata.get()
  t.equal(asked, 1)
})

t.test('a failure is told to all for a second, then it is tried again', async (t) => {
  let asked = 0
  const issuer = 'https://id.example.com'
  const fetch: Fetch = async () => {
    if (++asked === 1) throw new Error('the network is down')
    return Response.json(good(issuer))
  }
  const metadata = createMetadata({ issuer, fetch })
  const failed = { message: `GET ${issuer}/.well-known/oauth-authorization-server: no response` }
  await Promise.all(Array.from({ length: 10 }, () => t.rejects(metadata.get(), failed)))
  await t.rejects(metadata.get(), failed)
  t.equal(asked, 1)
  await sleep(1050)
  t.match(await metadata.get(), { tokenEndpoint: `${issuer}/token` })
  t.equal(asked, 2)
})

t.test('what the metadata do not have yet is looked for again after a second', async (t) => {
  let asked = 0
  const issuer = 'https://id.example.com'
  const { latchkey_revocations_endpoint: endpoint, ...others } = good(issuer) as Record<string, unknown>
  const fetch: Fetch = async () =>
    Response.json(++asked === 1 ? others : { ...others, latchkey_revocations_endpoint: endpoint })
  const metadata = createMetadata({ issuer, fetch })
  const missing = { message: 'the issuer has no revocation log' }
  await t.rejects(metadata.endpoint('revocations'), missing)
  await t.rejects(metadata.endpoint('revocations'), missing)
  t.equal(asked, 1)
  await sleep(1050)
  t.equal(await metadata.endpoint('revocations'), endpoint)
  await metadata.get()
  t.equal(asked, 2)
})
