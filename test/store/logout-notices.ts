import type { Test } from 'tap'
import { type Caller, OPERATOR } from '../../src/domain/caller.ts'
import type { Session } from '../../src/domain/model.ts'
import { addLogin } from './logins.ts'
import type { Opened } from './open.ts'
import { addClient, addSession, addUser, NOW, newKey } from './rows.ts'

const DAY = 86_400_000

/** Notices of logouts that clients have not received yet. */
export function logoutNotices(t: Test, { store, others, seed, sql }: Opened): void {
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

  t.test('a notice is due at once, until it has expired, the longest due first', async (t) => {
    await seed()
    const [late, early] = [await signOut(NOW + 5), await signOut(NOW)]
    t.match(await due(NOW + 4), [{ ...early, attempts: 0 }])
    t.match(await due(NOW + 5), [early, late])
    t.equal((await due(NOW + 5, 1)).length, 1)
    t.strictSame(await due(NOW - 1), [])
    t.match(await due(NOW + DAY + 4), [late])
    t.strictSame(await due(NOW + DAY + 5), [])
  })

  t.test('exactly one of concurrent claims begins an attempt, and the next one begins later', async (t) => {
    await seed()
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

  t.test('every end of a session adds one notice, unless the client itself has ended it', async (t) => {
    await seed()
    const asked = await addClient(store, { firstParty: false, backchannelLogoutUri: 'https://app.example/logout' })
    const silent = await addClient(store, { firstParty: false })
    type Ends = (session: Session, loginId: string) => Promise<unknown>
    const asClient = (id: string): Caller => ({ ...OPERATOR, kind: 'client', id })
    const password = { hash: 'new', from: null, now: NOW }
    const replay = { client: asked, leeway: 0, now: NOW }
    const endings: Record<string, Ends> = {
      revoked: ({ id, userId }) => store.sessions.end(OPERATOR, { id, userId, now: NOW }),
      'all revoked': ({ userId }) => store.sessions.end(OPERATOR, { userId, except: null, now: NOW }),
      'revoked by another client': ({ id }) => store.sessions.end(asClient(silent.id), { id, now: NOW }),
      disabled: ({ userId: id }) => store.users.change(OPERATOR, { id, changes: { disabled: true }, now: NOW }),
      deleted: ({ userId: id }) => store.users.delete(OPERATOR, { id, now: NOW }),
      'new password': ({ userId: id }) => store.users.setPassword(OPERATOR, { id, keep: null, ...password }),
      'refresh token used twice': async ({ id }) => {
        for (const counter of [0, 1, 0]) await store.sessions.rotate(OPERATOR, { id, counter, ...replay })
      },
      'consent removed': async ({ userId, clientId }) => {
        const consent = `('${userId}', '${clientId}', '', ${NOW}, ${NOW})`
        await sql(`insert into consents (user_id, client_id, scopes, created_at, updated_at) values ${consent}`)
        await store.consents.remove(OPERATOR, { userId, clientId, now: NOW })
      },
      'login ended before': async ({ id, userId }, loginId) => {
        await store.logins.end(OPERATOR, { id: loginId, userId, now: NOW })
        await store.sessions.end(OPERATOR, { id, now: NOW })
      }
    }
    const noticesOf = async ({ userId }: Session) => (await due()).filter((notice) => notice.userId === userId)
    async function opened(more: Partial<Session> = {}) {
      const { id: userId } = await addUser(store)
      const { id: loginId } = await addLogin(store, userId)
      await addSession(store, userId, { clientId: silent.id, loginId })
      return addSession(store, userId, { clientId: asked.id, loginId, ...more })
    }
    for (const [name, end] of Object.entries(endings)) {
      const session = await opened()
      await end(session, session.loginId as string)
      const { id: sessionId, userId } = session
      t.strictSame(await noticesOf(session), [{ sessionId, clientId: asked.id, userId, attempts: 0 }], name)
    }
    const own = await opened()
    await store.sessions.end(asClient(asked.id), { id: own.id, now: NOW })
    t.strictSame(await noticesOf(own), [])
  })

  t.test('revoking everything adds notices for the active sessions', async (t) => {
    await seed()
    const { id: clientId } = await addClient(store, { backchannelLogoutUri: 'https://app.example/logout' })
    const { id: userId } = await addUser(store)
    const active = await addSession(store, userId, { clientId })
    await addSession(store, userId, { clientId, idleExpiresAt: NOW })
    await store.keys.revokeEverything(OPERATOR, {
      canary: 'sealed canary',
      keys: [newKey('after', 'signing'), newKey('later', 'next')],
      refreshKey: { id: 'second', sealedKey: 'sealed second', createdAt: NOW },
      clock: () => NOW
    })
    t.match(await due(), [{ sessionId: active.id }])
    t.equal((await due()).length, 1)
  })

  t.test('a removed notice is gone, and only the notices of one client are postponed', async (t) => {
    await seed()
    const [one, other] = [await signOut(), await signOut()]
    const second = await signOut(NOW + 1, one.clientId)
    await store.logoutNotices.postpone(one.clientId, NOW + 100)
    t.match(await due(NOW + 99), [other])
    t.equal((await due(NOW + 100)).length, 3)
    await store.logoutNotices.postpone(one.clientId, NOW + 50)
    t.equal((await due(NOW + 99)).length, 1, 'not to an earlier time')
    for (const { sessionId } of await due(NOW + 100))
      if (sessionId !== second.sessionId) await store.logoutNotices.remove(sessionId)
    t.match(await due(NOW + 100), [{ ...second, attempts: 0 }])
    t.equal((await due(NOW + 100)).length, 1)
    await store.clients.delete(OPERATOR, { id: one.clientId, now: NOW })
    t.strictSame(await due(NOW + 100), [], 'the client was deleted')
  })
}
