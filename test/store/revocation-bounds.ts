import { Kysely } from 'kysely'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { REVOCATION_QUOTA, SESSION_ENTRIES_MAX, SESSION_TOKEN_ENTRIES_MAX, SESSIONS_MAX } from '../../src/limits.ts'
import { openPostgres } from '../../src/store/postgres.ts'
import type { Tables } from '../../src/store/schema.ts'
import { sessions } from '../../src/store/sessions.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import { createDatabase } from '../../src/store/transaction.ts'
import type { Opened } from './open.ts'
import {
  addSession,
  addUser,
  entriesAfter,
  NOW,
  newRevoked,
  newSession,
  notIntrospected,
  openSession,
  outcomes,
  ROUNDS,
  refusedAs,
  unique
} from './rows.ts'

const MANY = 20_000

/** What bounds the revocation log. */
export function revocationBounds(t: Test, opened: Opened): void {
  const { store, others, sql } = opened
  const revoke = (more: Parameters<typeof newRevoked>[1] = {}, by = store) => {
    const token = newRevoked(unique('jti'), more)
    return by.revocations.revokeToken(OPERATOR, token).then(() => token.jti)
  }
  const stateOf = (sid: string, userId: string, jti = 'none') =>
    store.state(notIntrospected({ kid: 'signing', jti, sid, sub: userId, clientId: 'app' }))

  t.test(
    'many revoked tokens of a session become one entry for its earlier tokens, and fewer stay single [UA4]',
    async (t) => {
      await opened.seed()
      const user = await addUser(store)
      const [session, other] = [await addSession(store, user.id), await addSession(store, user.id)]
      const of = ({ id }: { id: string }) => ({ userId: user.id, sid: id })
      const first = await revoke(of(other))
      const single: string[] = []
      for (let index = 0; index < SESSION_TOKEN_ENTRIES_MAX; index++) single.push(await revoke(of(session)))
      const entries = [first, ...single].map((id) => ({ kind: 'token', id }))
      t.strictSame(await entriesAfter(store, 0), entries)
      t.equal((await stateOf(session.id, user.id)).session?.revokedSeq, 0, 'other tokens of the session stay valid')

      const rounds = 2 * SESSION_TOKEN_ENTRIES_MAX
      let last = ''
      for (let round = 0; round < rounds; round++) last = await revoke(of(session))
      const { seq, ...page } = await store.revocations.since(0, 100)
      t.equal(seq, 1 + SESSION_TOKEN_ENTRIES_MAX + rounds, 'every revocation has a number')
      const kinds = Object.groupBy(page.entries, ({ kind }) => kind)
      t.equal(kinds.session_tokens?.length, 1)
      t.ok((kinds.token?.length ?? 0) <= 1 + SESSION_TOKEN_ENTRIES_MAX, `${kinds.token?.length} single entries`)
      const collapsed = kinds.session_tokens?.[0]
      t.match(collapsed, { id: session.id, resources: ['latchkey'] })
      t.strictSame((await stateOf(session.id, user.id)).session?.revokedSeq, collapsed?.seq)
      t.equal((await stateOf(session.id, user.id, last)).revoked, true, 'the last one is single again')
      t.equal((await stateOf(other.id, user.id, first)).revoked, true, 'entries of another session stay')
      t.equal((await stateOf(other.id, user.id)).session?.revokedSeq, 0)
    }
  )

  t.test('the entry of an ended session replaces those of its tokens, and concurrent calls agree [UA4]', async (t) => {
    await opened.seed()
    for (let round = 0; round < ROUNDS; round++) {
      const user = await addUser(store)
      const session = await addSession(store, user.id)
      const of = { userId: user.id, sid: session.id }
      const before = await store.revocations.seq()
      const calls = others.flatMap((each) => Array.from({ length: 3 }, () => revoke(of, each)))
      t.strictSame(await outcomes(calls), { done: 12 })
      const singles = (await entriesAfter(store, before)).filter(({ kind }) => kind === 'token')
      if (singles.length > SESSION_TOKEN_ENTRIES_MAX) t.fail(`${singles.length} single entries`)
      await store.sessions.end(OPERATOR, { id: session.id, now: NOW })
      t.strictSame(await entriesAfter(store, before), [{ kind: 'session', id: session.id }])
      await t.rejects(revoke(of), refusedAs('conflict'), 'the tokens of an ended session are revoked already')
      await store.users.change(OPERATOR, { id: user.id, changes: { disabled: true }, now: NOW })
      t.strictSame(await entriesAfter(store, before), [{ kind: 'user', id: user.id }])
    }
  })

  t.test('an entry names the resources whose tokens it can revoke', async (t) => {
    await opened.seed()
    const user = await addUser(store)
    const [one, two] = [await addSession(store, user.id), await addSession(store, user.id, { scopes: ['profile'] })]
    await revoke({ aud: 'https://things.example', expiresAt: NOW + 7 })
    await revoke({ aud: 'https://no.resource.example' })
    for (const { id } of [one, two]) await store.sessions.end(OPERATOR, { id, now: NOW })
    await store.users.delete(OPERATOR, { id: user.id, now: NOW })
    const { entries } = await store.revocations.since(0, 10)
    t.strictSame(
      entries.map(({ kind, resources, expiresAt }) => [kind, resources, expiresAt - NOW]),
      [
        ['token', ['things'], 7],
        ['token', ['latchkey'], 300_000],
        ['user', null, 3_660_000]
      ],
      'the entry of the user stands for the two of the sessions'
    )
  })

  t.test(
    'a writer has a quota that all instances share, refusals only read, and other writers have theirs [UA4 IR4]',
    async (t) => {
      await opened.seed()
      const quota = { writer: 'user a', burst: 4, interval: 1000 }
      const start = NOW + 5000
      t.strictSame(await outcomes(others.flatMap((each) => [0, 1, 2].map(() => revoke({ quota, now: start }, each)))), {
        done: 4,
        throttled: 8
      })
      const written = () => sql("select * from revocation_quotas where writer = 'user a'")
      const before = [await written(), await store.revocations.seq()]
      await t.rejects(revoke({ quota, now: start + 999 }), { code: 'throttled', retryAfter: 1 })
      t.strictSame([await written(), await store.revocations.seq()], before)
      await revoke({ quota: { ...quota, writer: 'user b' }, now: start })
      await revoke({ quota, now: start + 1000 })
      await t.rejects(revoke({ quota, now: start + 1000 }), refusedAs('throttled'))
      for (let times = 0; times < 4; times++) await revoke({ quota, now: start + 60_000 })
      await t.rejects(revoke({ quota, now: start + 60_000 }), refusedAs('throttled'), 'no more than the burst')
      await revoke({ quota, now: start - 3_600_000 })
      t.pass('an instance whose clock was an hour ahead did not use up the quota')
      for (const { burst, intervalMs } of Object.values(REVOCATION_QUOTA)) t.ok(burst > 0 && intervalMs > 0)
    }
  )

  t.test('ending 20,000 sessions of a user takes seven statements and adds one entry [UA8]', async (t) => {
    await opened.seed()
    const user = await addUser(store)
    const rows = Array.from({ length: MANY }, (_, index) => `('${user.id}-${index}', '${user.id}')`)
    const fill = () =>
      sql(
        `insert into sessions (id, user_id, client_id, scopes, amr, auth_at, created_at, idle_expires_at, expires_at, counter, salt)
        select id, user_id, 'app', 'profile', 'pwd', 0, 0, ${NOW + 1000}, ${NOW + 1000}, 0, ''
        from (select column1 as id, column2 as user_id from (values ${rows.join()}) as v) as rows`
      )
    await fill()
    const statements: string[] = []
    const log = ({ query }: { query: { sql: string } }) => void statements.push(query.sql.split(' ')[0] as string)
    const { dialect, statements: single } =
      opened.kind === 'sqlite' ? openSqlite(opened.url.slice('sqlite:'.length)) : openPostgres(opened.url)
    const db = new Kysely<Tables>({ dialect, log })
    t.teardown(() => db.destroy())
    const before = await store.revocations.seq()
    t.equal(
      await sessions(createDatabase({ db, statements: single }, { record: () => {} })).end(OPERATOR, {
        userId: user.id,
        now: NOW
      }),
      MANY
    )
    const changes = statements.filter((each) => ['update', 'with', 'insert', 'delete'].includes(each))
    t.strictSame(changes, ['update', 'with', 'insert', 'delete', 'delete', 'update', 'insert'])
    t.strictSame(await entriesAfter(store, before), [{ kind: 'user', id: user.id }])
    t.strictSame(await store.sessions.list(user.id, { after: null, limit: 1 }, NOW), [])
    t.equal(await store.users.delete(OPERATOR, { id: user.id, now: NOW }), true)
    t.strictSame(await sql('select id from sessions'), [])
  })

  t.test('a new password ends few other sessions with an entry for each, and many with one for the user', async (t) => {
    await opened.seed()
    for (const count of [SESSION_ENTRIES_MAX, SESSION_ENTRIES_MAX + 1]) {
      const user = await addUser(store)
      const ids: string[] = []
      for (let index = 0; index <= count; index++) ids.push((await addSession(store, user.id)).id)
      const [keep = ''] = ids
      const before = await store.revocations.seq()
      await store.users.setPassword(OPERATOR, { id: user.id, hash: 'x', from: null, keep, now: NOW })
      const single = ids
        .slice(1)
        .toSorted()
        .map((id) => ({ kind: 'session', id }))
      const expected = count === SESSION_ENTRIES_MAX ? single : [{ kind: 'user', id: user.id }]
      t.strictSame(await entriesAfter(store, before), expected)
      t.equal((await stateOf(keep, user.id)).session?.endedAt, null)
    }
  })

  t.test(
    'a login beyond the maximum of sessions ends the session that was unused for the longest time, also concurrently [UA8]',
    async (t) => {
      await opened.seed()
      const user = await addUser(store)
      const ids: string[] = []
      for (let index = 0; index < SESSIONS_MAX; index++)
        ids.push((await addSession(store, user.id, { createdAt: NOW - 1000 + index })).id)
      await sql(`update sessions set rotated_at = ${NOW} where id = '${ids[0]}'`)
      const count = async () =>
        Number(
          (await sql(`select count(*) as n from sessions where ended_at is null and idle_expires_at > ${NOW}`))[0]?.n
        )
      const before = await store.revocations.seq()
      const first = opened.events.length
      const opening = newSession(user.id)
      t.equal(await openSession(store, opening), true)
      t.strictSame(await entriesAfter(store, before), [{ kind: 'session', id: ids[1] }])
      t.strictSame(
        opened.events.slice(first).map(({ type, subject, reason }) => ({ type, subject, reason })),
        [
          {
            type: 'login.succeeded',
            subject: { user: user.id, client: 'app', session: opening.id },
            reason: 'pwd otp'
          },
          {
            type: 'session.ended',
            subject: { user: user.id, session: ids[1] },
            reason: `the user has more than ${SESSIONS_MAX} sessions`
          }
        ]
      )
      t.equal(await count(), SESSIONS_MAX)
      await Promise.all(others.flatMap((each) => [0, 1].map(() => openSession(each, newSession(user.id)))))
      t.equal(await count(), SESSIONS_MAX)
      t.equal((await stateOf(ids[0] as string, user.id)).session?.endedAt, null, 'a renewed session is a used one')
    }
  )
}
