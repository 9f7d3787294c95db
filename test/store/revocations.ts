import { randomUUIDv7 } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Revocation, RevocationKind } from '../../src/domain/model.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import type { Opened } from './open.ts'
import {
  addClient,
  addSession,
  addUser,
  CLIENT,
  entriesAfter,
  NOW,
  newRevoked,
  notIntrospected,
  outcomes,
  ROUNDS,
  refusedAs,
  unique
} from './rows.ts'

/** The smallest number of entries that the writers append together. */
const ENTRIES = 30 * ROUNDS

/** The other members of an entry of `newRevoked`. */
const OWN = { expiresAt: NOW + 300_000, resources: ['latchkey'] }

type Entry = { kind: RevocationKind; id: string }

const revokeToken = (store: Store, jti: string) => store.revocations.revokeToken(OPERATOR, newRevoked(jti))

/** The revocation log. */
export function revocations(t: Test, opened: Opened): void {
  const { store, others, sql } = opened

  t.test(
    'a role that loses a scope or is deleted revokes also the tokens with the scope that do not carry the role',
    async (t) => {
      const name = unique('role')
      const scopes = ['things:read']
      await store.roles.create(OPERATOR, { name, description: '', scopes: [...scopes, 'profile'], now: NOW })
      const carrying = await addClient(store, { scopes, defaultScopes: [], roles: [name] })
      const without = await addClient(store, { scopes, defaultScopes: [], roles: [] })
      const foreign = await addClient(store, { scopes, defaultScopes: [], firstParty: false })
      const other = await addClient(store, { scopes: ['profile'], defaultScopes: [], roles: [] })
      const ids = [carrying, without, foreign, other].map(({ id }) => id)
      const idsSince = async (before: number) =>
        (await entriesAfter(store, before)).map(({ id }) => id).filter((id) => [name, ...ids].includes(id))
      const start = await store.revocations.seq()
      await store.roles.change(OPERATOR, { name, changes: { scopes: ['profile'] }, now: NOW })
      t.strictSame((await idsSince(start)).toSorted(), [name, without.id, foreign.id].toSorted())
      const changed = await store.revocations.seq()
      await store.roles.delete(OPERATOR, { name, now: NOW })
      t.strictSame((await idsSince(changed)).toSorted(), [name, other.id].toSorted())
    }
  )

  t.test('the log begins at 0, and its number is that of the last committed entry', async (t) => {
    await opened.seed()
    t.equal(await store.revocations.seq(), 0)
    await sql("update counters set seq = 5000000000 where name = 'revocations'")
    t.equal(await store.revocations.seq(), 5_000_000_000)
  })

  t.test('the log returns its entries after a number, at most a limit, and both ends', async (t) => {
    await opened.seed()
    const since = (after: number, limit = 100) => store.revocations.since(after, limit)
    t.strictSame(await since(0), { entries: [], next: 0, seq: 0, oldest: 0 }, 'an empty log')
    t.strictSame(await since(7), { entries: [], next: 0, seq: 0, oldest: 0 })
    for (const jti of ['a', 'b', 'c', 'd']) await revokeToken(others[0], jti)
    const entries = ['a', 'b', 'c', 'd'].map((id, index) => ({ seq: index + 1, kind: 'token', id, ...OWN }))
    const ends = { next: 4, seq: 4, oldest: 0 }
    t.strictSame(await since(0), { entries, ...ends })
    t.strictSame(await since(0, 3), { entries: entries.slice(0, 3), ...ends, next: 3 })
    t.strictSame(await since(2), { entries: entries.slice(2), ...ends })
    t.strictSame(await since(2, 1), { entries: entries.slice(2, 3), ...ends, next: 3 })
    t.strictSame(await since(4), { entries: [], ...ends })
    for (const after of [5, 5_000_000_000, 999_999_999_999_999])
      t.strictSame(await since(after), { entries, ...ends }, `everything after ${after}, which is above the end`)
    t.equal(await store.revocations.seq(), 4)

    await sql('delete from revocations where seq in (1, 3)')
    const kept = entries.filter(({ seq }) => seq === 2 || seq === 4)
    for (const after of [0, 1])
      t.strictSame(await since(after), { entries: kept, next: 4, seq: 4, oldest: 1 }, 'with gaps')
    t.strictSame(await since(2), { entries: kept.slice(1), next: 4, seq: 4, oldest: 1 })
    await sql('delete from revocations')
    for (const after of [0, 4, 5])
      t.strictSame(await since(after), { entries: [], next: 4, seq: 4, oldest: 4 }, 'with no entry left')
  })

  t.test('a page of the log is a snapshot, also while entries are appended and removed', async (t) => {
    await opened.seed()
    let isOver = false
    const writing = (async () => {
      for (let round = 1; round <= 3 * ROUNDS; round++) {
        await revokeToken(others[0], unique('jti'))
        if (round % 5 === 0) await sql(`delete from revocations where seq <= ${round - 2}`)
      }
      isOver = true
    })()
    while (!isOver) {
      const { entries, seq, oldest } = await store.revocations.since(0, 1000)
      const numbers = entries.map((entry) => entry.seq)
      const dense = Array.from({ length: seq - oldest }, (_, index) => oldest + 1 + index)
      if (numbers.join() !== dense.join()) t.strictSame(numbers, dense)
      await setImmediate()
    }
    await writing
  })

  t.test('a token is revoked once, also by concurrent calls', async (t) => {
    const ref = notIntrospected({ kid: 'signing', sid: null, sub: 'app', clientId: 'app' })
    const isRevoked = async (jti: string) => (await store.state({ ...ref, jti })).revoked
    const jti = unique('jti')
    t.equal(await isRevoked(jti), false)
    const before = await store.revocations.seq()
    await revokeToken(store, jti)
    await t.rejects(revokeToken(store, jti), refusedAs('conflict'))
    t.strictSame([await isRevoked(jti), await isRevoked(`${jti}x`)], [true, false])
    t.strictSame(await entriesAfter(store, before), [{ kind: 'token', id: jti }])

    const start = await store.revocations.seq()
    const expected: string[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const id = unique('jti')
      expected.push(id)
      t.strictSame(await outcomes(others.map((each) => revokeToken(each, id))), { done: 1, conflict: 3 })
      if (!(await isRevoked(id))) t.fail(`round ${round}: not revoked`)
    }
    const { entries } = await store.revocations.since(start, 10_000)
    t.strictSame(
      entries,
      expected.map((id, index) => ({ seq: start + 1 + index, kind: 'token', id, ...OWN })),
      'a refused call leaves no gap'
    )
  })

  t.test('a reader of the log misses no entry of concurrent writers', async (t) => {
    await opened.seed()
    const first = await store.revocations.seq()
    const written: Entry[] = []
    let isWriting = true
    async function write(writer: number): Promise<void> {
      for (let turn = writer; written.length < ENTRIES; turn++) {
        const operation = OPERATIONS[turn % OPERATIONS.length] as (typeof OPERATIONS)[0]
        written.push(...(await operation(others[writer % 4] as Store)))
      }
    }
    const seen: Revocation[] = []
    async function read(): Promise<void> {
      for (let isOver = false; !isOver; ) {
        await setImmediate()
        isOver = !isWriting
        // Reads to the end once more after the last write.
        for (let page: Revocation[] | null = null; page?.length !== 0; ) {
          page = (await store.revocations.since(seen.at(-1)?.seq ?? first, 100)).entries
          seen.push(...page)
        }
      }
    }
    const reading = read()
    await Promise.all(Array.from({ length: 8 }, (_, writer) => write(writer)))
    isWriting = false
    await reading

    const asTexts = (entries: Entry[]) => [...new Set(entries.map(({ kind, id }) => `${kind} ${id}`))].sort()
    t.ok(written.length >= ENTRIES, `${written.length} entries`)
    t.strictSame(asTexts(seen), asTexts(written))
    const outOfOrder = seen.filter(({ seq }, index) => seq <= (seen[index - 1]?.seq ?? first))
    t.strictSame(outOfOrder, [], 'in the order of their numbers')
    const replaced = written.length - asTexts(written).length
    t.ok(written.length - seen.length <= replaced, 'only an entry that a later one has replaced may be missing')
    t.equal(await store.revocations.seq(), first + written.length, 'the numbers have no gap')
  })
}

async function withSessions(store: Store, count: number): Promise<{ id: string; sessions: Entry[] }> {
  const { id } = await addUser(store)
  const sessions: Entry[] = []
  for (let index = 0; index < count; index++) sessions.push({ kind: 'session', id: (await addSession(store, id)).id })
  return { id, sessions }
}

/** Operations that append entries, each by another method. They return the entries that they must have appended. */
const OPERATIONS: ((store: Store) => Promise<Entry[]>)[] = [
  async (store) => {
    const { id, sessions } = await withSessions(store, 6)
    await store.sessions.end(OPERATOR, { userId: id, now: NOW })
    return sessions
  },
  async (store) => {
    const { id, sessions } = await withSessions(store, 3)
    await store.users.setPassword(OPERATOR, { id, hash: 'another', from: null, keep: null, now: NOW })
    return sessions
  },
  async (store) => {
    const { sessions } = await withSessions(store, 1)
    const { id } = sessions[0] as Entry
    for (const counter of [0, 1, 0])
      await store.sessions.rotate(OPERATOR, { id, client: CLIENT, counter, leeway: 0, now: NOW })
    return sessions
  },
  async (store) => {
    const { id } = await withSessions(store, 1)
    await store.users.change(OPERATOR, { id, changes: { disabled: true }, now: NOW })
    return [{ kind: 'user', id }]
  },
  async (store) => {
    const { id } = await withSessions(store, 1)
    await store.users.delete(OPERATOR, { id, now: NOW })
    return [{ kind: 'user', id }]
  },
  async (store) => {
    const name = randomUUIDv7()
    await store.roles.create(OPERATOR, { name, description: '', scopes: ['profile'], now: NOW })
    await store.roles.change(OPERATOR, { name, changes: { scopes: [] }, now: NOW })
    await store.roles.delete(OPERATOR, { name, now: NOW })
    return [
      { kind: 'role', id: name },
      { kind: 'role', id: name }
    ]
  },
  async (store) => {
    const { id } = await addClient(store)
    await store.clients.change(OPERATOR, { id, changes: { disabled: true }, now: NOW })
    return [{ kind: 'client', id }]
  },
  // Half of the operations revoke tokens, which need no other row.
  ...Array.from({ length: 7 }, () => async (store: Store): Promise<Entry[]> => {
    const entries: Entry[] = Array.from({ length: 10 }, () => ({ kind: 'token', id: randomUUIDv7() }))
    for (const { id } of entries) await revokeToken(store, id)
    return entries
  })
]
