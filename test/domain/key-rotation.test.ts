import { decodeProtectedHeader } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { SIGNING_KEYS_MAX } from '../../src/limits.ts'
import { openSessions, type SessionDomain } from './sessions-world.ts'

const [MINUTE, DAY] = [60, 86_400]
const kidOf = (token: string) => decodeProtectedHeader(token).kid as string

/** Adds the functions with which the tests read and change keys. */
function withKeys(domain: SessionDomain) {
  const { auth, enter } = domain
  const all = async () => (await auth.keys.page({ after: null, limit: 100 })).items
  return {
    ...domain,
    keys: auth.keys,
    kid: async (state: string) => (await all()).find((key) => key.state === state)?.kid as string,
    states: async () => (await all()).map(({ state }) => state).toSorted(),
    published: async () => (await auth.keys.jwks()).keys.map(({ kid }) => kid),
    rotate: () => auth.keys.rotate(OPERATOR),
    retire: (kid: string, compromised = true) => auth.keys.retire(OPERATOR, kid, { compromised }),
    token: async () => (await enter()).accessToken
  }
}
const open = async (t: Test, settings: Record<string, string> = {}) => withKeys(await openSessions(t, settings))

t.test('a rotation makes the next key sign, and the previous key still verifies [KS2]', async (t) => {
  const { rotate, kid, token, isValid, published, clock, auth } = await open(t)
  const [signing, next] = [await kid('signing'), await kid('next')]
  const message = 'The next key was published a short time ago: it can sign from 2026-11-22T09:05:00.000Z on'
  await t.rejects(rotate(), { code: 'conflict', message })
  clock.advance(299.999)
  await t.rejects(rotate(), { code: 'conflict', message })
  const last = await token()
  t.equal(kidOf(last), signing)
  clock.advance(0.001)
  t.match(await rotate(), { kid: next, state: 'signing', signsSinceAt: clock.now(), verifiesUntilAt: null })
  const newest = await kid('next')
  t.match((await auth.keys.page({ after: null, limit: 100 })).items, [
    { kid: newest, createdAt: clock.now(), signsSinceAt: null },
    {},
    {}
  ])
  t.strictSame((await published()).toSorted(), [signing, next, newest].toSorted())
  t.equal(await kid('verifying'), signing)
  t.equal(kidOf(await token()), next)
  t.equal(await isValid(last), true)
})

for (const seconds of [1, 86_400])
  t.test(
    `a key can sign ${seconds} s after its publication, and not earlier, with LATCHKEY_JWKS_MAX_AGE=${seconds} [KS2]`,
    async (t) => {
      const { rotate, clock } = await open(t, { LATCHKEY_JWKS_MAX_AGE: String(seconds) })
      clock.advance(seconds - 0.001)
      await t.rejects(rotate(), { code: 'conflict' })
      clock.advance(0.001)
      await t.resolves(rotate())
    }
  )

for (const state of ['signing', 'next', 'verifying'])
  t.test(`a compromised key that is ${state} is retired at once, with the tokens that it signed [KS2]`, async (t) => {
    const one = await open(t)
    const other = withKeys(await openSessions(t, {}, one))
    one.clock.advance(5 * MINUTE)
    const verifying = await one.token()
    await other.rotate()
    const signing = await other.token()
    for (const token of [verifying, signing])
      for (const { isValid } of [one, other]) t.equal(await isValid(token), true)

    const kid = await one.kid(state)
    const before = { signing: await one.kid('signing'), next: await one.kid('next') }
    const retired = await one.retire(kid)
    t.match(retired, { kid, state: 'retired', retiredAt: one.clock.now() })
    for (const { isValid, published } of [one, other]) {
      t.equal(await isValid(verifying), state !== 'verifying')
      t.equal(await isValid(signing), state !== 'signing')
      t.notOk((await published()).includes(kid))
    }
    const after = { signing: await other.kid('signing'), next: await other.kid('next') }
    t.equal(after.signing, state === 'signing' ? before.next : before.signing, 'the next key signs, however young')
    t.equal(after.next === before.next, state === 'verifying', 'a new next key is published in its place')
    const fresh = await other.token()
    t.equal(kidOf(fresh), after.signing)
    t.equal(await one.isValid(fresh), true)
    t.match((await one.store.revocations.since(0, 10)).entries, [{ seq: 1, kind: 'key', id: kid }])
    t.strictSame(await other.retire(kid), retired, 'a retired key stays as it is')
    t.equal(await one.store.revocations.seq(), 1)
  })

t.test('a login during which the key that signs is retired gets a token of the next key [KS2]', async (t) => {
  const { hasher, retire, kid, login, isValid } = await open(t)
  const [signing, next] = [await kid('signing'), await kid('next')]
  t.equal(kidOf((await login('alice')).accessToken), signing)
  const { verify } = hasher
  hasher.verify = async (...args) => {
    await retire(signing)
    return verify(...args)
  }
  const { accessToken } = await login('alice')
  t.equal(kidOf(accessToken), next)
  t.equal(await isValid(accessToken), true)
})

t.test('a key that is not compromised is retired only when its tokens have expired', async (t) => {
  const { rotate, retire, kid, clock, store } = await open(t)
  clock.advance(5 * MINUTE)
  const old = await kid('signing')
  await rotate()
  const inUse = 'The key is signing or next: rotate the keys until the key is verifying, or retire it as compromised'
  for (const state of ['signing', 'next'])
    await t.rejects(retire(await kid(state), false), { code: 'conflict', message: inUse })
  clock.advance(3659.999)
  const early = 'Tokens that the key signed can be valid until 2026-11-22T10:06:00.000Z'
  await t.rejects(retire(old, false), { code: 'conflict', message: early })
  clock.advance(0.001)
  t.match(await retire(old, false), { state: 'retired', retiredAt: clock.now() })
  await t.resolves(retire(old, false))
  t.equal(await store.revocations.seq(), 0, 'no valid token was revoked')
  await t.rejects(retire('x'.repeat(43)), { code: 'not_found', message: 'There is no such key' })
})

t.test('keys rotate after 30 days, on one of several instances, and retire with their last token [KS2]', async (t) => {
  const one = await open(t)
  const other = withKeys(await openSessions(t, {}, one))
  const { clock } = one
  const maintain = async () =>
    (await Promise.all([one.keys.maintain(), other.keys.maintain(), one.keys.maintain()])).toSorted().join()
  const [NOTHING, ONCE] = ['nothing,nothing,nothing', 'nothing,nothing,rotated']
  const [first, second] = [await one.kid('signing'), await one.kid('next')]
  clock.advance(30 * DAY - 0.001)
  t.equal(await maintain(), NOTHING)
  clock.advance(0.001)
  t.equal(await maintain(), ONCE)
  t.equal(await maintain(), NOTHING)
  t.strictSame([await one.kid('verifying'), await one.kid('signing')], [first, second])

  clock.advance(3659.999)
  t.equal(await maintain(), NOTHING)
  t.equal(await other.kid('verifying'), first)
  clock.advance(0.001)
  t.equal(await maintain(), NOTHING)
  t.equal(await other.kid('retired'), first)
  t.notOk((await other.published()).includes(first))

  clock.advance(29 * DAY)
  await one.rotate()
  clock.advance(29 * DAY)
  t.equal(await maintain(), NOTHING, 'the 30 days begin with the last rotation')
  await one.retire(await one.kid('next'))
  clock.advance(DAY)
  await other.retire(await other.kid('next'))
  t.equal(await maintain(), NOTHING, 'the next key is too young')
  clock.advance(299.999)
  t.equal(await maintain(), NOTHING)
  clock.advance(0.001)
  t.equal(await maintain(), ONCE)
})

t.test('LATCHKEY_KEY_ROTATION sets the days between rotations, and 0 means never', async (t) => {
  const weekly = await open(t, { LATCHKEY_KEY_ROTATION: '7' })
  weekly.clock.advance(7 * DAY - 1)
  t.equal(await weekly.keys.maintain(), 'nothing')
  weekly.clock.advance(1)
  t.equal(await weekly.keys.maintain(), 'rotated')

  const never = await open(t, { LATCHKEY_KEY_ROTATION: '0' })
  never.clock.advance(5000 * DAY)
  t.equal(await never.keys.maintain(), 'nothing')
  await never.rotate()
  never.clock.advance(3660)
  t.equal(await never.keys.maintain(), 'nothing')
  t.strictSame(await never.states(), ['next', 'retired', 'signing'], 'keys still retire')
})

t.test('a session continues when the refresh key rotates, with one successor for each token [RF6]', async (t) => {
  const one = await open(t)
  const other = withKeys(await openSessions(t, {}, one))
  const { clock, store } = one
  const refresh = async ({ refresh }: SessionDomain, token: string) => (await refresh(token)).refreshToken
  // A refresh token begins with the id of its key (8 bytes) and the id of its session (16 bytes).
  const keyOf = (token: string) => Buffer.from(token.slice(4), 'base64url').subarray(0, 8).toString('base64url')
  const sessionOf = (token: string) =>
    Buffer.from(token.slice(4), 'base64url')
      .toString('hex', 8, 24)
      .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  const enter = async () => (await one.enter()).refreshToken

  clock.advance(5 * MINUTE)
  const first = await enter()
  const successor = await refresh(one, first)
  await other.rotate()
  for (const each of [one, other]) t.equal(await refresh(each, first), successor, 'a retry on either instance')
  const third = await refresh(other, successor)
  t.strictSame([keyOf(successor), keyOf(third)], [keyOf(first), keyOf(first)], 'the session keeps its key')
  t.equal(keyOf(first), keyOf(await refresh(one, third)))
  const fresh = await enter()
  t.not(keyOf(fresh), keyOf(first), 'a new session has the new key')
  t.equal(keyOf(await refresh(one, fresh)), keyOf(fresh))

  clock.advance(366 * DAY - 0.001)
  await one.keys.maintain()
  t.not(await store.sessions.presented(sessionOf(fresh), keyOf(first)), null)
  clock.advance(0.001)
  await one.keys.maintain()
  t.equal(await store.sessions.presented(sessionOf(fresh), keyOf(first)), null, 'all sessions of the key have expired')
  t.not(await store.refreshKeys.current(), null)
  await t.rejects(one.refresh(third), { code: 'invalid_grant' })
})

t.test('a replay is found also after a rotation of the refresh key [RF2]', async (t) => {
  const { enter, refresh, rotate, clock } = await open(t)
  clock.advance(5 * MINUTE)
  const first = await enter()
  const second = await refresh(first.refreshToken)
  await rotate()
  clock.advance(60)
  await t.rejects(refresh(first.refreshToken), { code: 'invalid_grant' })
  await t.rejects(refresh(second.refreshToken), { code: 'invalid_grant' }, 'the session has ended')
})

t.test('the revocation of a token of a compromised key adds no entry to the log', async (t) => {
  const { auth, store, token, retire, kid } = await open(t)
  const jwt = await token()
  await retire(await kid('signing'))
  await auth.revoke(OPERATOR, { client: await auth.clients.get('docs'), token: jwt })
  const { entries } = await store.revocations.since(0, 10)
  t.strictSame(
    entries.map(({ kind }) => kind),
    ['key']
  )
})

t.test('a rotation that would publish more keys than a guard reads is refused until a key expires [UA8]', async (t) => {
  const { rotate, clock, published, auth } = await open(t, { LATCHKEY_JWKS_MAX_AGE: '1' })
  for (let keys = 2; keys < SIGNING_KEYS_MAX; keys++) {
    clock.advance(1)
    await rotate()
  }
  clock.advance(1)
  const message = `There are ${SIGNING_KEYS_MAX} published keys: the keys can be rotated when the tokens of an earlier key have expired`
  await t.rejects(rotate(), { code: 'conflict', message })
  t.equal((await published()).length, SIGNING_KEYS_MAX)
  clock.advance(3660)
  await auth.keys.maintain()
  await t.resolves(rotate())
})
