import t, { type Test } from 'tap'
import { createOpenIdProvider } from '../../plugins/providers/openid.ts'
import type { OpenIdRegistration, ProviderAttempt } from '../../src/domain/ports/providers.ts'
import { createOutgoing } from '../../src/outgoing.ts'
import { TestClock } from '../clock.ts'
import { AT_PROVIDER, CLIENT_ID, CLIENT_SECRET, startProvider } from '../fake-provider.ts'
import { LIES } from './lies.ts'

const ATTEMPT: ProviderAttempt = {
  state: 'the state of this sign-in',
  nonce: 'the nonce of this sign-in',
  codeVerifier: 'the-code-verifier-of-this-sign-in-0123456789',
  redirectUri: 'http://localhost:3000/sign-in/callback/fake'
}

/** Opens Latchkey's side of a provider. `isAllowed` says which addresses requests may go to. */
async function open(t: Test, { isAllowed = () => true }: { isAllowed?: (address: string) => boolean } = {}) {
  const clock = new TestClock(Date.now())
  const provider = await startProvider(t, clock)
  const openid = createOpenIdProvider({
    send: createOutgoing({ isAllowed, setting: 'LATCHKEY_PROVIDER_NETWORKS' }),
    clock,
    responseMs: 200
  })
  const registration: OpenIdRegistration = {
    id: 'fake',
    issuer: provider.issuer,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    scopes: ['openid', 'profile', 'email'],
    version: 1
  }
  const begin = (attempt = ATTEMPT) => openid.begin(registration, attempt)
  const finish = (response: URLSearchParams, attempt = ATTEMPT) => openid.finish(registration, attempt, response)
  return {
    clock,
    provider,
    registration,
    openid,
    begin,
    finish,
    signIn: async () => finish(provider.authorize(await begin()))
  }
}

t.test('a user who signs in at the provider is known by issuer and subject', async (t) => {
  const { provider, begin, finish } = await open(t)
  const url = await begin()
  t.strictSame(Object.fromEntries(url.searchParams), {
    response_type: 'code',
    client_id: CLIENT_ID,
    redirect_uri: ATTEMPT.redirectUri,
    scope: 'openid profile email',
    state: ATTEMPT.state,
    nonce: ATTEMPT.nonce,
    code_challenge: url.searchParams.get('code_challenge'),
    code_challenge_method: 'S256'
  })
  t.equal(url.origin + url.pathname, `${provider.issuer}/authorize`)
  const { claims, ...identity } = await finish(provider.authorize(url))
  t.strictSame(identity, {
    issuer: provider.issuer,
    subject: AT_PROVIDER.sub,
    email: AT_PROVIDER.email,
    fullName: AT_PROVIDER.name,
    username: AT_PROVIDER.preferred_username
  })
  t.match(claims, AT_PROVIDER)
})

t.test('every lie of a provider is refused, with a reason for the operator [SL2 SL4]', async (t) => {
  for (const [name, lie, failure, reason] of LIES)
    await t.test(name, async (t) => {
      const { provider, signIn } = await open(t, { isAllowed: (address) => address === '127.0.0.1' })
      Object.assign(provider.lies, typeof lie === 'function' ? lie(provider) : lie)
      await t.rejects(signIn(), { name: 'ProviderError', failure, message: reason })
    })
})

t.test('a code is redeemed once, and only in the sign-in that it was issued for [SL1]', async (t) => {
  const { provider, begin, finish } = await open(t)
  const response = provider.authorize(await begin())
  await t.resolves(finish(response))
  await t.rejects(finish(response), { failure: 'refused', message: /invalid_grant/ })
  const other = { ...ATTEMPT, nonce: 'the nonce of another browser' }
  const foreign = provider.authorize(await begin(other))
  await t.rejects(finish(foreign), { failure: 'invalid', message: /nonce/ })
})

t.test('only an address that the provider has verified is an e-mail address of the user [SL3]', async (t) => {
  const { provider, signIn } = await open(t)
  for (const verified of [undefined, false, 'true', 1, null]) {
    provider.lies.claims = (valid) => ({ ...valid, email_verified: verified })
    t.equal((await signIn()).email, null, String(verified))
  }
  provider.lies.claims = (valid) => ({ ...valid, email: 7 })
  t.equal((await signIn()).email, null)
})

t.test('the profile comes from the UserInfo endpoint when the ID token has none', async (t) => {
  const { provider, signIn } = await open(t)
  const { sub, ...profile } = AT_PROVIDER
  const none = Object.fromEntries(Object.keys(profile).map((name) => [name, undefined]))
  provider.lies.claims = (valid) => ({ ...valid, ...none })
  t.match(await signIn(), { subject: sub, email: profile.email, fullName: profile.name, username: 'alice' })
})

t.test('metadata and keys are kept, a failure is not, and a new key of the provider is found', async (t) => {
  const { provider, signIn, clock } = await open(t)
  const count = (path: string) => provider.requests.filter((each) => each === path).length
  provider.lies.metadata = () => (response) => void response.writeHead(503).end()
  await t.rejects(signIn(), { failure: 'unavailable', message: 'the status of a response is 503' })
  delete provider.lies.metadata
  for (let times = 0; times < 3; times++) await signIn()
  t.strictSame([count('/.well-known/openid-configuration'), count('/jwks')], [2, 1])
  clock.advance(3600)
  provider.rotate('two')
  t.match(await signIn(), { subject: AT_PROVIDER.sub })
  t.strictSame([count('/.well-known/openid-configuration'), count('/jwks')], [3, 2])
})

t.test('a changed registration is used at once', async (t) => {
  const { provider, registration, openid } = await open(t)
  await openid.begin(registration, ATTEMPT)
  const url = await openid.begin({ ...registration, clientId: 'new', version: 2 }, ATTEMPT)
  t.equal(url.searchParams.get('client_id'), 'new')
  t.equal(provider.requests.length, 2)
})

t.test('requests go only to addresses that are allowed, and follow no redirect [SL4]', async (t) => {
  const { begin, provider } = await open(t, { isAllowed: () => false })
  await t.rejects(begin(), {
    failure: 'unavailable',
    message: `${provider.issuer}: the address 127.0.0.1 is not public, and LATCHKEY_PROVIDER_NETWORKS does not allow it`
  })
  t.strictSame(provider.requests, [])
})
