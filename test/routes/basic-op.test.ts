import t from 'tap'
import { basic } from '../basic.ts'
import { ISSUER } from '../helper.ts'
import { FORM } from '../http.ts'
import { pkce } from '../jar.ts'
import { ALL_SCOPES, CALLBACK, openSuite, type Tokens } from './basic-op-world.ts'

// The cases of the plan oidcc-basic-certification-test-plan of the OpenID Foundation's conformance suite, by their names.
const suite = await openSuite(t)
const { sub, authorize, redeem, flow, userInfo, inject, token, secrets, clock, verify } = suite

/** The claims of each scope that the service has data for. */
const PROFILE = { name: 'Alice Liddell', preferred_username: 'alice', updated_at: Number }
const EMAIL = { email: 'alice@example.com', email_verified: false }

t.test('oidcc-server', async (t) => {
  const { claims, response, tokens, jar } = await flow()
  t.match(response, { to: CALLBACK, params: { state: 'a state', iss: ISSUER, code: /^[\w-]{43}$/ } })
  t.match(claims, { iss: ISSUER, sub, aud: 'suite', azp: 'suite', nonce: 'a nonce', auth_time: Number, amr: ['pwd'] })
  t.match(tokens, { token_type: 'Bearer', expires_in: Number })
  t.strictSame((await authorize({}, { jar })).shown, [], 'the login and the consent are remembered')
})

t.test('oidcc-response-type-missing', async (t) => {
  const { response, shown } = await authorize({ response_type: undefined })
  t.strictSame(shown, [])
  t.match(response, { to: CALLBACK, params: { error: 'invalid_request', state: 'a state', iss: ISSUER } })
})

t.test('oidcc-idtoken-signature', async (t) => {
  const { alg, claims } = await flow({ client_id: 'suite-rs256' })
  t.equal(alg, 'RS256')
  t.equal(claims.sub, sub)
})

t.test('oidcc-idtoken-unsigned', async (t) => {
  const { id_token_signing_alg_values_supported: algs } = (
    await inject({ url: '/.well-known/openid-configuration' })
  ).json()
  t.notOk(algs.includes('none'), 'unsigned ID tokens are not offered')
  await t.rejects(suite.register('suite-none', { idTokenAlg: 'none' as never }))
})

t.test('oidcc-userinfo-get', async (t) => {
  const answer = await userInfo((await flow()).tokens.access_token)
  t.strictSame([answer.statusCode, answer.json()], [200, { sub }])
})

t.test('oidcc-userinfo-post-header', async (t) => {
  const { access_token: accessToken } = (await flow()).tokens
  const headers = { authorization: `Bearer ${accessToken}`, 'content-type': FORM }
  const answer = await inject({ method: 'POST', url: '/userinfo', headers, payload: '' })
  t.strictSame([answer.statusCode, answer.json()], [200, { sub }])
})

t.test('oidcc-userinfo-post-body', async (t) => {
  const { access_token: accessToken } = (await flow()).tokens
  const payload = new URLSearchParams({ access_token: accessToken }).toString()
  const answer = await inject({ method: 'POST', url: '/userinfo', headers: { 'content-type': FORM }, payload })
  t.strictSame([answer.statusCode, answer.json()], [200, { sub }])
})

t.test('oidcc-ensure-request-without-nonce-succeeds-for-code-flow', async (t) => {
  t.notOk('nonce' in (await flow({ nonce: undefined })).claims)
})

const SCOPES: [name: string, scope: string, claims: object][] = [
  ['oidcc-scope-profile', 'openid profile', { sub, ...PROFILE }],
  ['oidcc-scope-email', 'openid email', { sub, ...EMAIL }],
  ['oidcc-scope-address', 'openid address', { sub }],
  ['oidcc-scope-phone', 'openid phone', { sub }],
  ['oidcc-scope-all', ALL_SCOPES, { sub, ...PROFILE, ...EMAIL }],
  ['oidcc-ensure-other-scope-order-succeeds', 'email openid', { sub, ...EMAIL }]
]
for (const [name, scope, expected] of SCOPES)
  t.test(name, async (t) => {
    const { tokens, claims } = await flow({ scope })
    const info = (await userInfo(tokens.access_token)).json()
    t.match(info, expected)
    t.strictSame(Object.keys(info).toSorted(), Object.keys(expected).toSorted())
    t.notOk('email' in claims || 'name' in claims, 'an ID token beside an access token has no claims of scopes')
  })

for (const display of ['page', 'popup'])
  t.test(`oidcc-display-${display}`, async (t) => {
    t.equal((await flow({ display })).claims.sub, sub)
  })

t.test('oidcc-prompt-login', async (t) => {
  const { jar, claims } = await flow()
  clock.advance(5)
  const again = await flow({ prompt: 'login' }, { jar })
  t.ok(again.shown.includes('sign-in'), 'the user must sign in a second time')
  t.equal(again.claims.sub, sub)
  t.equal(again.claims.auth_time, Number(claims.auth_time) + 5)
})

t.test('oidcc-prompt-none-not-logged-in', async (t) => {
  const { shown, response } = await authorize({ prompt: 'none' })
  t.strictSame(shown, [])
  t.match(response, { to: CALLBACK, params: { error: 'login_required', state: 'a state', iss: ISSUER } })
})

t.test('oidcc-prompt-none-logged-in', async (t) => {
  const { jar, claims } = await flow()
  clock.advance(5)
  const again = await flow({ prompt: 'none' }, { jar })
  t.strictSame(again.shown, [])
  t.strictSame([again.claims.sub, again.claims.auth_time], [sub, claims.auth_time])
})

t.test('oidcc-max-age-1', async (t) => {
  const { jar, claims } = await flow()
  clock.advance(2)
  const again = await flow({ max_age: '1' }, { jar })
  t.ok(again.shown.includes('sign-in'), 'the user must sign in a second time')
  t.equal(again.claims.auth_time, Number(claims.auth_time) + 2)
})

t.test('oidcc-max-age-10000', async (t) => {
  const { jar, claims } = await flow({ max_age: '10000' })
  clock.advance(2)
  const again = await flow({ max_age: '10000' }, { jar })
  t.strictSame(again.shown, [])
  t.strictSame([again.claims.sub, again.claims.auth_time], [sub, claims.auth_time])
})

t.test('oidcc-ensure-request-with-unknown-parameter-succeeds', async (t) => {
  t.equal((await flow({ extra: 'foobar' })).claims.sub, sub)
})

t.test('oidcc-id-token-hint', async (t) => {
  const { jar, tokens } = await flow()
  const again = await flow({ prompt: 'none', id_token_hint: tokens.id_token }, { jar })
  t.strictSame([again.shown, again.claims.sub], [[], sub])
})

t.test('oidcc-login-hint', async (t) => {
  const { texts, claims } = await flow({ login_hint: 'buffy@localhost' })
  t.match(texts[0], 'value="buffy@localhost"')
  t.equal(claims.sub, sub, 'another user may sign in')
})

t.test('oidcc-ui-locales', async (t) => {
  const { texts, claims } = await flow({ ui_locales: 'se de en' })
  t.match(texts[0], '<html lang="de"')
  t.equal(claims.sub, sub)
})

t.test('oidcc-claims-locales', async (t) => {
  t.equal((await flow({ claims_locales: 'se' })).claims.sub, sub)
})

t.test('oidcc-ensure-request-with-acr-values-succeeds', async (t) => {
  t.equal((await flow({ acr_values: '1 2' })).claims.sub, sub)
})

for (const [name, seconds] of [
  ['oidcc-codereuse', 0],
  ['oidcc-codereuse-30seconds', 30]
] as const)
  t.test(name, async (t) => {
    const { response, tokens } = await flow()
    t.equal((await userInfo(tokens.access_token)).statusCode, 200)
    clock.advance(seconds)
    const again = await redeem(response?.params.code)
    t.match([again.statusCode, again.json()], [400, { error: 'invalid_grant' }])
    t.equal((await userInfo(tokens.access_token)).statusCode, 401, 'the token of the first use is revoked')
  })

t.test('oidcc-ensure-registered-redirect-uri', async (t) => {
  const { shown, answer } = await authorize({ redirect_uri: `${CALLBACK}/other` })
  t.strictSame([shown, answer.statusCode, answer.headers.location], [['error'], 400, undefined])
})

t.test('oidcc-ensure-post-request-succeeds', async (t) => {
  t.equal((await flow({}, { post: true })).claims.sub, sub)
})

t.test('oidcc-server-client-secret-post', async (t) => {
  const { response } = await authorize({ client_id: 'suite-post' })
  const answer = await token({
    grant_type: 'authorization_code',
    code: response?.params.code as string,
    redirect_uri: CALLBACK,
    client_id: 'suite-post',
    client_secret: secrets['suite-post'] as string
  })
  t.equal(answer.statusCode, 200)
  t.equal((await verify(answer.json<Tokens>().id_token, 'suite-post')).claims.nonce, 'a nonce')
})

/** Returns a request object with these claims that nobody signed. */
const requestObject = (claims: object) => {
  const part = (content: object) => Buffer.from(JSON.stringify(content)).toString('base64url')
  return `${part({ alg: 'none' })}.${part(claims)}.`
}

t.test('oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported', async (t) => {
  const { response } = await authorize({ request_uri: 'https://suite.example/request' })
  t.match(response, { to: CALLBACK, params: { error: 'request_uri_not_supported', state: 'a state' } })
})

t.test('oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported', async (t) => {
  const { response } = await authorize({ request: requestObject({ scope: 'openid', nonce: 'of the object' }) })
  t.match(response, { to: CALLBACK, params: { error: 'request_not_supported', state: 'a state' } })
})

t.test('oidcc-claims-essential', async (t) => {
  const { tokens } = await flow({
    claims: JSON.stringify({ userinfo: { name: { essential: true } } }),
    scope: ALL_SCOPES
  })
  t.equal((await userInfo(tokens.access_token)).json().name, PROFILE.name)
})

t.test('oidcc-ensure-request-object-with-redirect-uri', async (t) => {
  const request = requestObject({ redirect_uri: CALLBACK })
  const { response, answer } = await authorize({ request, redirect_uri: `${CALLBACK}/other` })
  t.strictSame([response, answer.statusCode], [null, 400], 'the redirect URI of the object does not count')
})

t.test('oidcc-refresh-token', async (t) => {
  const { tokens, claims } = await flow()
  const refresh = (refreshToken: string, client = 'suite') =>
    token(
      { grant_type: 'refresh_token', refresh_token: refreshToken },
      { authorization: basic(client, secrets[client] as string) }
    )
  const stolen = await refresh(tokens.refresh_token, 'suite-two')
  t.match([stolen.statusCode, stolen.json()], [400, { error: 'invalid_grant' }])
  clock.advance(10)
  const renewed = (await refresh(tokens.refresh_token)).json<Tokens>()
  t.not(renewed.access_token, tokens.access_token)
  t.equal((await userInfo(renewed.access_token)).statusCode, 200)
  const { claims: next } = await verify(renewed.id_token)
  t.strictSame(
    [next.iss, next.sub, next.aud, next.azp, next.auth_time, next.iat],
    [claims.iss, sub, claims.aud, claims.azp, claims.auth_time, Number(claims.iat) + 10]
  )
})

t.test('oidcc-ensure-request-with-valid-pkce-succeeds', async (t) => {
  const { verifier, challenge } = pkce()
  const { response } = await authorize({ code_challenge: challenge, code_challenge_method: 'S256' })
  const form = { grant_type: 'authorization_code', code: response?.params.code as string, redirect_uri: CALLBACK }
  const headers = { authorization: basic('suite', secrets.suite as string) }
  t.equal((await token({ ...form, code_verifier: verifier }, headers)).statusCode, 200)
})

// The case of the plan oidcc-config-certification-test-plan.
t.test('oidcc-discovery-endpoint-verification', async (t) => {
  const answer = await inject({ url: '/.well-known/openid-configuration' })
  t.strictSame([answer.statusCode, answer.headers['content-type']], [200, 'application/json; charset=utf-8'])
  const metadata = answer.json<Record<string, unknown>>()
  t.match(metadata, {
    issuer: ISSUER,
    authorization_endpoint: `${ISSUER}/authorize`,
    token_endpoint: `${ISSUER}/token`,
    userinfo_endpoint: `${ISSUER}/userinfo`,
    jwks_uri: `${ISSUER}/.well-known/jwks.json`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    claims_parameter_supported: false,
    request_parameter_supported: false,
    request_uri_parameter_supported: false
  })
  const holds = (name: string, ...values: string[]) => {
    for (const value of values) t.ok((metadata[name] as string[]).includes(value), `${name}: ${value}`)
  }
  holds('id_token_signing_alg_values_supported', 'RS256')
  holds('scopes_supported', 'openid', 'profile', 'email')
  holds('grant_types_supported', 'authorization_code', 'refresh_token')
  holds('token_endpoint_auth_methods_supported', 'client_secret_basic', 'client_secret_post')
  holds('code_challenge_methods_supported', 'S256')
  holds('claims_supported', 'sub', 'name', 'email')
  for (const [name, value] of Object.entries(metadata))
    if (name.endsWith('_endpoint')) t.ok(String(value).startsWith(`${ISSUER}/`), name)
  const { keys } = await suite.jwks()
  t.ok(keys.length > 0)
  for (const key of keys)
    t.notOk(
      ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k'].some((member) => member in key),
      'the JWKS has public members only'
    )
})
