import { exportJWK, generateKeyPair } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { freePort } from '../cli/process.ts'
import { build, PASSWORD } from '../helper.ts'
import { createJar, formOf } from '../jar.ts'
import { plant } from '../secrets.ts'

const port = await freePort()
const issuer = `http://127.0.0.1:${port}`
const world = await build(t, {
  env: { LATCHKEY_ISSUER: issuer },
  clock: { now: Date.now, sleep: async () => {} }
})
const { app } = world
await app.listen({ host: '127.0.0.1', port })
const { items: users } = await app.auth.users.list({ after: null, limit: 10 }, {})
const alice = users.find(({ username }) => username === 'alice')?.id as string
await app.auth.users.change(OPERATOR, alice, { fullName: 'Alice Liddell', email: 'alice@example.com' })

const WEB = 'https://app.example/callback'
const pair = await generateKeyPair('ES256')

/** A registered client, and how it identifies itself with both libraries. */
interface Registered {
  id: string
  redirectUri: string
  /** Where the browser goes after a logout. */
  goodbye: string
  metadata: Partial<oauth.Client>
  openid: openid.ClientAuth
  oauth: oauth.ClientAuth
  /** Whether its session ends with the login. */
  firstParty: boolean
}

async function register(
  id: string,
  { redirectUri = WEB, goodbye = 'https://app.example/goodbye', ...more }: Partial<NewClient> & Record<string, unknown>,
  auth: (secret: string) => [openid.ClientAuth, oauth.ClientAuth]
): Promise<Registered> {
  const { secret } = await app.auth.clients.create(OPERATOR, {
    id,
    name: id,
    grantTypes: ['authorization_code', 'refresh_token'],
    scopes: ['openid', 'profile', 'email'],
    redirectUris: [redirectUri as string],
    postLogoutRedirectUris: [goodbye as string],
    ...more
  } as NewClient)
  if (secret !== null) plant(secret)
  const [ofOpenid, ofOauth] = auth(secret ?? '')
  const { idTokenAlg } = more
  return {
    id,
    redirectUri: redirectUri as string,
    goodbye: goodbye as string,
    metadata: idTokenAlg === undefined ? {} : { id_token_signed_response_alg: idTokenAlg as string },
    openid: ofOpenid,
    oauth: ofOauth,
    firstParty: more.firstParty === true
  }
}

const none = (): [openid.ClientAuth, oauth.ClientAuth] => [openid.None(), oauth.None()]
const CLIENTS = [
  await register('public', { method: 'none', idTokenAlg: 'EdDSA' }, none),
  await register('confidential', { firstParty: true, idTokenAlg: 'RS256' }, (secret) => [
    openid.ClientSecretBasic(secret),
    oauth.ClientSecretBasic(secret)
  ]),
  await register(
    'keyed',
    { method: 'private_key_jwt', jwks: { keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'k' }] } },
    () => [
      openid.PrivateKeyJwt({ key: pair.privateKey, kid: 'k' }),
      oauth.PrivateKeyJwt({ key: pair.privateKey, kid: 'k' })
    ]
  ),
  await register(
    'native',
    {
      method: 'none',
      applicationType: 'native',
      firstParty: true,
      redirectUri: 'com.example.app:/callback',
      goodbye: 'com.example.app:/goodbye'
    },
    none
  )
]

/** Follows a URL of an app in a browser, and does what the pages ask for. Returns the URL of the app at which the browser ends. */
async function browse(jar: ReturnType<typeof createJar>, url: URL): Promise<URL> {
  let answer = await jar.get(url.pathname + url.search)
  for (let steps = 0; steps < 6; steps++) {
    const { location } = answer.headers
    if (location === undefined) {
      const form = formOf(answer)
      const fields = 'decision' in form.fields ? { decision: 'allow' } : { username: 'alice', password: PASSWORD }
      answer = await jar.submit(answer, form.action.startsWith('/sign-out') ? {} : (fields as Record<string, string>))
    } else if (String(location).startsWith('/')) answer = await jar.get(String(location))
    else return new URL(String(location))
  }
  throw new Error(`the browser stays at ${answer.statusCode}`)
}

const CLAIMS = {
  sub: alice,
  name: 'Alice Liddell',
  preferred_username: 'alice',
  email: 'alice@example.com',
  email_verified: false
}

function assertSameLogin(t: Test, first: oauth.IDToken, renewed: oauth.IDToken): void {
  const { nonce, iat: _iat, exp: _exp, at_hash: _hash, ...same } = first
  const { iat: _iatNow, exp: _expNow, at_hash: _hashNow, ...rest } = renewed
  t.type(nonce, 'string')
  t.strictSame(rest, same)
}

for (const client of CLIENTS) {
  t.test(`openid-client signs a user in and out at the ${client.id} client`, async (t) => {
    const config = await openid.discovery(new URL(issuer), client.id, client.metadata, client.openid, {
      execute: [openid.allowInsecureRequests, openid.enableNonRepudiationChecks]
    })
    const jar = createJar(world, issuer)
    const [verifier, state, nonce] = [openid.randomPKCECodeVerifier(), openid.randomState(), openid.randomNonce()]
    const request = openid.buildAuthorizationUrl(config, {
      redirect_uri: client.redirectUri,
      scope: 'openid profile email',
      state,
      nonce,
      max_age: '600',
      code_challenge: await openid.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256'
    })
    const callback = await browse(jar, request)
    const tokens = await openid.authorizationCodeGrant(config, callback, {
      pkceCodeVerifier: verifier,
      expectedState: state,
      expectedNonce: nonce,
      idTokenExpected: true,
      maxAge: 600
    })
    const claims = tokens.claims() as openid.IDToken
    t.match(await openid.fetchUserInfo(config, tokens.access_token, claims.sub), CLAIMS)
    const renewed = await openid.refreshTokenGrant(config, tokens.refresh_token as string)
    assertSameLogin(t, claims, renewed.claims() as openid.IDToken)

    const end = openid.buildEndSessionUrl(config, {
      id_token_hint: renewed.id_token as string,
      post_logout_redirect_uri: client.goodbye,
      state: 'the state of the app'
    })
    const goodbye = await browse(jar, end)
    t.equal(goodbye.href, `${client.goodbye}?state=the%20state%20of%20the%20app`)
    const next = openid.refreshTokenGrant(config, renewed.refresh_token as string)
    const outcome = await next.then(
      () => 'renewed',
      ({ error }) => error
    )
    t.equal(outcome, client.firstParty ? 'invalid_grant' : 'renewed', 'the sessions of other apps are their own')
  })

  t.test(`oauth4webapi signs a user in and out at the ${client.id} client`, async (t) => {
    const insecure = { [oauth.allowInsecureRequests]: true }
    const url = new URL(issuer)
    const as = await oauth.processDiscoveryResponse(
      url,
      await oauth.discoveryRequest(url, { algorithm: 'oidc', ...insecure })
    )
    const own: oauth.Client = { client_id: client.id, ...client.metadata }
    const jar = createJar(world, issuer)
    const [verifier, state, nonce] = [
      oauth.generateRandomCodeVerifier(),
      oauth.generateRandomState(),
      oauth.generateRandomNonce()
    ]
    const request = new URL(as.authorization_endpoint as string)
    request.search = new URLSearchParams({
      client_id: client.id,
      redirect_uri: client.redirectUri,
      response_type: 'code',
      scope: 'openid profile email',
      state,
      nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256'
    }).toString()
    const params = oauth.validateAuthResponse(as, own, await browse(jar, request), state)
    const response = await oauth.authorizationCodeGrantRequest(
      as,
      own,
      client.oauth,
      params,
      client.redirectUri,
      verifier,
      insecure
    )
    const tokens = await oauth.processAuthorizationCodeResponse(as, own, response, {
      expectedNonce: nonce,
      requireIdToken: true
    })
    await oauth.validateApplicationLevelSignature(as, response, insecure)
    const claims = oauth.getValidatedIdTokenClaims(tokens) as oauth.IDToken

    const info = await oauth.userInfoRequest(as, own, tokens.access_token, insecure)
    t.match(await oauth.processUserInfoResponse(as, own, claims.sub, info), CLAIMS)
    const renewal = await oauth.refreshTokenGrantRequest(
      as,
      own,
      client.oauth,
      tokens.refresh_token as string,
      insecure
    )
    const renewed = await oauth.processRefreshTokenResponse(as, own, renewal)
    await oauth.validateApplicationLevelSignature(as, renewal, insecure)
    assertSameLogin(t, claims, oauth.getValidatedIdTokenClaims(renewed) as oauth.IDToken)

    const end = new URL(as.end_session_endpoint as string)
    end.search = new URLSearchParams({ client_id: client.id, post_logout_redirect_uri: client.goodbye }).toString()
    t.equal((await browse(jar, end)).href, client.goodbye)
    t.equal(jar.cookies.has('latchkey'), false)
  })
}
