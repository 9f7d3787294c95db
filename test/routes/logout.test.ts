import t from 'tap'
import { formOf, pkce } from '../jar.ts'
import { CALLBACK, openSignIn } from './sign-in-world.ts'

const GOODBYE = 'https://app.example/goodbye?a=b'
const world = await openSignIn(t)
const { register, codeOf, redeem, inject, createUser } = world
const oidc = {
  applicationType: 'native' as const,
  scopes: ['openid', 'profile', 'account'],
  postLogoutRedirectUris: [GOODBYE, 'com.example.app:/out']
}
await register('first', { ...oidc, firstParty: true })
await register('third', { ...oidc, requireConsent: false, redirectUris: [CALLBACK] })
await createUser('bob')

type Tokens = { access_token: string; id_token: string; refresh_token: string }

/** Signs a user in at a client, in the browser. */
async function enter(jar: ReturnType<typeof world.jar>, client = 'first'): Promise<Tokens> {
  const { verifier, challenge } = pkce()
  const code = await codeOf({ client_id: client, scope: 'openid profile account', code_challenge: challenge }, jar)
  return (await redeem(code, verifier, { client_id: client })).json()
}
const logoutUrl = (params: Record<string, string>) => `/logout?${new URLSearchParams(params)}`
const isValid = async ({ access_token: token }: Tokens) =>
  (await inject({ url: '/users/me', headers: { authorization: `Bearer ${token}` } })).statusCode === 200
/** Returns the status and the target of a redirect, or of a page that goes on by itself. */
const went = ({ statusCode, headers }: { statusCode: number; headers: { location?: unknown } }) => [
  statusCode,
  headers.location
]

t.test('GET asks, and changes nothing; the form ends the login, its first-party sessions and the cookie', async (t) => {
  const jar = world.jar()
  const tokens = await enter(jar)
  const state = 'ä +%2B&x=#"'
  const url = logoutUrl({ id_token_hint: tokens.id_token, post_logout_redirect_uri: GOODBYE, state })
  const page = await jar.get(url)
  t.equal(page.statusCode, 200)
  t.match(page.headers['content-security-policy'], "form-action 'self';")
  t.notMatch(formOf(page).action, 'id_token_hint')
  t.equal((await jar.get(url)).statusCode, 200)
  t.equal(await isValid(tokens), true)

  const answer = await jar.submit(page, {})
  t.strictSame(went(answer), [200, `${GOODBYE}&state=${encodeURIComponent(state)}`])
  t.equal(await isValid(tokens), false)
  t.equal(
    (await world.token({ grant_type: 'refresh_token', client_id: 'first', refresh_token: tokens.refresh_token }))
      .statusCode,
    400
  )
  t.equal(jar.cookies.has('latchkey'), false)
  t.match((await jar.get('/account')).headers.location, /\/sign-in$/)
})

t.test('the sessions of clients that are not first-party continue', async (t) => {
  const jar = world.jar()
  const { refresh_token } = await enter(jar, 'third')
  await jar.submit(await jar.get('/logout'), {})
  t.equal((await world.token({ grant_type: 'refresh_token', client_id: 'third', refresh_token })).statusCode, 200)
})

t.test('without a client the user sees that they are signed out', async (t) => {
  const jar = world.jar()
  await enter(jar)
  const answer = await jar.submit(await jar.get('/logout'), {})
  t.strictSame(went(answer), [303, '/signed-out'])
  const page = await jar.get('/signed-out')
  t.match([page.statusCode, page.headers['content-type']], [200, /^text\/html/])
  t.strictSame(went(await jar.get('/logout')), [303, '/signed-out'], 'nothing is left to end')
})

t.test('the browser goes only to a URI that the client has registered, character by character', async (t) => {
  const jar = world.jar()
  const { id_token: hint } = await enter(jar)
  const { id_token: ofThird } = await enter(jar, 'third')
  const uri = { post_logout_redirect_uri: GOODBYE }
  const refused: Record<string, string>[] = [
    uri,
    { ...uri, client_id: 'nobody' },
    { ...uri, client_id: 'third', id_token_hint: hint },
    { ...uri, client_id: 'first', id_token_hint: 'a.b.c' },
    { client_id: 'first', post_logout_redirect_uri: CALLBACK },
    ...[
      `${GOODBYE}&`,
      'https://app.example/goodbye',
      'https://app.example/goodbye?a=B',
      'HTTPS://app.example/goodbye?a=b',
      'https://app.example:443/goodbye?a=b',
      'https://app.example.evil.example/goodbye?a=b',
      'https://app.example@evil.example/goodbye?a=b',
      '//app.example/goodbye?a=b',
      'javascript:alert(1)'
    ].map((post_logout_redirect_uri) => ({ client_id: 'first', post_logout_redirect_uri }))
  ]
  for (const params of refused) {
    const page = await jar.get(logoutUrl(params))
    t.equal(page.statusCode, 200)
    t.notMatch(formOf(page).action, 'post_logout_redirect_uri', JSON.stringify(params))
    t.match((await world.jar().get(logoutUrl(params))).headers.location, /^\/signed-out\?.*stays=1$/)
  }
  for (const params of [
    { client_id: 'first' },
    { id_token_hint: hint },
    { id_token_hint: ofThird, client_id: 'third' }
  ])
    for (const target of [GOODBYE, 'com.example.app:/out']) {
      const url = logoutUrl({ ...params, post_logout_redirect_uri: target })
      t.strictSame(went(await world.jar().get(url)), [303, target], 'a browser without a login')
      t.match(formOf(await jar.get(url)).action, encodeURIComponent(target))
    }
})

t.test('after a logout that returns to no registered URI the page says so, and the log says why', async (t) => {
  const lines: string[] = []
  const logged = await openSignIn(t, { logger: { level: 'info', stream: { write: (line) => void lines.push(line) } } })
  await logged.register('first', oidc)
  const jar = logged.jar()
  await jar.signIn('/sign-in')
  const url = (client_id: string) => logoutUrl({ client_id, post_logout_redirect_uri: CALLBACK })
  const left = await jar.submit(await jar.get(url('first')), {})
  t.strictSame(went(left), [303, '/signed-out?client_id=first&stays=1'])
  t.match(
    (await jar.get(String(left.headers.location))).body,
    'an address that is not registered for it, so you stay here'
  )
  t.notMatch((await jar.get('/signed-out?client_id=first')).body, 'registered')
  t.strictSame(went(await jar.get(url('nobody'))), [303, '/signed-out?stays=1'])
  const reasons = lines.map((line) => JSON.parse(line)).filter(({ refused }) => refused !== undefined)
  t.strictSame(
    reasons.map(({ refused, client }) => [refused, client]),
    [
      ['logout_uri_unknown', 'first'],
      ['logout_client_unknown', undefined]
    ]
  )
  t.notMatch(lines.join(''), CALLBACK)
})

t.test('a form of another site ends nothing, and a request of a client may be a form', async (t) => {
  const jar = world.jar()
  const tokens = await enter(jar)
  const page = await jar.get('/logout')
  for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }, { origin: 'null' }])
    t.equal((await jar.submit(page, {}, headers)).statusCode, 403)
  const { action, fields } = formOf(page)
  t.equal((await jar.post(action, {})).statusCode, 403)
  t.equal((await jar.post(`${action}?client_id=first`, fields)).statusCode, 403, 'the token is for another target')
  t.equal((await jar.get(action)).statusCode, 405)

  const params = { id_token_hint: tokens.id_token, post_logout_redirect_uri: GOODBYE, state: 's' }
  const foreign = await jar.post('/logout', params, { origin: 'https://app.example', 'sec-fetch-site': 'cross-site' })
  t.strictSame(went(foreign), [303, logoutUrl(params)])
  t.strictSame(went(await jar.post('/logout', '')), [303, '/logout'])
  t.equal(await isValid(tokens), true)
})

t.test('with several logins the one of the hint ends, else the one used last', async (t) => {
  const jar = world.jar()
  const { id_token: hint } = await enter(jar)
  await jar.signIn('/sign-in', 'bob')
  t.match((await jar.get('/logout')).body, 'bob')
  const page = await jar.get(logoutUrl({ id_token_hint: hint }))
  t.match(page.body, 'alice')
  await jar.submit(page, {})
  t.match((await jar.get('/account')).body, 'bob')
  t.match(went(await jar.get(logoutUrl({ id_token_hint: hint }))), [303, /^\/signed-out/], 'bob stays signed in')
})

t.test('the form works once, and a repeated parameter counts as none', async (t) => {
  const jar = world.jar()
  await enter(jar)
  const page = await jar.get('/logout')
  await jar.submit(page, {})
  t.equal((await jar.submit(page, {})).statusCode, 403)
  const twice = `state=a&state=b&${new URLSearchParams({ client_id: 'first', post_logout_redirect_uri: GOODBYE })}`
  t.strictSame(went(await jar.get(`/logout?${twice}`)), [303, GOODBYE])
})
