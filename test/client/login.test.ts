import { createHash } from 'node:crypto'
import t from 'tap'
import { createLoginClient, type LoginClientOptions, TokenError } from '../../src/client/index.ts'
import { createLogins } from '../../src/client/login-client.ts'
import { createFakeIssuer, metadataOf, type Responder } from '../fake-issuer.ts'
import { createFakeTimer } from '../fake-timer.ts'
import { encode } from '../jws.ts'
import { granted } from './setup.ts'

const VALID = { issuer: 'https://id.example.com', clientId: 'cli', open: () => {} }

/** Changes the parameters of an authorization response; null leaves one out, a list repeats it. */
type Change = Record<string, string | string[] | null>

/** The URL to which the issuer sends the browser after the sign-in. */
function redirectOf(url: string, change: Change = {}): string {
  const asked = new URL(url).searchParams
  const to = new URL(asked.get('redirect_uri') as string)
  const params: Change = { code: 'the-code', state: asked.get('state'), iss: VALID.issuer, ...change }
  for (const [name, value] of Object.entries(params))
    for (const each of [value ?? []].flat()) to.searchParams.append(name, each)
  return to.href
}

/**
 * A login client of a fake issuer with a fake timer. By default its browser signs in at once.
 * @param respond makes the response to the nth request for a token, from 1
 */
function setUp(respond?: (n: number, form: URLSearchParams) => Response, options: Partial<LoginClientOptions> = {}) {
  const timer = createFakeTimer()
  const issuer = createFakeIssuer(timer)
  const forms: Record<string, string>[] = []
  const respondToToken: Responder = ({ body }) => {
    const form = new URLSearchParams(body)
    const n = forms.push(Object.fromEntries(form))
    return respond?.(n, form) ?? granted(`token-${n}`, { refresh_token: `refresh-${n}` })
  }
  issuer.responders.token = respondToToken
  const opened: string[] = []
  const pages: Promise<Response>[] = []
  /** Follows a redirect as a browser does. */
  const visit = (url: string) => void pages.push(fetch(url))
  const open = (url: string) => {
    opened.push(url)
    visit(redirectOf(url))
  }
  const client = createLogins(
    { issuer: issuer.issuer, clientId: 'cli', fetch: issuer.fetch, open, ...options } as LoginClientOptions,
    timer
  )
  return { ...issuer, client, timer, forms, opened, pages, visit }
}

/** The error of a login or of a token. */
async function errorOf(promise: Promise<unknown>) {
  const error = await promise.then(
    () => new Error('nothing was thrown'),
    (reason) => reason as TokenError
  )
  if (!(error instanceof TokenError)) throw error
  return { error: error.error, status: error.status, message: error.message }
}
const failure = (message: string, error: string | null = null, status: number | null = null) => ({
  error,
  status,
  message: `no token for cli from https://id.example.com: ${message}`
})

t.test('a login asks for a code with PKCE, state and nonce, and redeems the code with the verifier', async (t) => {
  const { client, opened, forms, pages } = setUp(undefined, { scope: 'openid profile', resource: 'https://a.example' })
  const login = await client.login()
  const asked = Object.fromEntries(new URL(opened[0] as string).searchParams)
  const { code_verifier: verifier = '', redirect_uri: redirectUri = '', ...form } = forms[0] ?? {}
  t.match(redirectUri, /^http:\/\/127\.0\.0\.1:\d+\/callback$/)
  t.match([asked.state, asked.nonce, verifier], [/^[\w-]{43}$/, /^[\w-]{43}$/, /^[\w-]{43}$/])
  t.equal(new Set([asked.state, asked.nonce, verifier]).size, 3)
  t.strictSame(asked, {
    response_type: 'code',
    client_id: 'cli',
    redirect_uri: redirectUri,
    state: asked.state,
    scope: 'openid profile',
    nonce: asked.nonce,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    resource: 'https://a.example'
  })
  t.strictSame(form, {
    grant_type: 'authorization_code',
    code: 'the-code',
    resource: 'https://a.example',
    client_id: 'cli'
  })
  const page = (await pages[0]) as Response
  t.equal(page.status, 200)
  t.match(await page.text(), '<p>Done. Close this window and go back to the program.')
  t.strictSame(login.tokens, {
    accessToken: 'token-1',
    expiresIn: 300,
    refreshToken: 'refresh-1',
    idToken: null,
    scope: 'openid profile'
  })
})

t.test('the loopback server takes the response with the right state only, and ends with it', async (t) => {
  const others: [string, RequestInit, number][] = []
  const { client, visit, forms } = setUp(undefined, {
    open: async (url) => {
      const right = redirectOf(url)
      const { origin } = new URL(right)
      others.push([redirectOf(url, { state: 'x'.repeat(43), code: 'planted' }), {}, 400])
      others.push([redirectOf(url, { state: null, code: 'planted' }), {}, 400])
      others.push([right, { method: 'POST' }, 404], [`${origin}/favicon.ico`, {}, 404], [`${origin}/`, {}, 404])
      for (const [other, init, status] of others) t.equal((await fetch(other, init)).status, status, other)
      visit(right)
      others.push([right, {}, 400])
    }
  })
  await client.login()
  t.equal(forms[0]?.code, 'the-code')
  await t.rejects(fetch(others.at(-1)?.[0] as string), TypeError, 'nobody listens any more')
})

t.test('the page of the loopback server is never stored, runs no script and is shown in no frame', async (t) => {
  const { client, pages } = setUp()
  await client.login()
  const { headers } = (await pages[0]) as Response
  t.match(Object.fromEntries(headers), {
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff'
  })
})

const RESPONSES: [string, Change, ReturnType<typeof failure>][] = [
  [
    'a refusal of the user',
    { code: null, error: 'access_denied', error_description: 'The user refused' },
    failure('access_denied: The user refused', 'access_denied')
  ],
  [
    'a reason that a terminal would execute',
    { code: null, error: 'access_denied', error_description: 'a\u001b[2J\nb' },
    failure(String.raw`access_denied: a\u001b[2J\nb`, 'access_denied')
  ],
  ['no iss', { iss: null }, failure('the authorization response is of another issuer')],
  [
    'the iss of another issuer',
    { iss: 'https://evil.example' },
    failure('the authorization response is of another issuer')
  ],
  ['two iss', { iss: [VALID.issuer, VALID.issuer] }, failure('the authorization response is of another issuer')],
  ['no code', { code: null }, failure('the authorization response has no code')],
  ['two codes', { code: ['a', 'b'] }, failure('the authorization response has no code')]
]
for (const [name, change, expected] of RESPONSES) {
  t.test(`an authorization response with ${name} ends the login, and no code is redeemed`, async (t) => {
    const { client, forms, visit } = setUp(undefined, { open: (url) => visit(redirectOf(url, change)) })
    t.strictSame(await errorOf(client.login()), expected)
    t.strictSame(forms, [])
  })
}

t.test('a refusal of the token endpoint has its error code, status and reason', async (t) => {
  const { client } = setUp(() =>
    Response.json({ error: 'invalid_grant', error_description: 'The code is not valid' }, { status: 400 })
  )
  t.strictSame(await errorOf(client.login()), failure('invalid_grant: The code is not valid', 'invalid_grant', 400))
})

t.test('a browser that cannot be opened, and an issuer without authorization endpoint, end the login', async (t) => {
  const cause = new Error('no display')
  const { client } = setUp(undefined, { open: () => Promise.reject(cause) })
  t.strictSame(await errorOf(client.login()), failure('the browser could not be opened'))
  const old = setUp()
  old.responders['oauth-authorization-server'] = () =>
    Response.json({ issuer: VALID.issuer, token_endpoint: `${VALID.issuer}/token`, jwks_uri: `${VALID.issuer}/jwks` })
  t.strictSame(await errorOf(old.client.login()), failure('the issuer has no authorization endpoint'))
})

t.test('a login ends after its time, and when the caller aborts; nobody listens then', async (t) => {
  const urls: string[] = []
  const opened = Promise.withResolvers<void>()
  const { client, timer } = setUp(undefined, { open: (url) => opened.resolve(void urls.push(url)), timeout: 60_000 })
  const late = errorOf(client.login())
  await opened.promise
  await timer.advance(60_000)
  t.strictSame(await late, failure('nobody signed in within 60 s'))
  await t.rejects(fetch(redirectOf(urls[0] as string)), TypeError)

  const stop = new AbortController()
  const aborted = setUp(undefined, { open: () => stop.abort(new Error('the user pressed Cancel')) })
  await t.rejects(aborted.client.login(stop.signal), { message: 'the user pressed Cancel' })
  t.equal(aborted.timer.sleeping(), 0)
})

t.test('a login that is aborted before it asks the user opens no browser', async (t) => {
  const stop = new AbortController()
  const { client, responders, opened, issuer } = setUp()
  responders['oauth-authorization-server'] = () => {
    stop.abort(new Error('the user pressed Cancel'))
    return Response.json(metadataOf(issuer))
  }
  await t.rejects(client.login(stop.signal), { message: 'the user pressed Cancel' })
  t.strictSame(opened, [])
})

/** A token response with an ID token. */
const withIdToken = (claims: object) =>
  granted('token-1', { id_token: `${encode({ alg: 'ES256' })}.${encode(claims as Record<string, unknown>)}.x` })

t.test('an ID token must be of the issuer, for the client and for this sign-in, and must not be expired', async (t) => {
  const exp = Math.floor(Date.now() / 1000) + 300
  const attempt = async (change: object) => {
    let nonce: string | null = null
    const { client, visit } = setUp(
      () => withIdToken({ iss: VALID.issuer, aud: 'cli', exp, nonce, sub: 'alice', ...change }),
      {
        scope: 'openid',
        open(url) {
          nonce = new URL(url).searchParams.get('nonce')
          return visit(redirectOf(url))
        }
      }
    )
    return client.login()
  }
  t.match((await attempt({})).tokens.idToken, /^[\w-]+\.[\w-]+\.x$/)
  t.ok(await attempt({ aud: ['cli'] }))
  for (const [change, fault] of [
    [{ iss: 'https://evil.example' }, 'is of another issuer'],
    [{ aud: 'other' }, 'is for another client'],
    [{ aud: ['cli', 'other'] }, 'is for another client'],
    [{ exp: 1 }, 'has expired'],
    [{ exp: '9999999999' }, 'has expired'],
    [{ nonce: 'of-another-sign-in' }, 'belongs to another sign-in'],
    [{ nonce: undefined }, 'belongs to another sign-in']
  ] as const)
    t.strictSame(await errorOf(attempt(change)), failure(`the ID token ${fault}`))
  const broken = setUp(() => granted('token-1', { id_token: 'nonsense' }))
  t.strictSame(await errorOf(broken.client.login()), failure('the ID token is not a JWT'))
})

t.test('getToken returns the token until it ages, then renews it once with the latest refresh token', async (t) => {
  const { client, timer, forms } = setUp((n) => granted(`token-${n}`, n === 2 ? {} : { refresh_token: `refresh-${n}` }))
  const login = await client.login()
  t.equal(await login.getToken(), 'token-1')
  t.equal(forms.length, 1)
  for (const n of [2, 3]) {
    await timer.advance(300_000)
    t.strictSame(new Set(await Promise.all(Array.from({ length: 50 }, login.getToken))), new Set([`token-${n}`]))
    // A response without a refresh token leaves the previous one valid (RFC 6749 §6).
    t.strictSame(forms[n - 1], { grant_type: 'refresh_token', refresh_token: 'refresh-1', client_id: 'cli' })
    t.equal(login.tokens.accessToken, `token-${n}`)
  }
  await timer.advance(300_000)
  await login.getToken()
  t.equal(forms[3]?.refresh_token, 'refresh-3')
  t.equal(login.tokens.refreshToken, 'refresh-4')
})

t.test('getToken throws invalid_grant at once when the session has ended, or without a refresh token', async (t) => {
  const ended = setUp((n) =>
    n === 1 ? granted('token-1', { refresh_token: 'r' }) : Response.json({ error: 'invalid_grant' }, { status: 400 })
  )
  const login = await ended.client.login()
  await ended.timer.advance(300_000)
  t.strictSame(await errorOf(login.getToken()), failure('invalid_grant', 'invalid_grant', 400))

  const short = setUp(() => granted('token-1'))
  const once = await short.client.login()
  await short.timer.advance(300_000)
  t.strictSame(await errorOf(once.getToken()), {
    error: 'invalid_grant',
    status: null,
    message: 'the access token has expired and cli got no refresh token: sign in again'
  })
  t.equal(short.forms.length, 1)
})

t.test('getToken retries a failure of the server, and throws after close', async (t) => {
  const { client, timer, forms } = setUp((n) =>
    n === 2 ? Response.json({}, { status: 503 }) : granted(`token-${n}`, { refresh_token: `refresh-${n}` })
  )
  const login = await client.login()
  await timer.advance(300_000)
  const token = login.getToken()
  await timer.advance(1000)
  t.equal(await token, 'token-3')
  t.strictSame(
    forms.slice(1).map(({ refresh_token }) => refresh_token),
    ['refresh-1', 'refresh-1']
  )
  login.close()
  t.match(await errorOf(login.getToken()), { message: 'the token client is closed' })
})

t.test('options that are not valid are refused before any request', async (t) => {
  for (const [change, message] of [
    [{ issuer: 'id.example.com' }, /issuer must be an https URL .* it has no scheme/],
    [{ clientId: '' }, /clientId must be the id/],
    [{ open: undefined }, /open must be a function/],
    [{ timeout: 0 }, /timeout must be a number/],
    [{ resource: 'orders' }, /resource must be an absolute URI/]
  ] as const)
    t.throws(() => createLoginClient({ ...VALID, ...change } as unknown as LoginClientOptions), { message })
  t.ok(createLoginClient(VALID))
})
