import { decodeJwt } from 'jose'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { PASSWORD } from './open.ts'
import { openSessions, type Tokens } from './sessions-world.ts'

const REFUSED = { code: 'invalid_grant', message: 'The refresh token is not valid' }
const LEEWAY = 60
const NEW_PASSWORD = 'another horse battery staple'

t.test('a refresh returns new tokens of the same session and replaces the refresh token [RF1]', async (t) => {
  const { enter, refresh, isValid, clock } = await openSessions(t)
  const first = await enter()
  const { accessToken, refreshToken, ...rest } = await refresh(first.refreshToken)
  t.strictSame(rest, { expiresIn: 300, scopes: ['profile'], idToken: null })
  t.match(refreshToken, /^lkr_[\w-]{80}$/)
  t.not(refreshToken, first.refreshToken)
  t.equal(decodeJwt(accessToken).sid, decodeJwt(first.accessToken).sid)
  t.strictSame([await isValid(accessToken), await isValid(first.accessToken)], [true, true])
  const second = await refresh(refreshToken)
  clock.advance(LEEWAY)
  await t.rejects(refresh(first.refreshToken), REFUSED)
  await t.rejects(refresh(second.refreshToken), REFUSED, 'the replay ended the session')
})

t.test('a refresh token used twice ends its session with its access tokens, and no other session [RF2]', async (t) => {
  const { enter, refresh, isValid, clock } = await openSessions(t)
  const [victim, other] = [await enter(), await enter()]
  const successor = await refresh(victim.refreshToken)
  clock.advance(LEEWAY)
  await t.rejects(refresh(victim.refreshToken), REFUSED)
  t.strictSame([await isValid(victim.accessToken), await isValid(successor.accessToken)], [false, false])
  await t.rejects(refresh(successor.refreshToken), REFUSED)
  t.equal(await isValid(other.accessToken), true)
  t.equal(await isValid((await refresh(other.refreshToken)).accessToken), true)
})

t.test('a refresh token from a hundred refreshes before ends the session, also within the leeway [RF2]', async (t) => {
  const { enter, refresh, isValid } = await openSessions(t)
  const first = await enter()
  let last = first
  for (let rotation = 0; rotation < 100; rotation++) last = await refresh(last.refreshToken)
  t.equal(await isValid(last.accessToken), true)
  await t.rejects(refresh(first.refreshToken), REFUSED)
  t.equal(await isValid(last.accessToken), false)
  await t.rejects(refresh(last.refreshToken), REFUSED)
})

t.test('a replay ends the session also if it requests an unknown scope [RF2 SC1]', async (t) => {
  const { enter, refresh, isValid, clock } = await openSessions(t)
  const first = await enter()
  const { accessToken } = await refresh(first.refreshToken)
  const replay = () => refresh(first.refreshToken, { scope: 'nothing:known' })
  await t.rejects(replay(), { code: 'invalid_scope' }, 'a retry within the leeway is no replay')
  t.equal(await isValid(accessToken), true)
  clock.advance(LEEWAY)
  await t.rejects(replay(), REFUSED)
  t.equal(await isValid(accessToken), false)
})

t.test('a retry returns the same successor until the last millisecond of the leeway [RF6]', async (t) => {
  const { enter, refresh, isValid, clock } = await openSessions(t)
  const { refreshToken: token } = await enter()
  const lost = await refresh(token)
  clock.advance(LEEWAY - 0.001)
  const again = await refresh(token)
  t.equal(again.refreshToken, lost.refreshToken)
  t.strictSame([await isValid(lost.accessToken), await isValid(again.accessToken)], [true, true])
  clock.advance(0.001)
  await t.rejects(refresh(token), REFUSED)
  t.equal(await isValid(again.accessToken), false)
})

t.test('with a leeway of 0 every retry is a replay [RF6]', async (t) => {
  const { enter, refresh, isValid } = await openSessions(t, { LATCHKEY_REFRESH_LEEWAY: '0' })
  const { refreshToken: token } = await enter()
  const next = await refresh(token)
  await t.rejects(refresh(token), REFUSED)
  t.equal(await isValid(next.accessToken), false)
})

t.test('a refresh token is refused for another client, and stays valid for its own client [RF5]', async (t) => {
  const { auth, enter, refresh } = await openSessions(t)
  const other = { id: 'other', name: 'Other', grantTypes: ['refresh_token'], scopes: ['profile'] }
  await auth.clients.create(OPERATOR, other)
  const { refreshToken: token } = await enter()
  await t.rejects(refresh(token, { clientId: 'other' }), REFUSED)
  const next = await refresh(token)
  await t.rejects(refresh(token, { clientId: 'other' }), REFUSED, 'a replay by another client ends nothing')
  await t.resolves(refresh(next.refreshToken))
})

t.test('a session ends after an idle hour, and after twelve hours even if it is refreshed [RF7]', async (t) => {
  const { enter, refresh, clock } = await openSessions(t)
  let { refreshToken: token } = await enter()
  const HOUR = 3600
  for (let hour = 0; hour < 12; hour++) {
    clock.advance(HOUR - 1)
    token = (await refresh(token)).refreshToken
  }
  // One second before the end of twelve hours.
  clock.advance(11)
  token = (await refresh(token)).refreshToken
  clock.advance(1)
  await t.rejects(refresh(token), REFUSED)

  const idle = await enter()
  clock.advance(HOUR)
  await t.rejects(refresh(idle.refreshToken), REFUSED)
})

t.test('an access token does not outlive its session [RF7]', async (t) => {
  const { auth, enter, refresh, clock } = await openSessions(t)
  const clientId = 'short'
  await auth.clients.create(OPERATOR, {
    id: clientId,
    name: 'Short',
    method: 'none',
    firstParty: true,
    grantTypes: ['password', 'refresh_token'],
    scopes: ['profile'],
    sessionAbsoluteTtl: 400
  })
  const lifetimes = ({ accessToken, expiresIn }: Tokens) => {
    const { iat, exp } = decodeJwt(accessToken)
    return [Number(exp) - Number(iat), expiresIn]
  }
  const first = await enter({ clientId })
  t.strictSame(lifetimes(first), [300, 300])
  clock.advance(250)
  const second = await refresh(first.refreshToken, { clientId })
  t.strictSame(lifetimes(second), [150, 150])
  clock.advance(149.9)
  t.strictSame(lifetimes(await refresh(second.refreshToken, { clientId })), [1, 1], 'a lifetime is at least one second')
})

t.test('an access token does not outlive the idle lifetime of its session [RF7]', async (t) => {
  const { auth, enter, refresh, clock } = await openSessions(t)
  const clientId = 'idle'
  await auth.clients.create(OPERATOR, {
    id: clientId,
    name: 'Idle',
    method: 'none',
    firstParty: true,
    grantTypes: ['password', 'refresh_token'],
    scopes: ['profile'],
    sessionIdleTtl: 100
  })
  const first = await enter({ clientId })
  t.equal(first.expiresIn, 100)
  clock.advance(99)
  t.equal((await refresh(first.refreshToken, { clientId })).expiresIn, 100, 'a renewal extends the session')
  clock.advance(1)
  t.equal((await refresh(first.refreshToken, { clientId })).expiresIn, 99, 'a repeated renewal does not')
})

t.test('a forged refresh token and a token of another kind are refused [RF8]', async (t) => {
  const { enter, refresh, isValid } = await openSessions(t)
  const { accessToken, refreshToken: token } = await enter()
  t.equal(await isValid(token), false)
  const bytes = Buffer.from(token.slice(4), 'base64url')
  const flipped = [...bytes.keys()].map((at) => {
    const copy = Buffer.from(bytes)
    copy[at] = (copy[at] as number) ^ 1
    return `lkr_${copy.toString('base64url')}`
  })
  const malformed = ['x', 'lkr_', `${token}A`, token.slice(0, -1), token.toUpperCase(), ` ${token}`]
  const lookAlikes = [`lks_${token.slice(4)}`, token.replace('lkr_', 'LKR_'), `lkr_${'A'.repeat(80)}`]
  for (const invalid of [accessToken, ...malformed, ...lookAlikes, ...flipped])
    await t.rejects(refresh(invalid), REFUSED, invalid)
  await t.resolves(refresh(token))
})

t.test('a refresh narrows the scopes of its access token only, and never broadens them [SC2]', async (t) => {
  const { enter, refresh } = await openSessions(t)
  const first = await enter({ username: 'admin', scope: 'profile users:read' })
  const narrow = await refresh(first.refreshToken, { scope: 'users:read' })
  t.strictSame(narrow.scopes, ['users:read'])
  const wide = await refresh(narrow.refreshToken)
  t.strictSame(wide.scopes, ['profile', 'users:read'], 'the session keeps its scopes')
  for (const scope of ['profile roles:read', 'roles:read'])
    await t.rejects(refresh(wide.refreshToken, { scope }), {
      code: 'invalid_scope',
      message: 'The session does not have a requested scope; a refresh cannot add scopes'
    })
  const { scopes } = await refresh(wide.refreshToken)
  t.strictSame(scopes, ['profile', 'users:read'], 'a refused request does not use up the token')
})

t.test('a refresh returns no scope of a role that the user has lost [SC4]', async (t) => {
  const { auth, enter, refresh, createUser } = await openSessions(t)
  const first = await enter({ username: 'admin', scope: 'account users:read' })
  const { id } = await auth.users.find('admin')
  await createUser('second', ['admin'])
  await auth.users.change(OPERATOR, id, { roles: ['user'] })
  const next = await refresh(first.refreshToken)
  t.strictSame(next.scopes, ['account'])
  await auth.users.change(OPERATOR, id, { roles: [] })
  await t.rejects(refresh(next.refreshToken), { code: 'invalid_scope' })
})

t.test('disabling a user ends the sessions, and enabling the user revives none [SC5]', async (t) => {
  const { auth, enter, refresh, isValid } = await openSessions(t)
  const { accessToken, refreshToken } = await enter()
  const { id } = await auth.users.find('alice')
  await auth.users.change(OPERATOR, id, { disabled: true })
  await t.rejects(refresh(refreshToken), REFUSED)
  await auth.users.change(OPERATOR, id, { disabled: false })
  await t.rejects(refresh(refreshToken), REFUSED)
  t.equal(await isValid(accessToken), false)
  await auth.users.delete(OPERATOR, id)
  await t.rejects(refresh(refreshToken), REFUSED)
})

t.test('disabling a client ends its sessions, and enabling the client revives none [SC6]', async (t) => {
  const { auth, enter, refresh } = await openSessions(t)
  const clientId = 'web'
  await auth.clients.create(OPERATOR, {
    id: clientId,
    name: 'Web',
    grantTypes: ['password', 'refresh_token'],
    firstParty: true,
    scopes: ['profile']
  })
  const { refreshToken } = await enter({ clientId })
  await auth.clients.change(OPERATOR, clientId, { disabled: true })
  await auth.clients.change(OPERATOR, clientId, { disabled: false })
  await t.rejects(refresh(refreshToken, { clientId }), REFUSED)
})

t.test('a password change ends the other sessions of the user, but not its own session [PW9]', async (t) => {
  const { auth, enter, refresh } = await openSessions(t)
  const [mine, other] = [await enter(), await enter()]
  const { id } = await auth.users.find('alice')
  const sid = decodeJwt(mine.accessToken).sid as string
  const caller = { ...OPERATOR, kind: 'user', id, clientId: 'docs', sid } as const
  await auth.users.changePassword(caller, { current: PASSWORD, next: NEW_PASSWORD })
  await t.rejects(refresh(other.refreshToken), REFUSED)
  await t.resolves(refresh(mine.refreshToken))
})

t.test('an access token is older than every revocation after its refresh token was read', async (t) => {
  const { auth, store, enter, request } = await openSessions(t)
  const [mine, other] = [await enter(), await enter()]
  const before = await store.revocations.seq()
  const presented = auth.refreshTokens.read(mine.refreshToken)
  await presented
  await auth.revoke(OPERATOR, { client: await auth.clients.get('docs'), token: other.refreshToken })
  t.ok((await store.revocations.seq()) > before)
  const params = { grant_type: 'refresh_token', refresh_token: mine.refreshToken }
  const { accessToken } = await request('docs', params, presented)
  t.equal(decodeJwt(accessToken).rev, before)
})

t.test('a refresh that fails because the database is unavailable does not use up the refresh token', async (t) => {
  const { store, enter, refresh } = await openSessions(t, { LATCHKEY_REFRESH_LEEWAY: '0' })
  const { refreshToken } = await enter()
  const unavailable = () => Promise.reject(new DomainError('unavailable', 'The database is not available'))
  for (const [part, method] of [
    ['keys', 'signing'],
    ['sessions', 'presented'],
    ['scopes', 'find'],
    ['sessions', 'rotate']
  ] as const) {
    const repository = store[part] as unknown as Record<string, unknown>
    const original = repository[method]
    repository[method] = unavailable
    await t.rejects(refresh(refreshToken), { code: 'unavailable' }, `${part}.${method}`)
    repository[method] = original
  }
  await t.resolves(refresh(refreshToken))
})

t.test('a session ended by an instance with a fast clock is ended for all instances [F18]', async (t) => {
  const { auth, enter, refresh, clock } = await openSessions(t)
  const [first, second] = [await enter(), await enter()]
  clock.advance(3590)
  /** Runs a function as on an instance whose clock is 30 s ahead: for that instance the sessions have expired. */
  const ahead = async (run: () => Promise<void>) => {
    clock.advance(30)
    await run()
    clock.advance(-30)
  }
  const client = await auth.clients.get('docs')
  await ahead(() => auth.revoke(OPERATOR, { client, token: first.refreshToken }))
  await t.rejects(refresh(first.refreshToken), REFUSED)
  const { id } = await auth.users.find('alice')
  await ahead(() => auth.users.setPassword(OPERATOR, { id, password: NEW_PASSWORD }))
  await t.rejects(refresh(second.refreshToken), REFUSED)
})
