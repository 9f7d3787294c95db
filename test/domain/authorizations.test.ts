import t from 'tap'
import { AuthorizationError, NoReturn } from '../../src/domain/authorization-errors.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { CALLBACK, openSignIn, requestOf } from './sign-in-world.ts'

const MINUTE = 60

t.test('a browser without a login must sign in, and then gets a code', async (t) => {
  const { ask, signIn, register } = await openSignIn(t)
  await register('own', { firstParty: true })
  t.strictSame(await ask([], { client_id: 'own' }), { kind: 'sign_in', again: null })
  const login = await signIn()
  const step = await ask([login], { client_id: 'own' })
  t.match(step, { kind: 'respond', response: { returnAddress: { redirectUri: CALLBACK, state: 'a state' } } })
})

t.test('prompt=none never asks: it gets a code or the error that OpenID Connect names', async (t) => {
  const { ask, signIn, decide, clock } = await openSignIn(t)
  const none = { prompt: 'none' }
  const refused = (code: string) => ({ name: 'AuthorizationError', code })
  await t.rejects(ask([], none), refused('login_required'))
  const login = await signIn()
  await t.rejects(ask([login], none), refused('consent_required'))
  await decide(await ask([login]), login, ['profile'])
  t.match(await ask([login], none), { kind: 'respond' })
  t.match(await ask([login, await signIn()], none), { kind: 'respond' }, 'with several logins, the last used one')
  clock.advance(MINUTE)
  await t.rejects(ask([login], { ...none, max_age: '59' }), refused('login_required'))
  t.match(await ask([login], { ...none, max_age: '60' }), { kind: 'respond' })
})

t.test('prompt=login, an older login than max_age, and prompt=select_account ask again', async (t) => {
  const { ask, signIn, clock } = await openSignIn(t)
  const login = await signIn()
  t.strictSame(await ask([login], { prompt: 'login' }), { kind: 'sign_in', again: login })
  t.match(await ask([login], { max_age: '0' }), { kind: 'consent' })
  clock.advance(MINUTE)
  t.strictSame(await ask([login], { max_age: '59' }), { kind: 'sign_in', again: login })
  t.strictSame(await ask([login], { prompt: 'select_account' }), { kind: 'choose', logins: [login] })
  t.strictSame(await ask([], { prompt: 'select_account' }), { kind: 'sign_in', again: null })
})

t.test('a browser with several accounts chooses one, unless login_hint names one of them', async (t) => {
  const { ask, signIn, createUser, auth } = await openSignIn(t)
  await createUser('bob')
  const [alice, bob] = [await signIn('alice'), await signIn('bob')]
  const choice = { kind: 'choose', logins: [bob, alice] }
  t.strictSame(await ask([bob, alice]), choice)
  t.strictSame(await ask([bob, alice], { login_hint: 'carol' }), choice, 'the hint does not stand for a choice')
  const step = await ask([bob, alice], { login_hint: 'ALICE' })
  if (step.kind !== 'consent') throw new Error(step.kind)
  t.equal((await auth.authorizations.consentQuestion(step.id, [alice])).user.username, 'alice')
})

t.test('consent is remembered for a confidential client and the scopes that were allowed', async (t) => {
  const { ask, signIn, decide, alice, auth, register, store } = await openSignIn(t)
  await auth.roles.change(OPERATOR, 'user', { scopes: ['profile', 'users:read'] })
  await register('wide', { scopes: ['profile', 'users:read'] })
  const login = await signIn()
  const wide = { client_id: 'wide' }
  await decide(await ask([login], wide), login, ['profile'])
  t.match(await ask([login], wide), { kind: 'respond' })
  t.match(await ask([login], { ...wide, scope: 'profile users:read' }), { kind: 'consent' })
  t.match(await ask([login], { ...wide, prompt: 'consent' }), { kind: 'consent' })
  t.strictSame((await store.consents.get(alice, 'wide'))?.scopes, ['profile'])
})

t.test(
  'a public client is asked about each time unless its redirect URI is https, a first-party client never [AC9]',
  async (t) => {
    const { ask, signIn, decide, register } = await openSignIn(t)
    const local = 'http://127.0.0.1/callback'
    await register('cli', { method: 'none', redirectUris: [local, CALLBACK], applicationType: 'native' })
    await register('own', { firstParty: true, redirectUris: [local] })
    await register('trusted', { requireConsent: false })
    const login = await signIn()
    const cli = { client_id: 'cli', redirect_uri: 'http://127.0.0.1:50123/callback' }
    for (const _ of [1, 2]) await decide(await ask([login], cli), login, ['profile'])
    t.match(await ask([login], { client_id: 'cli' }), { kind: 'respond' }, 'with https nobody else gets the code')
    t.match(await ask([login], { client_id: 'own', redirect_uri: local, prompt: 'consent' }), { kind: 'respond' })
    t.match(await ask([login], { client_id: 'trusted' }), { kind: 'respond' })
  }
)

t.test('a user who refuses ends the question, and cannot allow more than the client asked for', async (t) => {
  const { ask, signIn, decide, auth, createUser, store, alice } = await openSignIn(t)
  const login = await signIn()
  const step = await ask([login])
  t.strictSame(await decide(step, login, null), {
    returnAddress: (await auth.authorizationRequests.read(requestOf())).request,
    error: 'access_denied',
    description: 'The user refused'
  })
  await t.rejects(decide(step, login, ['profile']), new NoReturn('attempt_over'))
  t.match(await decide(await ask([login]), login, []), { error: 'access_denied' }, 'nothing is left')
  t.match(await decide(await ask([login]), login, ['profile', 'users:read']), { code: String })
  t.strictSame((await store.consents.get(alice, 'app'))?.scopes, ['profile'], 'only scopes that the client asked for')
  await createUser('bob')
  const bob = await signIn('bob')
  await t.rejects(decide(await ask([login], { prompt: 'consent' }), bob, ['profile']), new NoReturn('attempt_over'))
})

t.test('a question for consent expires', async (t) => {
  const { ask, signIn, decide, clock } = await openSignIn(t)
  const login = await signIn()
  const step = await ask([login])
  clock.advance(30 * MINUTE)
  await t.rejects(decide(step, login, ['profile']), new NoReturn('attempt_over'))
})

t.test('a request without a right client or redirect URI goes back to nobody [AC1]', async (t) => {
  const { ask, register, auth } = await openSignIn(t)
  await register('two', { redirectUris: [CALLBACK, 'https://app.example/'] })
  await register('off')
  await auth.clients.change(OPERATOR, 'off', { disabled: true })
  const cases: [Record<string, string | string[] | undefined>, string][] = [
    [{ client_id: undefined }, 'client_missing'],
    [{ client_id: ['app', 'app'] }, 'client_missing'],
    [{ client_id: 'unknown' }, 'client_unknown'],
    [{ client_id: 'off' }, 'client_unknown'],
    [{ redirect_uri: `${CALLBACK}/` }, 'redirect_uri_unknown'],
    [{ redirect_uri: [CALLBACK, CALLBACK] }, 'redirect_uri_unknown'],
    [{ client_id: 'two', redirect_uri: undefined }, 'redirect_uri_missing']
  ]
  for (const [more, reason] of cases) await t.rejects(ask([], more), { name: 'NoReturn', reason }, reason)
  const whys: [Record<string, string | string[] | undefined>, string][] = [
    [
      { redirect_uri: 'https://me:secret@evil.example/"\u202e?code=secret' },
      'the client app has not registered "https://evil.example/\\"\\u202e"'
    ],
    [{ redirect_uri: [CALLBACK, CALLBACK] }, 'the client app has not registered several redirect URIs at once'],
    [{ client_id: 'two', redirect_uri: undefined }, 'it has no redirect URI, and the client two has not exactly one']
  ]
  for (const [more, why] of whys)
    await t.rejects(ask([], more), { message: `The request of a browser was refused: ${why}` }, why)
  t.match(await ask([], { redirect_uri: undefined }), { kind: 'sign_in' }, 'the only redirect URI is the default')
})

t.test('every other fault goes back to the client, with the code that the RFCs name [AC2 AC3]', async (t) => {
  const { ask, register, signIn } = await openSignIn(t)
  await register('worker', { grantTypes: ['client_credentials'] })
  const cases: [Record<string, string | string[] | undefined>, string][] = [
    [{ response_type: undefined }, 'invalid_request'],
    [{ response_type: 'token' }, 'unsupported_response_type'],
    [{ response_type: 'code id_token' }, 'unsupported_response_type'],
    [{ response_mode: 'fragment' }, 'invalid_request'],
    [{ client_id: 'worker' }, 'unauthorized_client'],
    [{ code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
    [{ code_challenge_method: undefined }, 'invalid_request'],
    [{ code_challenge_method: 'plain' }, 'invalid_request'],
    [{ code_challenge: 'short' }, 'invalid_request'],
    [{ request: 'e30.e30.' }, 'request_not_supported'],
    [{ request_uri: 'https://app.example/request' }, 'request_uri_not_supported'],
    [{ registration: '{}' }, 'registration_not_supported'],
    [{ prompt: 'none login' }, 'invalid_request'],
    [{ prompt: 'create' }, 'invalid_request'],
    [{ max_age: '-1' }, 'invalid_request'],
    [{ nonce: ['a', 'b'] }, 'invalid_request'],
    [{ id_token_hint: 'e30.e30.' }, 'invalid_request'],
    [{ scope: 'x'.repeat(1025) }, 'invalid_scope']
  ]
  for (const [more, code] of cases) {
    const error = await ask([], more).then(
      () => null,
      (reason) => reason
    )
    t.match(error, { name: 'AuthorizationError', code }, JSON.stringify(more))
    t.ok(error instanceof AuthorizationError && error.returnAddress.redirectUri === CALLBACK)
    t.match(
      error.message,
      /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/,
      'only characters of error_description (RFC 6749 §4.1.2.1)'
    )
  }
  const login = await signIn()
  await t.rejects(ask([login], { scope: 'unknown:scope' }), { code: 'invalid_scope' })
  await t.rejects(ask([login], { resource: 'https://unknown.example' }), { code: 'invalid_target' })
})
