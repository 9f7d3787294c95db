import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { addLogin } from './logins.ts'
import type { Opened } from './open.ts'
import { addClient, addSession, addUser, NOW } from './rows.ts'

const DAY = 86_400_000

/** Notices of logouts that clients have not received yet. */
export function logoutNotices(t: Test, { store, others, empty, seed }: Opened): void {
  const due = (now = NOW, limit = 100) => store.logoutNotices.due(now, limit)

  /** Ends a login with a session at a new client that wants to know, and returns the ids of both. */
  async function signOut(now = NOW, clientId?: string): Promise<{ clientId: string; sessionId: string }> {
    const user = await addUser(store)
    const backchannelLogoutUri = 'https://app.example/logout'
    const id = clientId ?? (await addClient(store, { firstParty: false, backchannelLogoutUri })).id
    const opened = await addLogin(store, user.id)
    const session = await addSession(store, user.id, { loginId: opened.id, clientId: id })
    await store.logins.end(OPERATOR, { id: opened.id, userId: user.id, now })
    return { clientId: id, sessionId: session.id }
  }

  async function fresh(): Promise<void> {
    await empty()
    await seed()
  }

  t.test('a notice is due at once, until it has expired, the longest due first', async (t) => {
    await fresh()
    const [late, early] = [await signOut(NOW + 5), await signOut(NOW)]
    t.match(await due(NOW + 4), [{ ...early, attempts: 0 }])
    t.match(await due(NOW + 5), [early, late])
    t.equal((await due(NOW + 5, 1)).length, 1)
    t.strictSame(await due(NOW - 1), [])
    t.match(await due(NOW + DAY + 4), [late])
    t.strictSame(await due(NOW + DAY + 5), [])
  })

  t.test('exactly one of concurrent claims begins an attempt, and the next one begins later', async (t) => {
    await fresh()
    await signOut()
    for (let attempts = 0; attempts < 5; attempts++) {
      const now = NOW + attempts * 1000
      const [notice] = await due(now)
      if (notice === undefined) throw new Error('no notice is due')
      t.equal(notice.attempts, attempts)
      const claims = [...others, ...others].map((at) => at.logoutNotices.claim(notice, now + 1000))
      t.equal((await Promise.all(claims)).filter(Boolean).length, 1)
      t.strictSame(await due(now + 999), [])
    }
  })

  t.test('a removed notice is gone, and only the notices of one client are postponed', async (t) => {
    await fresh()
    const [one, other] = [await signOut(), await signOut()]
    const second = await signOut(NOW + 1, one.clientId)
    await store.logoutNotices.postpone(one.clientId, NOW + 100)
    t.match(await due(NOW + 99), [other])
    t.equal((await due(NOW + 100)).length, 3)
    await store.logoutNotices.postpone(one.clientId, NOW + 50)
    t.equal((await due(NOW + 99)).length, 1, 'not to an earlier time')
    for (const { id, sessionId } of await due(NOW + 100))
      if (sessionId !== second.sessionId) await store.logoutNotices.remove(id)
    t.match(await due(NOW + 100), [{ ...second, attempts: 0 }])
    t.equal((await due(NOW + 100)).length, 1)
    await store.clients.delete(OPERATOR, { id: one.clientId, now: NOW })
    t.strictSame(await due(NOW + 100), [], 'the client was deleted')
  })
}
