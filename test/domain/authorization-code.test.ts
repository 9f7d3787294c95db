import t from 'tap'
import type { AuthorizationParams } from '../../src/domain/authorization-requests.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { ClientEdit } from '../../src/domain/clients.ts'
import { OAuthError } from '../../src/domain/errors.ts'
import { CALLBACK, openSignIn, requestOf, VERIFIER } from './sign-in-world.ts'

const REFUSED = new OAuthError('invalid_grant', 'The code is not valid')

t.test('a code is redeemed once for tokens of the user, which its second use revokes [AC5]', async (t) => {
  const { auth, signIn, codeOf, redeem, alice, store, events } = await openSignIn(t)
  const login = await signIn()
  const code = await codeOf(login)
  t.equal(Buffer.from(code, 'base64url').length, 32, '256 bits')
  const issued = await redeem(code)
  t.strictSame(issued.scopes, ['profile'])
  const principal = await auth.accessTokens.verify(issued.accessToken)
  t.match(principal, { kind: 'user', sub: alice, clientId: 'app', scopes: ['profile'] })
  const [session, ...others] = await store.sessions.list(alice, { after: null, limit: 2 }, login.authAt)
  t.match(session, {
    id: 'sid' in principal ? principal.sid : '',
    loginId: login.id,
    amr: ['pwd'],
    authAt: login.authAt
  })
  t.strictSame(others, [])
  await t.rejects(redeem(code), REFUSED)
  t.match(await auth.accessTokens.verify(issued.accessToken), { kind: 'refused', code: 'revoked' })
  t.match(events.at(-1), { type: 'code.replayed', outcome: 'failure' })
})

t.test('a request that does not fit makes the code invalid [AC4 AC7]', async (t) => {
  const { signIn, codeOf, redeem, register } = await openSignIn(t)
  await register('other')
  await register('loose', { requirePkce: false })
  const login = await signIn()
  const faults: Record<string, [Record<string, string | undefined>, string?]> = {
    'no verifier': [{ code_verifier: undefined }],
    'a wrong verifier': [{ code_verifier: 'w'.repeat(43) }],
    'a short verifier': [{ code_verifier: 'short' }],
    'no redirect URI': [{ redirect_uri: undefined }],
    'another redirect URI': [{ redirect_uri: `${CALLBACK}?` }],
    'another client': [{}, 'other']
  }
  for (const [name, [more, client]] of Object.entries(faults)) {
    const code = await codeOf(login)
    await t.rejects(redeem(code, more, client), REFUSED, name)
    await t.rejects(redeem(code), REFUSED, `${name}, then a right one`)
  }
  const plain = { client_id: 'loose', code_challenge: undefined, code_challenge_method: undefined }
  const unsolicited = await codeOf(login, plain)
  await t.rejects(redeem(unsolicited, {}, 'loose'), REFUSED, 'a verifier without a challenge')
  t.ok(await redeem(await codeOf(login, plain), { code_verifier: undefined }, 'loose'))
  const implied = await codeOf(login, { redirect_uri: undefined })
  t.ok(await redeem(implied, { redirect_uri: undefined }), 'a redirect URI that was not sent need not be sent again')
})

t.test('a code that was stored while its redirect URI was removed, or PKCE became required, is invalid', async (t) => {
  const { auth, signIn, redeem, register } = await openSignIn(t)
  const login = await signIn()
  const plain = { code_challenge: undefined, code_challenge_method: undefined }
  const changes: [ClientEdit, AuthorizationParams, Record<string, undefined>][] = [
    [{ redirectUris: ['https://app.example/other'] }, {}, {}],
    [{ requirePkce: true }, plain, { code_verifier: undefined }]
  ]
  for (const [index, [change, params, form]] of changes.entries()) {
    const id = `changing${index}`
    await register(id, { requireConsent: false, requirePkce: false })
    const read = await auth.authorizationRequests.read(requestOf({ client_id: id, ...params }))
    await auth.clients.change(OPERATOR, id, change)
    const step = await auth.authorizations.start(OPERATOR, { ...read, logins: [login] })
    const code = step.kind === 'respond' && 'code' in step.response ? step.response.code : ''
    t.not(code, '')
    await t.rejects(redeem(code, form, id), REFUSED)
  }
})

t.test('the client of /docs redeems a code for the pages, whose redirect URI is not stored', async (t) => {
  const { auth, signIn, codeOf } = await openSignIn(t)
  const { redirectUris } = await auth.clients.get('docs')
  const [redirect_uri] = redirectUris as [string]
  const code = await codeOf(await signIn(), { client_id: 'docs', redirect_uri })
  const clientAuth = await auth.clientAuthentication.authenticate(OPERATOR, {
    method: 'none',
    ids: ['docs'],
    secret: null
  })
  const params = { grant_type: 'authorization_code', code, redirect_uri, code_verifier: VERIFIER }
  t.match(await auth.exchange(OPERATOR, { clientAuth, params }), { scopes: ['profile'] })
})

t.test('a code is valid for a minute [AC6]', async (t) => {
  const { signIn, codeOf, redeem, clock } = await openSignIn(t)
  const login = await signIn()
  const [early, late] = [await codeOf(login), await codeOf(login)]
  clock.advance(59)
  t.ok(await redeem(early))
  clock.advance(1)
  await t.rejects(redeem(late), REFUSED)
  await t.rejects(redeem('unknown'), REFUSED)
})

t.test('a code is invalid after the end of its login, and after its user was disabled [SC5]', async (t) => {
  const { auth, signIn, codeOf, redeem, createUser } = await openSignIn(t)
  const end = await signIn()
  const ended = await codeOf(end)
  await auth.logins.end(OPERATOR, { id: end.id, userId: end.userId })
  await t.rejects(redeem(ended), REFUSED)
  const bob = await createUser('bob')
  const code = await codeOf(await signIn('bob'))
  await auth.users.change(OPERATOR, bob, { disabled: true })
  await t.rejects(redeem(code), REFUSED)
})

t.test('a session has the scopes of all resources, and each token is for one [SC3]', async (t) => {
  const { auth, signIn, redeem, register, createUser, ask, decide } = await openSignIn(t)
  const names = ['orders', 'stock']
  for (const id of names) {
    const scopes = [{ name: `${id}:read`, description: `Read ${id}` }]
    await auth.resources.create(OPERATOR, { id, name: id, identifier: `https://${id}.example`, scopes })
  }
  const scopes = ['orders:read', 'stock:read']
  await auth.roles.create(OPERATOR, { name: 'clerk', description: 'Reads', scopes })
  await createUser('bob', ['clerk'])
  await register('shop', { scopes: ['openid', ...scopes], resources: names })
  const login = await signIn('bob')
  const resource = names.map((id) => `https://${id}.example`)
  const both = { client_id: 'shop', scope: scopes.join(' '), resource }
  const code = async (more: AuthorizationParams = {}) => {
    const step = await ask([login], { ...both, ...more })
    const response = step.kind === 'respond' ? step.response : await decide(step, login, scopes)
    return 'code' in response ? response.code : ''
  }
  t.match(await redeem(await code(), {}, 'shop'), { scopes: ['orders:read'] }, 'the first resource by default')
  const second = await redeem(await code(), { resource: [resource[1] as string] }, 'shop')
  t.strictSame(second.scopes, ['stock:read'])
  await t.rejects(redeem(await code(), { resource: ['https://other.example'] }, 'shop'), { code: 'invalid_target' })
  const identity = await code({ scope: 'openid', resource: [resource[0] as string] })
  const other = redeem(identity, { resource: [resource[1] as string] }, 'shop')
  await t.rejects(other, { code: 'invalid_target' }, 'the request did not name it')
  const renewed = await auth.exchange(OPERATOR, {
    clientAuth: {
      client: await auth.clients.get('shop'),
      method: 'client_secret_basic',
      registered: [],
      signing: [],
      rev: 0
    },
    params: {
      grant_type: 'refresh_token',
      refresh_token: second.refreshToken as string,
      resource: [resource[0] as string]
    }
  })
  t.strictSame(renewed.scopes, ['orders:read'], 'the session has the scopes of both')

  const asked = await ask([login], { ...both, prompt: 'consent' })
  const response = await decide(asked, login, ['stock:read'])
  const partial = await redeem('code' in response ? response.code : '', {}, 'shop')
  t.match(partial, { scopes: ['stock:read'] }, 'the first resource of which a scope was allowed')
})

t.test(
  'a change that takes something from a client makes its codes invalid, also when it is undone [SC6]',
  async (t) => {
    const { auth, signIn, codeOf, redeem, register } = await openSignIn(t)
    const login = await signIn()
    const OTHER = 'https://other.example/'
    const changes: Record<string, [change: ClientEdit, undo: ClientEdit]> = {
      disabling: [{ disabled: true }, { disabled: false }],
      'a removed redirect URI': [{ redirectUris: [OTHER] }, { redirectUris: [CALLBACK, OTHER] }],
      'another removed redirect URI': [{ redirectUris: [CALLBACK] }, {}],
      'a removed scope': [{ scopes: ['profile'] }, { scopes: ['profile', 'openid'] }],
      'a removed grant': [
        { grantTypes: ['authorization_code'] },
        { grantTypes: ['authorization_code', 'refresh_token'] }
      ],
      'PKCE from now on': [{ requirePkce: true }, { requirePkce: false }]
    }
    for (const [index, [name, [change, undo]]] of Object.entries(changes).entries()) {
      const client_id = `app-${index}`
      const scopes = ['profile', 'openid']
      await register(client_id, { redirectUris: [CALLBACK, OTHER], scopes, requirePkce: false })
      const code = await codeOf(login, { client_id })
      await auth.clients.change(OPERATOR, client_id, change)
      await auth.clients.change(OPERATOR, client_id, undo)
      await t.rejects(redeem(code, {}, client_id), REFUSED, name)
    }
    const code = await codeOf(login)
    await auth.clients.change(OPERATOR, 'app', { name: 'Another', redirectUris: [CALLBACK, OTHER] })
    t.ok(await redeem(code), 'a change that takes nothing leaves the codes')
  }
)

t.test('a code of a request without PKCE is redeemed with a warning [AC3]', async (t) => {
  const { signIn, codeOf, redeem, register, events } = await openSignIn(t)
  await register('old', { requirePkce: false })
  const plain = { client_id: 'old', code_challenge: undefined, code_challenge_method: undefined }
  const before = events.length
  await redeem(await codeOf(await signIn(), plain), { code_verifier: undefined }, 'old')
  const warning = events.slice(before).find(({ type }) => type === 'client.without_pkce')
  t.match(warning, { subject: { client: 'old' }, reason: 'the authorization request had no code_challenge' })
})
