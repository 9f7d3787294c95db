import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Seed, Store } from '../../src/domain/ports/store.ts'
import type { NewUser } from '../../src/domain/ports/users.ts'
import type { Opened } from './open.ts'
import { asUser, newUser, outcomes, ROUNDS, refusedAs, SEED, unique } from './rows.ts'

const ALL = { after: null, limit: 100 }
const NEITHER = { seedStored: false, adminCreated: false }
const newAdmin = (username: string): NewUser => newUser({ username, roles: ['admin'] })

/** The first start of a database. */
export function setup(t: Test, opened: Opened): void {
  const { store, others } = opened
  const setUp = (admin: NewUser | null, { at = store, seed = SEED } = {}) => at.setUp(OPERATOR, { seed, admin })

  t.test('the setup stores the seed and the admin once', async (t) => {
    await opened.empty()
    const admin = newAdmin('Admin')
    t.strictSame(await store.setupState(), { seeded: false, admin: false })
    t.strictSame(await setUp(admin), { seedStored: true, adminCreated: true })
    t.strictSame(await others[0].setupState(), { seeded: true, admin: true })
    t.strictSame(await store.users.list(ALL, {}), [asUser(admin)])
    t.strictSame(await others[0].refreshKeys.current(), SEED.refreshKey)

    const seed = { ...SEED, sealed: [{ name: 'other', value: 'other' }] }
    t.strictSame(await setUp(newAdmin('second'), { at: others[0], seed }), NEITHER)
    t.equal(await store.sealed.get('other'), null)
    t.strictSame(await store.users.list(ALL, {}), [asUser(admin)])
  })

  t.test('the setup adds an admin later when there is none', async (t) => {
    await opened.seed()
    t.strictSame(await store.setupState(), { seeded: true, admin: false })
    const admin = newAdmin('admin')
    t.strictSame(await setUp(admin), { seedStored: false, adminCreated: true })
    t.strictSame(await setUp(newAdmin('second')), NEITHER)
    t.strictSame(await store.setupState(), { seeded: true, admin: true })
    t.strictSame(await store.users.get(admin.id), asUser(admin))
  })

  for (const [difference, nameOf] of [
    ['the same name', () => 'admin'],
    ['different names', (index: number) => `admin${index}`]
  ] as const) {
    t.test(`of eight concurrent first starts with ${difference} one stores the seed and one the admin`, async (t) => {
      for (let round = 0; round < Math.ceil(ROUNDS / 10); round++) {
        await opened.empty()
        const calls = [...others, ...others].map((at, index) => setUp(newAdmin(nameOf(index)), { at }))
        const results = await Promise.all(calls)
        t.equal(results.filter((result) => result.seedStored).length, 1)
        t.equal(results.filter((result) => result.adminCreated).length, 1)
        t.equal((await store.users.list(ALL, {})).length, 1)
        t.equal((await store.keys.list()).length, 3)
      }
    })
  }

  t.test('of eight concurrent later starts one adds the admin', async (t) => {
    for (let round = 0; round < Math.ceil(ROUNDS / 10); round++) {
      await opened.seed()
      const calls = [...others, ...others].map((at, index) => setUp(newAdmin(`admin${index}`), { at }))
      const results = await Promise.all(calls)
      t.equal(results.filter((result) => result.seedStored).length, 0)
      t.equal(results.filter((result) => result.adminCreated).length, 1)
      t.equal((await store.users.list(ALL, {})).length, 1)
    }
  })

  t.test('a setup that fails stores nothing', async (t) => {
    await opened.empty()
    const seed: Seed = { ...SEED, sealed: [...SEED.sealed, ...SEED.sealed] }
    await t.rejects(setUp(newAdmin('admin'), { seed }), refusedAs('conflict'))
    t.strictSame(await store.setupState(), { seeded: false, admin: false })
    t.strictSame(await store.scopes.list(ALL), [])
    t.strictSame(await store.keys.list(), [])
    t.strictSame(await setUp(null), { seedStored: true, adminCreated: false })
  })

  t.test('an admin whose name is taken is a conflict, and the seed is not stored', async (t) => {
    await opened.empty()
    await store.users.create(OPERATOR, newUser({ username: 'admin' }))
    await t.rejects(setUp(newAdmin('ADMIN')), refusedAs('conflict'))
    t.strictSame(await store.setupState(), { seeded: false, admin: false })
  })

  t.test('of a first admin and a client with the same name, added concurrently, one is added', async (t) => {
    await opened.seed()
    const [one, two] = others
    for (let round = 0; round < ROUNDS; round++) {
      const name = unique('Root')
      const client = { ...(SEED.clients[0] as Seed['clients'][0]), id: name.toLowerCase() }
      const counts = await outcomes([
        setUp(newAdmin(name), { at: one }),
        two.clients.create(OPERATOR, { client, secret: null })
      ])
      const isUser = (await one.users.credentials(name.toLowerCase())) !== null
      const isClient = (await one.clients.get(name.toLowerCase())) !== null
      if (isUser === isClient || counts.done !== 1 || counts.conflict !== 1)
        t.strictSame([counts, isUser, isClient], [{ done: 1, conflict: 1 }, true, false], `round ${round}`)
      await opened.sql(`delete from users where username_key = '${name.toLowerCase()}'`)
    }
  })

  t.test('before the first start there are no keys', async (t) => {
    await opened.empty()
    t.strictSame(await store.keys.signing(), [])
    t.strictSame(await store.keys.list(), [])
    t.equal(await store.refreshKeys.current(), null)
    t.equal(await store.sealed.get('canary'), null)
  })

  t.test('a sealed value is returned by its name', async (t) => {
    await opened.seed()
    const read = (at: Store, name: string) => at.sealed.get(name)
    t.equal(await read(others[0], 'canary'), 'sealed canary')
    t.equal(await read(store, 'unknown'), null)
  })

  t.test('a sealed value is added once, and every instance reads the same', async (t) => {
    await opened.seed()
    const all = [store, ...others]
    await Promise.all(all.map((at, index) => at.sealed.add('new', `value ${index}`)))
    const values = await Promise.all(all.map((at) => at.sealed.get('new')))
    t.equal(new Set(values).size, 1)
    await store.sealed.add('new', 'later')
    t.equal(await store.sealed.get('new'), values[0] as string)
  })
}
