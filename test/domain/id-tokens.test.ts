import { createHash } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import type { IssuedToken } from '../../src/domain/exchange.ts'
import { ISSUER, NOW, signedAgain } from './open.ts'
import { openSignIn, requestOf } from './sign-in-world.ts'

const SECOND = 1000

/** Opens the domain with the client `oidc`, which may ask for every scope of OpenID Connect. */
async function open(t: Test, more: Partial<NewClient> = {}) {
  const world = await openSignIn(t)
  await world.register('oidc', { scopes: ['openid', 'profile', 'email'], requireConsent: false, ...more })
  const login = await world.signIn()
  const tokens = async (params: Record<string, string> = {}) => {
    const code = await world.codeOf(login, { client_id: 'oidc', scope: 'openid profile', ...params })
    return world.redeem(code, {}, 'oidc')
  }
  const refresh = async (refreshToken: string, scope?: string) => {
    const client = await world.auth.clients.get('oidc')
    return world.auth.exchange(OPERATOR, {
      clientAuth: {
        client,
        method: 'client_secret_basic',
        registered: [],
        signing: [],
        rev: await world.store.revocations.seq()
      },
      params: { grant_type: 'refresh_token', refresh_token: refreshToken, ...(scope === undefined ? {} : { scope }) }
    })
  }
  return { ...world, login, tokens, refresh }
}

const idTokenOf = ({ idToken }: IssuedToken): string => {
  if (idToken === null) throw new Error('there is no ID token')
  return idToken
}
const half = (alg: string, token: string) => {
  const hash = createHash(alg).update(token).digest()
  return hash.subarray(0, hash.length / 2).toString('base64url')
}

t.test('an ID token says who has logged in, when, how and for whom', async (t) => {
  const { tokens, alice, clock } = await open(t)
  clock.advance(40)
  const issued = await tokens({ nonce: 'a "nonce" ä' })
  const { sid, ...claims } = decodeJwt(idTokenOf(issued))
  t.strictSame(claims, {
    iss: ISSUER,
    sub: alice,
    aud: 'oidc',
    azp: 'oidc',
    exp: NOW / SECOND + 340,
    iat: NOW / SECOND + 40,
    auth_time: NOW / SECOND,
    nonce: 'a "nonce" ä',
    amr: ['pwd'],
    at_hash: half('sha256', issued.accessToken)
  })
  t.equal(sid, decodeJwt(issued.accessToken).sid)
  t.match(decodeProtectedHeader(idTokenOf(issued)), { alg: 'ES256', typ: 'JWT' })
  t.notOk('nonce' in decodeJwt(idTokenOf(await tokens())), 'no nonce comes back if none was sent')
})

t.test('only a session with the scope openid has ID tokens', async (t) => {
  const { tokens, refresh, login, codeOf, redeem } = await open(t)
  const without = await tokens({ scope: 'profile' })
  t.equal(without.idToken, null)
  t.equal((await refresh(without.refreshToken as string)).idToken, null)
  t.equal((await redeem(await codeOf(login))).idToken, null)
})

t.test('a renewed ID token keeps user, login and session, and has no nonce (OIDC Core §12.2)', async (t) => {
  const { tokens, refresh, clock } = await open(t)
  const first = await tokens({ nonce: 'n' })
  const { nonce, exp: _exp, iat: _iat, at_hash: _hash, ...same } = decodeJwt(idTokenOf(first))
  t.equal(nonce, 'n')
  clock.advance(3600)
  const second = await refresh(first.refreshToken as string)
  t.strictSame(decodeJwt(idTokenOf(second)), {
    ...same,
    iat: NOW / SECOND + 3600,
    exp: NOW / SECOND + 3900,
    at_hash: half('sha256', second.accessToken)
  })
  const narrowed = await refresh(second.refreshToken as string, 'profile')
  t.strictSame([narrowed.scopes, decodeJwt(idTokenOf(narrowed)).sub], [['profile'], same.sub])
})

for (const [alg, hash] of [
  ['RS256', 'sha256'],
  ['EdDSA', 'sha512']
] as const)
  t.test(`a client that registers ${alg} gets ID tokens with it, and access tokens as all others`, async (t) => {
    const { tokens, auth } = await open(t, { idTokenAlg: alg })
    const issued = await tokens()
    const { kid, alg: used } = decodeProtectedHeader(idTokenOf(issued))
    t.equal(used, alg)
    t.equal(decodeJwt(idTokenOf(issued)).at_hash, half(hash, issued.accessToken))
    t.ok((await auth.keys.jwks()).keys.some((key) => key.kid === kid && key.alg === alg))
    t.equal(decodeProtectedHeader(issued.accessToken).alg, 'ES256')
  })

t.test('the keys of an algorithm that are missing begin with the first ID token', async (t) => {
  const { tokens, auth, clock, store } = await open(t, { idTokenAlg: 'RS256' })
  clock.advance(300)
  await auth.clients.change(OPERATOR, 'oidc', { idTokenAlg: null })
  await auth.keys.rotate(OPERATOR)
  t.equal(await auth.keys.signingWith('RS256'), null)
  // A registration whose process ended before it created the keys.
  await store.clients.change(OPERATOR, { id: 'oidc', changes: { idTokenAlg: 'RS256' }, now: clock.now() })
  t.equal(decodeProtectedHeader(idTokenOf(await tokens())).alg, 'RS256')
})

t.test('an ID token is no access token, no refresh token and no code, and the reverse [RF8]', async (t) => {
  const { tokens, auth, refresh, redeem } = await open(t)
  const issued = await tokens()
  const idToken = idTokenOf(issued)
  t.match(await auth.accessTokens.verify(idToken), { kind: 'refused', code: 'malformed' })
  t.match(await auth.accessTokens.verify(idToken, { anyAudience: true }), { kind: 'refused', code: 'malformed' })
  t.equal(await auth.accessTokens.read(idToken), null)
  await t.rejects(refresh(idToken), { code: 'invalid_grant' })
  await t.rejects(redeem(idToken, {}, 'oidc'), { code: 'invalid_grant' })
  for (const other of [issued.accessToken, issued.refreshToken as string, '', 'a.b.c', `${idToken}.`, 'x'.repeat(9000)])
    t.equal(await auth.idTokens.readHint(other), null)
})

t.test('a hint is an ID token of this service, also an expired one, and one of a key that has expired', async (t) => {
  const { tokens, auth, alice, clock } = await open(t)
  const idToken = idTokenOf(await tokens())
  const sid = decodeJwt(idToken).sid
  const hint = { userId: alice, clientId: 'oidc', sessionId: sid }
  t.strictSame(await auth.idTokens.readHint(idToken), hint)
  clock.advance(86_400)
  t.strictSame(await auth.idTokens.readHint(idToken), hint)
  for (const claims of [{ iss: 'https://other.example' }, { sub: 7 }, { aud: ['oidc'] }, { sid: undefined }])
    t.equal(await auth.idTokens.readHint(signedAgain(idToken, claims)), null, JSON.stringify(claims))
  const [header, , signature] = idToken.split('.')
  const forged = Buffer.from(JSON.stringify({ ...decodeJwt(idToken), sub: 'somebody' })).toString('base64url')
  t.equal(await auth.idTokens.readHint(`${header}.${forged}.${signature}`), null)

  await auth.keys.rotate(OPERATOR)
  clock.advance(3660)
  await auth.keys.maintain()
  t.equal((await auth.keys.page({ after: null, limit: 9 })).items.filter(({ state }) => state === 'retired').length, 1)
  t.strictSame(await auth.idTokens.readHint(idToken), hint)
})

for (const state of ['signing', 'verifying'])
  t.test(`an ID token of a compromised key that was ${state} is no hint`, async (t) => {
    const { tokens, auth, clock } = await open(t)
    clock.advance(300)
    const idToken = idTokenOf(await tokens())
    const { kid } = decodeProtectedHeader(idToken)
    if (state === 'verifying') await auth.keys.rotate(OPERATOR)
    t.not(await auth.idTokens.readHint(idToken), null)
    await auth.keys.retire(OPERATOR, kid as string, { compromised: true })
    t.equal(await auth.idTokens.readHint(idToken), null)
    clock.advance(4000)
    t.equal(await auth.idTokens.readHint(idToken), null)
  })

t.test('id_token_hint names the user that the app expects', async (t) => {
  const { auth, tokens, ask, login, createUser, signIn } = await open(t)
  const hint = idTokenOf(await tokens())
  await createUser('bob')
  const other = await signIn('bob')
  const request = { client_id: 'oidc', scope: 'openid', id_token_hint: hint }
  t.match(await ask([other, login], request), { kind: 'respond', response: { code: /^[\w-]{43}$/ } })
  t.match(await ask([other], request), { kind: 'sign_in' })
  await t.rejects(ask([other], { ...request, prompt: 'none' }), { code: 'login_required' })
  await t.rejects(ask([other], { ...request, id_token_hint: 'a.b.c' }), { code: 'invalid_request' })
  const attempt = await auth.authorizationRequests.read(requestOf(request))
  const signedIn = auth.authorizations.proceed(OPERATOR, { ...attempt, login: other })
  await t.rejects(signedIn, { code: 'login_required' }, 'another user has signed in')
  const form = await auth.signIn.form(requestOf({ ...request, login_hint: 'mallory' }))
  t.match(
    form,
    { kind: 'sign_in', username: 'alice' },
    'the form has the name of this user, and not the one of login_hint'
  )
})
