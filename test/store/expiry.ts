import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Opened } from './open.ts'
import { addClient, addSession, addUser, entriesAfter, NOW, newSecret, ROUNDS, sessionOf } from './rows.ts'

/** The number of expired sessions. One call of `prune` does not remove so many. */
const MANY = 700

/** The removal of expired rows. */
export function expiry(t: Test, opened: Opened): void {
  const { store, others, sql } = opened

  t.test('of eight concurrent calls one gets the lease, and no other before its end', async (t) => {
    for (let round = 0; round < ROUNDS; round++) {
      const now = NOW + round * 60_000
      const calls = [...others, ...others].map((each) => each.expiry.takeLease(now, now + 60_000))
      const leaders = (await Promise.all(calls)).filter(Boolean).length
      if (leaders !== 1) t.equal(leaders, 1, `round ${round}`)
      if (await store.expiry.takeLease(now + 59_999, now + 119_999)) t.fail(`round ${round}: a second lease`)
    }
    await sql(`update leases set until_at = ${NOW + 660_000}`)
    t.equal(await store.expiry.takeLease(NOW, NOW + 60_000), false)
    await sql(`update leases set until_at = ${NOW + 660_001}`)
    t.equal(await store.expiry.takeLease(NOW, NOW + 60_000), true, 'no lease is so long: a clock was ahead')
  })

  t.test('prune removes rows a minute after their end, some hundreds in each call, and no other row', async (t) => {
    await opened.seed()
    const alice = await addUser(store)
    const kept = [
      await addSession(store, alice.id, { idleExpiresAt: NOW + 1 }),
      await addSession(store, alice.id),
      await addSession(store, alice.id, { idleExpiresAt: NOW + 60_000 })
    ]
    const ended = await addSession(store, alice.id)
    await store.sessions.end(OPERATOR, { id: ended.id, now: NOW + 1 })
    const old = Array.from(
      { length: MANY },
      (_, index) =>
        `('s${index}', ${NOW - (index % 3)}, '${alice.id}', 'app', '', '', ${NOW}, ${NOW}, ${NOW + 1}, 0, '')`
    )
    await sql(
      `insert into sessions (id, idle_expires_at, user_id, client_id, scopes, amr, auth_at, created_at, expires_at,
        counter, salt) values ${old.join()}`
    )
    await sql(
      `insert into revocations (seq, kind, id, expires_at) values (5000, 'token', 'old', ${NOW}), (5001, 'token', 'new', ${NOW + 1})`
    )
    await sql(`insert into revocation_quotas values ('old', ${NOW}), ('new', ${NOW + 1})`)
    await sql(
      `insert into guesses (key, count, last_at, expires_at) values ('old', 1, 0, ${NOW}), ('new', 1, 0, ${NOW + 1})`
    )
    const now = NOW + 60_000
    t.equal(await store.expiry.prune(now - 3), 0, 'not before the minute is over')
    let removed = 0
    for (let count = 1; count > 0; removed += count) {
      count = await store.expiry.prune(now)
      t.ok(count <= 503, `${count} rows at once`)
    }
    t.equal(removed, MANY + 3)
    for (const session of kept)
      t.strictSame(await sessionOf(store, session.id), { ...session, counter: 0, endedAt: null })
    t.type(await sessionOf(store, ended.id), 'object', 'an ended session is kept for a minute too')
    t.strictSame(await sql('select key from guesses'), [{ key: 'new' }])
    t.strictSame(await sql("select id from revocations where id in ('old', 'new')"), [{ id: 'new' }])
    t.equal(await store.expiry.prune(now + 1), 5, 'a session, an ended session, an entry, a guess and a quota')
    t.equal(await sessionOf(store, ended.id), null)
    t.strictSame(await entriesAfter(store, 0), [{ kind: 'session', id: ended.id }], 'its entry is kept for longer')
  })

  t.test('prune removes expired assertions and secrets of clients, and no others', async (t) => {
    await opened.seed()
    const [one, two] = [await addClient(store), await addClient(store)]
    await store.clients.useAssertion(one.id, 'same', NOW)
    await store.clients.useAssertion(two.id, 'same', NOW + 1)
    await store.clients.useAssertion(one.id, 'later', NOW + 1)
    for (const [hash, expiresAt] of [
      ['old', NOW],
      ['new', NOW + 1],
      ['lasting', null]
    ] as const) {
      const secret = newSecret(hash, { createdAt: NOW - 1, expiresAt })
      await store.clients.addSecret(OPERATOR, { id: one.id, secret, othersEndAt: null, maxSecrets: 100 })
    }
    t.equal(await store.expiry.prune(NOW + 59_999), 0)
    t.equal(await store.expiry.prune(NOW + 60_000), 2)
    t.equal(await store.clients.useAssertion(two.id, 'same', NOW), false, 'the same jti of another client')
    t.equal(await store.clients.useAssertion(one.id, 'later', NOW), false)
    t.strictSame(await sql('select secret_hash from client_secrets order by secret_hash'), [
      { secret_hash: 'lasting' },
      { secret_hash: 'new' }
    ])
    t.equal(await store.expiry.prune(NOW + 60_001), 3)
    t.strictSame(await sql('select secret_hash from client_secrets'), [{ secret_hash: 'lasting' }])
  })

  t.test('prune leaves out a row that a transaction has locked, and does not wait for it', async (t) => {
    if (opened.kind === 'sqlite') return t.pass('a SQLite database has one writer')
    const alice = await addUser(store)
    const locked = await addSession(store, alice.id, { idleExpiresAt: NOW })
    await addSession(store, alice.id, { idleExpiresAt: NOW })
    const commit = await opened.hold(t, `select id from sessions where id = '${locked.id}' for update`)
    t.equal(await store.expiry.prune(NOW + 60_000), 1)
    await commit()
    t.equal(await store.expiry.prune(NOW + 60_000), 1)
  })

  t.test('instances that prune concurrently remove each row once', async (t) => {
    await opened.seed()
    const alice = await addUser(store)
    for (let index = 0; index < 50; index++) await addSession(store, alice.id, { idleExpiresAt: NOW })
    const counts = await Promise.all(others.map((each) => each.expiry.prune(NOW + 60_000)))
    t.equal(
      counts.reduce((sum, count) => sum + count, 0),
      50
    )
    t.strictSame(await sql('select id from sessions'), [])
  })
}
