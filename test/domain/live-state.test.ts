import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { LiveState } from '../../src/domain/ports/revocations.ts'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import { openDomain, signedAgain } from './open.ts'

const HOUR = 3600
const SCOPES = 'profile users:read'
const UNKNOWN_ID = '01234567-89ab-7def-8123-456789abcdef'

/** Opens the domain with a role `reader` (scope `users:read`) and a public client `other`. */
async function open(t: Test) {
  const domain = await openDomain(t)
  const { auth, store, createUser, login } = domain
  await auth.roles.create(OPERATOR, { name: 'reader', description: 'Reads', scopes: ['users:read'] })
  await auth.clients.create(OPERATOR, {
    id: 'other',
    name: 'Other',
    method: 'none',
    firstParty: true,
    grantTypes: ['password'],
    scopes: SCOPES.split(' ')
  })
  let users = 0
  const verdict = (token: string) => auth.accessTokens.verify(token)
  const verify = async (token: string) => {
    const principal = await verdict(token)
    return principal.kind === 'refused' ? null : principal
  }
  return {
    ...domain,
    verify,
    /** Returns the principal, or why there is none. */
    verdict,
    /** Logs a new user in. */
    async enter(roles = ['admin', 'user', 'reader']) {
      const username = `user${users++}`
      await createUser(username, roles)
      const { accessToken: token } = await login(username, { scope: SCOPES })
      return { token, claims: decodeJwt<AccessTokenClaims & { sid: string }>(token) }
    },
    /** Checks that tokens are valid before a change and refused after it. The first check makes the verifier remember them. */
    async ends(t: Test, tokens: string[], change: () => unknown) {
      for (const token of tokens) t.not(await verify(token), null)
      await change()
      for (const token of tokens) t.equal(await verify(token), null)
    },
    /** Changes the state that the store returns from now on. Returns a function that undoes the change. */
    changeState(changes: (state: LiveState) => Partial<LiveState>) {
      const { state } = store
      store.state = async (ref) => {
        const current = await state(ref)
        return { ...current, ...changes(current) }
      }
      return () => {
        store.state = state
      }
    }
  }
}

t.test('a token is refused if its session, its user and its client do not belong together [SC4]', async (t) => {
  const { enter, verify } = await open(t)
  const [mallory, alice] = [await enter(), await enter()]
  const { sub, sid } = alice.claims
  const own = mallory.claims
  t.not(await verify(signedAgain(mallory.token, { jti: 'another' })), null)
  for (const forgery of [
    { sid },
    { sub },
    { client_id: 'other' },
    { client_id: 'nobody' },
    { sid: UNKNOWN_ID },
    { sid: 'unknown' },
    { sid: own.sid.toUpperCase() },
    { sid: ` ${own.sid}` },
    { sid: `${own.sid}' or '1'='1` },
    { sub: own.sub.toUpperCase() },
    { sub: 'docs' },
    { sub: UNKNOWN_ID }
  ])
    t.equal(await verify(signedAgain(mallory.token, forgery)), null, JSON.stringify(forgery))
})

t.test('a claim that no database can store is refused [JW10]', async (t) => {
  const { enter, verify } = await open(t)
  const { token, claims } = await enter()
  for (const text of ['\0', `${claims.sid}\0`, '\ud800', `${claims.sid}\udfff`, '\u{10ffff}', 'x'.repeat(4000)]) {
    for (const name of ['sid', 'sub', 'client_id'])
      t.equal(await verify(signedAgain(token, { [name]: text })), null, `${name} ${JSON.stringify(text.slice(0, 50))}`)
    t.equal(await verify(signedAgain(token, { sid: undefined, sub: text, client_id: text })), null)
  }
})

const REVOKING_CHANGES: [name: string, id: string, why: string, change: (state: LiveState) => Partial<LiveState>][] = [
  [
    'its session has ended',
    'SC5',
    'its session has ended',
    ({ session }) => ({ session: session && { ...session, endedAt: 1 } })
  ],
  [
    'the earlier tokens of its session were revoked',
    'UA4',
    'the earlier tokens of its session were revoked',
    ({ session }) => ({ session: session && { ...session, revokedSeq: 1000 } })
  ],
  ['its session was deleted', 'SC5', 'its session does not exist', () => ({ session: null })],
  [
    'its session is idle for too long',
    'RF7',
    'its session has expired',
    ({ session }) => ({ session: session && { ...session, idleExpiresAt: 1 } })
  ],
  [
    'its session is too old',
    'RF7',
    'its session has expired',
    ({ session }) => ({ session: session && { ...session, expiresAt: 1 } })
  ],
  ['its user is disabled', 'SC5', 'its user is disabled', ({ user }) => ({ user: user && { ...user, disabledAt: 1 } })],
  ['its user was deleted', 'SC5', 'its user does not exist', () => ({ user: null })],
  [
    'its client is disabled',
    'SC6',
    'its client is disabled',
    ({ client }) => ({ client: client && { ...client, disabledAt: 1 } })
  ],
  ['its client was deleted', 'SC6', 'its client does not exist', () => ({ client: null })],
  [
    'the tokens of its client were revoked',
    'SC6',
    'its client was changed after it was issued',
    ({ client }) => ({ client: client && { ...client, revokedSeq: 1000 } })
  ],
  ['it was revoked', 'IR5', 'it was revoked', () => ({ revoked: true })],
  ['its key is retired', 'KS2', 'its key is retired', () => ({ keyState: 'retired' })],
  ['its key was deleted', 'KS2', 'its key is retired', () => ({ keyState: null })]
]

for (const [name, id, why, change] of REVOKING_CHANGES)
  t.test(`a remembered token is refused as soon as ${name}, and the reason says so [${id}]`, async (t) => {
    const { enter, verify, verdict, ends, changeState } = await open(t)
    const { token } = await enter()
    const seen = signedAgain(token, { jti: 'seen' })
    let undo = () => {}
    await ends(t, [token, seen], () => {
      undo = changeState(change)
    })
    t.equal(await verify(signedAgain(token, { jti: 'never seen' })), null)
    t.strictSame(await verdict(token), {
      kind: 'refused',
      code: 'revoked',
      message: `The token is no longer valid: ${why}`
    })
    undo()
    t.not(await verify(token), null)
  })

t.test('a key verifies until it is retired [KS2]', async (t) => {
  const { enter, verify, changeState } = await open(t)
  const { token } = await enter()
  for (const keyState of ['next', 'signing', 'verifying'] as const) {
    const undo = changeState(() => ({ keyState }))
    t.not(await verify(token), null, keyState)
    undo()
  }
})

t.test('ending a session or deleting a user revokes their tokens, and no other tokens [SC5]', async (t) => {
  const { auth, enter, verify, ends, createUser, store, clock } = await open(t)
  await createUser('admin', ['admin'])
  const [ended, deleted, another] = [await enter(), await enter(), await enter()]
  await ends(t, [ended.token], () => store.sessions.end(OPERATOR, { id: ended.claims.sid, now: clock.now() }))
  await ends(t, [deleted.token], () => auth.users.delete(OPERATOR, deleted.claims.sub))
  t.not(await verify(another.token), null)
})

t.test('disabling a client revokes its own tokens and the tokens of its users [SC6]', async (t) => {
  const { auth, enter, verify, ends, changeState } = await open(t)
  const { token } = await enter()
  changeState(({ session }) => ({ session: session && { ...session, clientId: 'other' } }))
  const ofUser = signedAgain(token, { client_id: 'other' })
  const own = signedAgain(token, { client_id: 'other', sub: 'other', sid: undefined })
  t.equal(await verify(token), null, 'the session now belongs to another client')
  await ends(t, [ofUser, own], () => auth.clients.change(OPERATOR, 'other', { disabled: true }))
})

t.test('a session ends at the exact millisecond of its idle time and of its absolute lifetime [RF7]', async (t) => {
  const { enter, ends, changeState, clock } = await open(t)
  const idle = await enter()
  const exp = idle.claims.iat + 100 * HOUR
  clock.advance(HOUR - 0.001)
  await ends(t, [signedAgain(idle.token, { exp })], () => clock.advance(0.001))

  const busy = await enter()
  changeState(({ session }) => ({ session: session && { ...session, idleExpiresAt: exp * 1000 } }))
  clock.advance(12 * HOUR - 0.001)
  await ends(t, [signedAgain(busy.token, { exp })], () => clock.advance(0.001))
})

t.test('a remembered token is refused from the exact millisecond of its exp [JW8]', async (t) => {
  const { enter, ends, clock } = await open(t)
  const { token } = await enter()
  clock.advance(299.999)
  await ends(t, [token], () => clock.advance(0.001))
})

t.test('a token is valid from five seconds before its iat, because clocks differ [JW8]', async (t) => {
  const { enter, verify, clock } = await open(t)
  const { token, claims } = await enter()
  const early = signedAgain(token, { iat: claims.iat + 7 })
  clock.advance(1.999)
  t.equal(await verify(early), null)
  clock.advance(0.001)
  t.not(await verify(early), null)
})

t.test('a token without a session is valid only if its sub is its client and that client exists [CA7]', async (t) => {
  const { enter, verify } = await open(t)
  const { token, claims } = await enter()
  const own = { sid: undefined }
  t.match(await verify(signedAgain(token, { ...own, sub: 'docs' })), { kind: 'client', sub: 'docs', roles: [] })
  for (const forgery of [
    { ...own, sub: 'nobody', client_id: 'nobody' },
    { ...own, client_id: claims.sub },
    { ...own },
    { ...own, sub: 'nobody' },
    { ...own, sub: 'DOCS', client_id: 'DOCS' },
    { sub: 'docs' },
    { sub: 'docs', client_id: 'docs', sid: 'unknown' }
  ])
    t.equal(await verify(signedAgain(token, forgery)), null, JSON.stringify(forgery))
})

t.test('a token has only the current roles and scopes of its user and client [SC3 SC4 SC6]', async (t) => {
  const { auth, enter, verify, createUser } = await open(t)
  await createUser('admin', ['admin'])
  const { token, claims } = await enter(['user', 'reader'])
  const rights = async () => {
    const { roles = [], scopes = [] } = (await verify(token)) ?? {}
    return [roles.toSorted().join(), scopes.join(' ')]
  }
  const both = ['reader,user', SCOPES]
  t.strictSame(await rights(), both)
  await auth.users.change(OPERATOR, claims.sub, { roles: ['user'] })
  t.strictSame(await rights(), ['user', 'profile'], 'without a role')
  await auth.users.change(OPERATOR, claims.sub, { roles: [] })
  t.strictSame(await rights(), ['', 'profile'], 'without any role')
  await auth.users.change(OPERATOR, claims.sub, { roles: ['user', 'reader'] })
  t.strictSame(await rights(), both, 'with its roles again')
  await auth.roles.change(OPERATOR, 'reader', { scopes: [] })
  t.strictSame(await rights(), ['reader,user', 'profile'], 'without a scope of a role')
  await auth.roles.change(OPERATOR, 'reader', { scopes: ['users:read'] })
  t.strictSame(await rights(), both)
})

t.test('a token does not get the scopes that its client has lost [SC6]', async (t) => {
  const { enter, verify, changeState } = await open(t)
  const { token } = await enter()
  changeState(({ client }) => ({ client: client && { ...client, scopes: ['profile'] } }))
  t.strictSame((await verify(token))?.scopes, ['profile'])
})

t.test('a token gets no role and no scope that its user does not have, even if it claims them [SC3]', async (t) => {
  const { enter, verify } = await open(t)
  const { token, claims } = await enter(['user'])
  t.equal(claims.scope, 'profile')
  const greedy = await verify(signedAgain(token, { scope: SCOPES, roles: ['admin'] }))
  t.match(greedy, { roles: ['user'], scopes: ['profile'] })
})

t.test('a token has only the scopes that its scope claim names exactly [SC3]', async (t) => {
  const { enter, verify } = await open(t)
  const { token } = await enter()
  for (const [scope, scopes] of Object.entries({
    profile: ['profile'],
    'users:read': ['users:read'],
    '': [],
    'Profile USERS:READ': [],
    'profile,users:read': [],
    'profile\tusers:read': [],
    'profileusers:read': [],
    '* users:* users:read:all': [],
    'users:read  profile': ['users:read', 'profile']
  }))
    t.strictSame((await verify(signedAgain(token, { scope })))?.scopes, scopes, JSON.stringify(scope))
})
