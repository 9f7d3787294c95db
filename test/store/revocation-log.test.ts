import { randomUUIDv7 } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Client, Revocation, RevocationKind } from '../../src/domain/model.ts'
import type { NewUser, Store } from '../../src/domain/ports.ts'
import { openStore } from '../../src/store/index.ts'
import { createDatabase } from '../helper.ts'

const WRITERS = 8
const ENTRIES = 3000
const NOW = Date.UTC(2026, 0, 1, 12)

type Entry = { kind: RevocationKind; id: string }

const newUser = (): NewUser => {
  const id = randomUUIDv7()
  return {
    id,
    username: id,
    usernameKey: id,
    email: null,
    emailKey: null,
    fullName: null,
    roles: ['user'],
    passwordHash: 'a hash',
    now: NOW
  }
}

/** A user with that many sessions, and their ids. */
async function withSessions(store: Store, clientId: string, count: number): Promise<{ user: NewUser; ids: string[] }> {
  const user = newUser()
  await store.users.create(user, null)
  const session = {
    userId: user.id,
    clientId,
    scopes: ['profile'],
    amr: ['pwd'],
    authAt: NOW,
    createdAt: NOW,
    lastUsedAt: NOW,
    idleExpiresAt: NOW + 3_600_000,
    expiresAt: NOW + 3_600_000,
    address: null,
    userAgent: null,
    salt: 'c2FsdA'
  }
  const ids = Array.from({ length: count }, () => randomUUIDv7())
  for (const id of ids) await store.sessions.open({ ...session, id }, 1, Number.MAX_SAFE_INTEGER)
  return { user, ids }
}

const sessions = (ids: string[]): Entry[] => ids.map((id) => ({ kind: 'session', id }))

/** What writes entries, each in its own way; the entries that it must have written. */
const operations: ((store: Store) => Promise<Entry[]>)[] = [
  async (store) => {
    const { user, ids } = await withSessions(store, 'docs', 6)
    await store.sessions.end({ userId: user.id }, NOW)
    return sessions(ids)
  },
  async (store) => {
    const { user, ids } = await withSessions(store, 'docs', 3)
    await store.users.setPassword(user.id, { hash: 'another', from: null, keep: null }, NOW)
    return sessions(ids)
  },
  async (store) => {
    const { ids } = await withSessions(store, 'docs', 1)
    const docs = (await store.clients.get('docs')) as Client
    for (const counter of [0, 1, 0]) await store.sessions.rotate(ids[0] as string, docs, counter, 0, NOW)
    return sessions(ids)
  },
  async (store) => {
    const { user } = await withSessions(store, 'docs', 1)
    await store.users.change(user.id, { disabled: true }, null, NOW)
    return [{ kind: 'user', id: user.id }]
  },
  async (store) => {
    const { user } = await withSessions(store, 'docs', 1)
    await store.users.delete(user.id, NOW)
    return [{ kind: 'user', id: user.id }]
  },
  async (store) => {
    const name = randomUUIDv7()
    await store.roles.create({ name, description: '', scopes: ['profile'] }, null, NOW)
    await store.roles.change(name, { scopes: [] }, null, NOW)
    await store.roles.delete(name, NOW)
    return [
      { kind: 'role', id: name },
      { kind: 'role', id: name }
    ]
  },
  async (store) => {
    const id = randomUUIDv7()
    const docs = (await store.clients.get('docs')) as Client
    await store.clients.create({ ...docs, id }, null, null)
    await store.clients.change(id, { disabled: true }, null, NOW)
    return [{ kind: 'client', id }]
  },
  // Most of all tokens: for others there must be something first.
  ...Array.from({ length: 7 }, () => async (store: Store): Promise<Entry[]> => {
    const entries: Entry[] = Array.from({ length: 10 }, () => ({ kind: 'token', id: randomUUIDv7() }))
    for (const { id } of entries) await store.revocations.revokeToken(id, NOW)
    return entries
  })
]

const byText = (entries: Entry[]): string[] => entries.map(({ kind, id }) => `${kind} ${id}`).sort()

/** One more instance on a database. */
function open(t: Test, url: string): Store {
  const store = openStore(url)
  t.teardown(() => store.close())
  return store
}

t.test('entries of eight writers at once are seen by a reader without one missing (postgres)', async (t) => {
  const { url } = await createDatabase(t, 'postgres', 'ready')
  const reader = open(t, url)
  const first = await reader.revocations.seq()
  const written: Entry[] = []
  let writing = true

  async function write(store: Store, writer: number): Promise<void> {
    for (let turn = writer; written.length < ENTRIES; turn++) {
      const operation = operations[turn % operations.length] as (typeof operations)[0]
      written.push(...(await operation(store)))
    }
  }
  const seen: Revocation[] = []
  async function read(): Promise<void> {
    for (let over = false; !over; ) {
      over = !writing
      // Up to the end once more, when nobody writes anymore.
      for (let found: Revocation[] | null = null; found?.length !== 0; ) {
        found = (await reader.revocations.since(seen.at(-1)?.seq ?? first, 100)).entries
        seen.push(...found)
      }
    }
  }
  const reading = read()
  await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(open(t, url), writer)))
  writing = false
  await reading

  t.ok(written.length >= ENTRIES, `${written.length} entries`)
  t.strictSame(byText(seen), byText(written))
  const gaps = seen.filter(({ seq }, index) => seq !== first + 1 + index)
  t.strictSame(gaps, [], 'their numbers are dense and in order')
  t.equal(await reader.revocations.seq(), first + written.length)
})
