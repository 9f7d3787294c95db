import { randomUUIDv7 } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { SessionFilter } from '../../src/domain/ports/sessions.ts'
import type { Opened } from './open.ts'
import {
  addClient,
  addSession,
  addUser,
  entriesAfter,
  NOW,
  newSession,
  openSession,
  outcomes,
  ROUNDS,
  refusedAs,
  sessionOf
} from './rows.ts'

export function sessions(t: Test, opened: Opened): void {
  const { store, others, sql } = opened
  const rowsOf = (user: string) => sql(`select * from sessions where user_id = '${user}'`)
  const end = (filter: SessionFilter, now = NOW) => store.sessions.end(OPERATOR, { ...filter, now })

  t.test('a session is opened as given', async (t) => {
    const alice = await addUser(store)
    const session = newSession(alice.id)
    t.equal(await openSession(store, session), true)
    t.strictSame(await rowsOf(alice.id), [
      {
        id: session.id,
        user_id: alice.id,
        client_id: 'app',
        scopes: 'profile things:read',
        amr: 'pwd otp',
        auth_at: NOW - 1,
        created_at: NOW,
        idle_expires_at: NOW + 3_600_000,
        expires_at: NOW + 86_400_000,
        ended_at: null,
        address: '203.0.113.7',
        user_agent: 'test/1',
        counter: 0,
        salt: 'c2FsdA',
        rotated_at: null,
        revoked_seq: 0,
        login_id: null
      }
    ])
    t.strictSame(await sessionOf(store, session.id), { ...session, counter: 0, endedAt: null })
    const bare = newSession(alice.id, { address: null, userAgent: null })
    t.equal(await openSession(store, bare), true, 'a user may have many, also of unknown origin')
    t.equal((await rowsOf(alice.id)).length, 2)
    await t.rejects(openSession(store, session), refusedAs('conflict'))
  })

  t.test('no session is opened when user, version or client changed since the proof', async (t) => {
    const alice = await addUser(store)
    const refuses = async (reason: string, more = {}, authVersion = 1) =>
      t.equal(await openSession(store, newSession(alice.id, more), { authVersion }), false, reason)
    await refuses('a later version', {}, 2)
    await refuses('an earlier version', {}, 0)
    await refuses('a disabled client', { clientId: 'off' })
    await refuses('an unknown client', { clientId: 'unknown' })
    await refuses('an unknown user', { userId: randomUUIDv7() })
    await sql(`update users set disabled_at = ${NOW} where id = '${alice.id}'`)
    await refuses('a disabled user')
    await sql(`update users set disabled_at = null, auth_version = 2 where id = '${alice.id}'`)
    await refuses('a new password')
    t.strictSame(await rowsOf(alice.id), [])
    t.equal(await openSession(store, newSession(alice.id), { authVersion: 2 }), true)
  })

  t.test('no session is opened for a login that began before something was taken from its client', async (t) => {
    const [alice, client] = [await addUser(store), await addClient(store)]
    const rev = await store.revocations.seq()
    const openAt = (known: number) => openSession(store, newSession(alice.id, { clientId: client.id }), { rev: known })
    const setGrants = (grantTypes: string[]) =>
      store.clients.change(OPERATOR, { id: client.id, changes: { grantTypes }, now: NOW })
    t.equal(await openAt(rev), true)
    await setGrants(['password'])
    await setGrants(client.grantTypes)
    t.strictSame([await openAt(rev), await openAt(await store.revocations.seq())], [false, true])
  })

  for (const [cause, columns] of [
    ['a disabling', `disabled_at = ${NOW}, auth_version = auth_version + 1`],
    ['a new password', 'auth_version = auth_version + 1']
  ] as const) {
    t.test(`no login in progress outlives ${cause}`, async (t) => {
      const left: unknown[] = []
      for (let round = 0; round < ROUNDS; round++) {
        const { id } = await addUser(store)
        const takeAway = () =>
          sql(
            `update users set ${columns} where id = '${id}'`,
            `update sessions set ended_at = ${NOW} where user_id = '${id}' and ended_at is null`
          )
        const logins = () => others.slice(0, 2).map((each) => openSession(each, newSession(id)))
        const pause = () => sleep(round % 8)
        const [results] = await Promise.all([
          pause().then(() => Promise.all(logins())),
          round % 2 === 0 ? takeAway() : pause().then(takeAway)
        ])
        const rows = await rowsOf(id)
        if (rows.length !== results.filter(Boolean).length) left.push({ round, rows, results })
        left.push(...rows.filter((row) => row.ended_at === null))
      }
      t.strictSame(left, [])
    })
  }

  t.test('a login waits for a disabling that is not committed yet, and opens no session then', async (t) => {
    const { id } = await addUser(store)
    const commit = await opened.hold(
      t,
      `update users set disabled_at = ${NOW}, auth_version = auth_version + 1 where id = '${id}'`
    )
    const login = openSession(store, newSession(id))
    await sleep(50)
    await commit()
    t.equal(await login, false)
    t.strictSame(await rowsOf(id), [])
  })

  t.test('the living sessions of a user are listed by id, page by page', async (t) => {
    const [alice, bob] = [await addUser(store), await addUser(store)]
    const ids = Array.from({ length: 6 }, () => randomUUIDv7()).toSorted() as [string, ...string[]]
    const sessions = ids.map((id, index) => newSession(alice.id, { id, idleExpiresAt: NOW + 1000 * (index + 1) }))
    for (const session of [...sessions.toReversed(), newSession(bob.id)]) await openSession(store, session)
    const list = async (after: string | null, limit: number, now = NOW) =>
      (await store.sessions.list(alice.id, { after, limit }, now)).map(({ id }) => id)
    t.strictSame(await list(null, 10), ids)
    t.strictSame(await list(null, 2), ids.slice(0, 2))
    t.strictSame(await list(ids[1] as string, 2), ids.slice(2, 4))
    t.strictSame(await list(ids[5] as string, 2), [])
    t.strictSame(await list(null, 10, NOW + 1999), ids.slice(1), 'an idle session is left out')
    t.strictSame(await list(null, 10, NOW + 2000), ids.slice(2))
    await end({ id: ids[3] as string })
    t.strictSame(await list(null, 10), ids.toSpliced(3, 1))
    const [first] = await store.sessions.list(alice.id, { after: null, limit: 1 }, NOW)
    t.strictSame(first, { ...sessions[0], counter: 0, endedAt: null })
    t.strictSame(await store.sessions.list(randomUUIDv7(), { after: null, limit: 10 }, NOW), [])
  })

  t.test(
    'end ends the living sessions that match in every member, counts them, and appends each to the revocation log',
    async (t) => {
      const [alice, bob, other] = [await addUser(store), await addUser(store), await addClient(store)]
      const owners: [string, string][] = [
        ...[0, 1, 2].map((): [string, string] => [alice.id, 'app']),
        [alice.id, other.id],
        [bob.id, 'app'],
        [bob.id, other.id],
        [bob.id, other.id]
      ]
      const sessions = owners.map(([userId, clientId]) => newSession(userId, { clientId }))
      const idle = newSession(alice.id, { idleExpiresAt: NOW - 60_000 })
      for (const session of [...sessions, idle]) await openSession(store, session)
      const ids = sessions.map(({ id }) => id)
      const now = NOW + 1
      const alive = new Set(ids)
      const steps: [SessionFilter, number[]][] = [
        [{ id: ids[0] as string, userId: bob.id }, []],
        [{ id: randomUUIDv7() }, []],
        [{ id: idle.id }, []],
        [{ id: ids[0] as string, clientId: other.id }, []],
        [{ id: ids[0] as string, userId: alice.id }, [0]],
        [{ id: ids[0] as string }, []],
        [{ userId: alice.id, except: ids[1] as string }, [2, 3]],
        [{ userId: alice.id, except: null }, [1]],
        [{ userId: alice.id }, []],
        [{ clientId: other.id, except: ids[5] as string }, [6]],
        [{ clientId: other.id }, [5]],
        [{ userId: bob.id }, [4]]
      ]
      for (const [filter, indexes] of steps) {
        const before = await store.revocations.seq()
        t.equal(await end(filter, now), indexes.length, JSON.stringify(filter))
        const entries = indexes.map((index) => ({ kind: 'session', id: ids[index] as string }))
        const byId = entries.toSorted((a, b) => (a.id < b.id ? -1 : 1))
        t.strictSame(await entriesAfter(store, before), byId)
        for (const { id } of entries) alive.delete(id)
        for (const session of sessions) {
          const after = alive.has(session.id) ? { endedAt: null } : { endedAt: now, idleExpiresAt: now }
          t.strictSame(await sessionOf(store, session.id), { ...session, counter: 0, ...after })
        }
      }
      t.strictSame(await sessionOf(store, idle.id), { ...idle, counter: 0, endedAt: null })
    }
  )

  t.test('sessions that are ended and renewed concurrently end once, without a deadlock', async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const [user, client] = [await addUser(store, { roles: [] }), await addClient(store)]
      const sessions = Array.from({ length: 8 }, () => newSession(user.id, { clientId: client.id }))
      // Not in the order of their ids.
      for (const session of sessions.toSorted(() => Math.random() - 0.5)) await openSession(store, session)
      const before = await store.revocations.seq()
      const [one, two, three, four] = others
      const password = { id: user.id, hash: 'x', from: null, keep: null, now: NOW }
      const calls: Promise<unknown>[] = [
        one.sessions.end(OPERATOR, { userId: user.id, now: NOW }),
        round % 2 === 0
          ? two.users.setPassword(OPERATOR, password)
          : two.users.delete(OPERATOR, { id: user.id, now: NOW }),
        three.sessions.end(OPERATOR, { clientId: client.id, now: NOW }),
        four.clients.change(OPERATOR, { id: client.id, changes: { disabled: true }, now: NOW }),
        ...sessions.map(({ id }, index) =>
          (others[index % 4] ?? store).sessions.rotate(OPERATOR, {
            id,
            client,
            counter: index % 2,
            leeway: 0,
            now: NOW
          })
        )
      ]
      const counts = await outcomes(calls)
      if (counts.done !== calls.length) t.strictSame(counts, { done: calls.length }, `round ${round}`)
      const left = await store.sessions.list(user.id, { after: null, limit: 10 }, NOW)
      const ended = (await entriesAfter(store, before)).filter(({ kind }) => kind === 'session').map(({ id }) => id)
      if (left.length > 0 || new Set(ended).size !== ended.length) t.fail(`round ${round}: ${left.length}, ${ended}`)
    }
  })

  t.test('a session of a disabled client is not opened again by enabling it', async (t) => {
    const [alice, client] = [await addUser(store), await addClient(store)]
    const [own, other] = [await addSession(store, alice.id, { clientId: client.id }), await addSession(store, alice.id)]
    const setDisabled = (disabled: boolean, now: number) =>
      store.clients.change(OPERATOR, { id: client.id, changes: { disabled }, now })
    const before = await store.revocations.seq()
    const disabled = { ...client, disabledAt: NOW + 7, updatedAt: NOW + 7 }
    t.strictSame(await setDisabled(true, NOW + 7), disabled)
    t.strictSame(await store.clients.get(client.id), disabled)
    t.equal(await openSession(store, newSession(alice.id, { clientId: client.id })), false)
    t.strictSame(await entriesAfter(store, before), [{ kind: 'client', id: client.id }])
    t.strictSame(await setDisabled(true, NOW + 8), { ...disabled, updatedAt: NOW + 8 }, 'it is disabled already')
    t.strictSame(await setDisabled(false, NOW + 9), { ...client, updatedAt: NOW + 9 })
    t.strictSame(await sessionOf(store, own.id), { ...own, counter: 0, endedAt: NOW + 7, idleExpiresAt: NOW + 7 })
    t.strictSame(await sessionOf(store, other.id), { ...other, counter: 0, endedAt: null })
    t.equal((await entriesAfter(store, before)).length, 1, 'enabling takes nothing away')
  })
}
