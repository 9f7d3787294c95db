import { createHash, randomUUIDv7 } from 'node:crypto'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Login } from '../../src/domain/ports/logins.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import { LOGINS_MAX } from '../../src/limits.ts'
import type { Opened } from './open.ts'
import { addClient, addSession, addUser, entriesAfter, NOW, sessionOf } from './rows.ts'

const DAY = 86_400_000
const ALL = { after: null, limit: 1000 }
export const hashOf = (text: string): string => createHash('sha256').update(text).digest('base64url')

export const newLogin = (userId: string, more: Partial<Login> = {}): Login => ({
  id: randomUUIDv7(),
  userId,
  authVersion: 1,
  amr: ['pwd', 'otp'],
  authAt: NOW,
  lastUsedAt: NOW,
  idleExpiresAt: NOW + 3_600_000,
  expiresAt: NOW + DAY,
  address: '203.0.113.7',
  userAgent: 'test/1',
  ...more
})

/** Opens a login whose token is its id. */
export const openLogin = (store: Store, login: Login, replaces: string | null = null): Promise<boolean> =>
  store.logins.open(OPERATOR, { login, tokenHash: hashOf(login.id), replaces })

export async function addLogin(store: Store, userId: string, more: Partial<Login> = {}): Promise<Login> {
  const login = newLogin(userId, more)
  await openLogin(store, login)
  return login
}

/** Logins of browsers. */
export function logins(t: Test, { store, sql }: Opened): void {
  const use = ({ id }: Login, now = NOW) => store.logins.use(hashOf(id), { now, idleTtl: 3_600_000 })
  const idsOf = async (userId: string, now = NOW) => (await store.logins.list(userId, ALL, now)).map(({ id }) => id)

  t.test('a login is found by its token, and only the hash of the token is stored', async (t) => {
    const alice = await addUser(store)
    const login = newLogin(alice.id)
    t.equal(await openLogin(store, login), true)
    t.strictSame(await use(login), login)
    t.strictSame(await store.logins.list(alice.id, ALL, NOW), [login])
    t.equal(await store.logins.use(login.id, { now: NOW, idleTtl: 1 }), null, 'the hash is the key, not the token')
    const [row] = await sql(`select * from logins where id = '${login.id}'`)
    t.equal((row as { token_hash: string }).token_hash, hashOf(login.id))
    const bare = newLogin(alice.id, { address: null, userAgent: null })
    await openLogin(store, bare)
    t.strictSame(await use(bare), bare)
  })

  t.test('no login is opened for a user who was changed or disabled since the proof', async (t) => {
    const alice = await addUser(store)
    t.equal(await openLogin(store, newLogin(alice.id, { authVersion: 2 })), false)
    t.equal(await openLogin(store, newLogin(randomUUIDv7())), false)
    await sql(`update users set disabled_at = ${NOW} where id = '${alice.id}'`)
    t.equal(await openLogin(store, newLogin(alice.id)), false)
    t.strictSame(await sql(`select id from logins where user_id = '${alice.id}'`), [])
  })

  t.test('a login ends with its idle time, which its use moves up to the absolute end', async (t) => {
    const alice = await addUser(store)
    const login = await addLogin(store, alice.id, { expiresAt: NOW + 5_000_000 })
    t.strictSame(await use(login, NOW + 59_999), login, 'a use within a minute writes nothing')
    const later = NOW + 3_599_999
    t.strictSame(await use(login, later), { ...login, lastUsedAt: later, idleExpiresAt: NOW + 5_000_000 })
    t.strictSame(await use(login, later + 1), { ...login, lastUsedAt: later, idleExpiresAt: NOW + 5_000_000 })
    t.equal(await use(login, NOW + 5_000_000), null)
    const other = await addLogin(store, alice.id)
    t.equal(await use(other, NOW + 3_600_000), null)
    t.strictSame(await idsOf(alice.id, NOW + 3_600_000), [login.id])
  })

  t.test('a new password ends all logins of its user except the kept one', async (t) => {
    const [alice, bob] = [await addUser(store), await addUser(store)]
    const [kept, other, foreign] = [
      await addLogin(store, alice.id),
      await addLogin(store, alice.id),
      await addLogin(store, bob.id)
    ]
    const set = (from: number, keepLogin: string) =>
      store.users.setPassword(OPERATOR, {
        id: alice.id,
        hash: 'new',
        from,
        keep: null,
        keepLogin: { id: keepLogin, tokenHash: hashOf(`new ${keepLogin}`) },
        now: NOW
      })
    t.equal(await set(9, kept.id), false)
    t.strictSame(
      (await idsOf(alice.id)).toSorted(),
      [kept.id, other.id].toSorted(),
      'a change that was refused ends and keeps nothing'
    )
    t.equal(await set(1, kept.id), true)
    t.strictSame(await store.logins.list(alice.id, ALL, NOW), [{ ...kept, authVersion: 2 }])
    t.equal(await use(kept), null, 'a stolen cookie of the kept login is invalid')
    t.match(await store.logins.use(hashOf(`new ${kept.id}`), { now: NOW, idleTtl: 1 }), { id: kept.id })
    t.equal(await set(2, foreign.id), true)
    t.strictSame(await idsOf(alice.id), [], 'a login of another user is not kept')
    t.strictSame(await store.logins.list(bob.id, ALL, NOW), [foreign])
    t.equal(await set(3, other.id), true)
    t.strictSame(await idsOf(alice.id), [], 'a login that has ended stays ended')
  })

  t.test('a login is over when its user is disabled, gets a new password or is deleted', async (t) => {
    for (const change of [
      (id: string) => store.users.change(OPERATOR, { id, changes: { disabled: true }, now: NOW }),
      (id: string) => store.users.setPassword(OPERATOR, { id, hash: 'new', from: null, keep: null, now: NOW }),
      (id: string) => store.users.delete(OPERATOR, { id, now: NOW })
    ]) {
      const alice = await addUser(store)
      const login = await addLogin(store, alice.id)
      await change(alice.id)
      t.equal(await use(login), null)
      t.strictSame(await idsOf(alice.id), [])
      if ((await store.users.get(alice.id)) === null) continue
      await store.users.change(OPERATOR, { id: alice.id, changes: { disabled: false }, now: NOW })
      t.equal(await use(login), null, 'enabling the user revives nothing')
    }
  })

  t.test('the end of all sessions of a user ends the logins too, except the one of a kept session', async (t) => {
    const [alice, bob] = [await addUser(store), await addUser(store)]
    const [kept, other, foreign] = [
      await addLogin(store, alice.id),
      await addLogin(store, alice.id),
      await addLogin(store, bob.id)
    ]
    const ofKept = await addSession(store, alice.id, { loginId: kept.id })
    const ofNone = await addSession(store, alice.id)
    const end = (filter: { id?: string; except?: string | null }) =>
      store.sessions.end(OPERATOR, { userId: alice.id, now: NOW, ...filter })
    t.equal(await end({ id: ofNone.id }), 1)
    t.strictSame(await idsOf(alice.id), [kept.id, other.id].toSorted(), 'the end of one session ends no login')
    t.equal(await end({ except: ofKept.id }), 0)
    t.strictSame(await idsOf(alice.id), [kept.id])
    t.equal(await end({ except: ofNone.id }), 1)
    t.strictSame(await idsOf(alice.id), [], 'the kept session has no login')
    t.strictSame(await idsOf(bob.id), [foreign.id])
  })

  t.test(
    'the end of a login ends its sessions at first-party clients and lets other clients keep theirs',
    async (t) => {
      const [alice, bob] = [await addUser(store), await addUser(store)]
      const other = await addClient(store, { firstParty: false, backchannelLogoutUri: 'https://app.example/logout' })
      const login = await addLogin(store, alice.id)
      const kept = await addLogin(store, alice.id)
      const own = await addSession(store, alice.id, { loginId: login.id })
      const foreign = await addSession(store, alice.id, { loginId: login.id, clientId: other.id })
      const ofKept = await addSession(store, alice.id, { loginId: kept.id })
      const before = await store.revocations.seq()
      const end = (userId: string) => store.logins.end(OPERATOR, { id: login.id, userId, now: NOW })
      t.equal(await end(bob.id), false, 'a user cannot end the login of another user')
      t.equal(await end(alice.id), true)
      t.equal(await end(alice.id), false)
      t.equal(await use(login), null)
      t.strictSame(await use(kept), kept)
      const endedAt = async (id: string) => (await sessionOf(store, id))?.endedAt
      t.strictSame(await Promise.all([own, foreign, ofKept].map(({ id }) => endedAt(id))), [NOW, null, null])
      t.match(await entriesAfter(store, before), [{ kind: 'session', id: own.id }])
      t.strictSame(
        await sql(`select client_id, user_id, session_id, attempts from logout_notices where user_id = '${alice.id}'`),
        [{ client_id: other.id, user_id: alice.id, session_id: foreign.id, attempts: 0 }]
      )
    }
  )

  t.test('a login that replaces another one ends it', async (t) => {
    const [alice, bob] = [await addUser(store), await addUser(store)]
    const [first, foreign] = [await addLogin(store, alice.id), await addLogin(store, bob.id)]
    const second = newLogin(alice.id)
    t.equal(await openLogin(store, second, first.id), true)
    t.strictSame([await use(first), await use(second)], [null, second])
    await openLogin(store, newLogin(alice.id), foreign.id)
    t.strictSame(await use(foreign), foreign, 'not a login of another user')
  })

  t.test('what a replaced login opened goes on with the new login', async (t) => {
    const alice = await addUser(store)
    const [first, other] = [await addLogin(store, alice.id), await addLogin(store, alice.id)]
    const { id: clientId } = await addClient(store, { firstParty: true })
    const session = await addSession(store, alice.id, { clientId, loginId: first.id })
    const second = newLogin(alice.id)
    await openLogin(store, second, first.id)
    const row = async () => (await sql(`select ended_at, login_id from sessions where id = '${session.id}'`))[0]
    t.strictSame({ ...(await row()) }, { ended_at: null, login_id: second.id })
    t.equal(await store.logins.end(OPERATOR, { id: second.id, userId: alice.id, now: NOW }), true)
    t.equal((await sessionOf(store, session.id))?.endedAt, NOW, 'and ends with it')
    t.strictSame(await use(other), other)
  })

  t.test('a user has a limited number of logins: the one that was not used for the longest time ends', async (t) => {
    const alice = await addUser(store)
    const used: Login[] = []
    for (let at = 0; at < LOGINS_MAX; at++) used.push(await addLogin(store, alice.id, { lastUsedAt: NOW + at }))
    const [oldest, ...others] = used as [Login, ...Login[]]
    t.equal((await idsOf(alice.id)).length, LOGINS_MAX)
    const last = await addLogin(store, alice.id)
    t.equal(await use(oldest), null)
    t.strictSame(await idsOf(alice.id), [...others, last].map(({ id }) => id).toSorted())
  })
}
