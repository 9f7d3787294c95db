import t, { type Test } from 'tap'
import type { RefreshKey, StoredKey } from '../../src/domain/model.ts'
import type { KeyBasis, Seed, Store } from '../../src/domain/ports.ts'
import { onEachDatabase } from '../helper.ts'
import { type Opened, open } from './open.ts'

const ROUNDS = Number(process.env.LATCHKEY_ROUNDS ?? 50)
const NOW = Date.UTC(2026, 0, 1, 12)
const HOUR = 3_600_000

let made = 0
const newKey = (state: 'signing' | 'next', kid = `key${++made}`): StoredKey => ({
  kid,
  alg: 'ES256',
  publicJwk: { crv: 'P-256', kty: 'EC', x: `${kid}-x`, y: `${kid}-y` },
  state,
  sealedPrivateKey: `sealed ${kid}`,
  createdAt: NOW,
  signsSinceAt: state === 'signing' ? NOW : null,
  verifiesUntilAt: null,
  retiredAt: null
})
const newRefreshKey = (id = `refresh${++made}`): RefreshKey => ({ id, sealedKey: `sealed ${id}`, createdAt: NOW })

const SEED: Seed = {
  now: NOW,
  resources: [],
  scopes: [],
  roles: [],
  clients: [],
  keys: [newKey('signing', 'one'), newKey('next', 'two')],
  refreshKey: newRefreshKey('first'),
  sealed: [{ name: 'canary', value: 'sealed canary' }]
}
const FROM: KeyBasis = { signing: 'one', next: 'two', canary: 'sealed canary' }

async function seeded(t: Test, database: 'sqlite' | 'postgres'): Promise<Opened> {
  const opened = await open(t, database)
  await opened.store.migrate()
  await opened.store.bootstrap(SEED, null)
  return opened
}

const rotate = (store: Store, from: KeyBasis, at = NOW, next = newKey('next'), refreshKey = newRefreshKey()) =>
  store.keys.rotate({ from, next, refreshKey, verifiesMs: HOUR, refreshVerifiesMs: 10 * HOUR }, () => at)

const compromise = (store: Store, kid: string, at = NOW, canary = 'sealed canary') =>
  store.keys.compromise(kid, { canary, next: newKey('next') }, () => at)

async function states(store: Store): Promise<Record<string, string>> {
  const all = await store.keys.page({ after: null, limit: 10_000 })
  return Object.fromEntries(all.map(({ kid, state }) => [kid, state]))
}

/** Everything that a change of keys can change. */
const everything = async ({ sql }: Opened) => [
  await sql('select * from signing_keys order by kid'),
  await sql('select * from refresh_keys order by id'),
  await sql('select * from sealed_values order by name'),
  await sql('select * from revocations order by seq')
]

/** What must be true whatever happened: one key signs, one is next, both with their private parts, no other has one. */
async function assertWhole(t: Test, opened: Opened, round: number): Promise<void> {
  const rows = await opened.sql('select state, sealed_private_key from signing_keys')
  const withPrivate = rows.filter((row) => row.sealed_private_key !== '').map(({ state }) => state)
  const current = await opened.sql(`select id from refresh_keys where state = 'current'`)
  if (withPrivate.toSorted().join() !== 'next,signing' || current.length !== 1)
    t.strictSame([withPrivate, current.length], [['next', 'signing'], 1], `round ${round}`)
}

onEachDatabase(t, 'KS2 rotate lets the next key sign, and publishes another', async (t, database) => {
  const { store, another, sql } = await seeded(t, database)
  const [next, refreshKey] = [newKey('next', 'three'), newRefreshKey('second')]
  t.equal(await rotate(store, FROM, NOW + 5, next, refreshKey), true)
  const [one, two, three] = [await store.keys.find('one'), await store.keys.find('two'), await store.keys.find('three')]
  const [seedOne, seedTwo] = SEED.keys as [StoredKey, StoredKey]
  const expected = [
    { ...seedOne, state: 'verifying', sealedPrivateKey: null, verifiesUntilAt: NOW + 5 + HOUR },
    { ...seedTwo, state: 'signing', signsSinceAt: NOW + 5 },
    { ...next, createdAt: NOW + 5 }
  ]
  t.strictSame([one, two, three], expected)
  t.strictSame(
    await another().keys.list(),
    expected.toSorted((a, b) => a.createdAt - b.createdAt)
  )
  t.strictSame(await another().keys.signing(), two)
  t.strictSame(await sql(`select sealed_private_key from signing_keys where kid = 'one'`), [{ sealed_private_key: '' }])
  t.strictSame(await another().refreshKeys.current(), { ...refreshKey, createdAt: NOW + 5 })
  t.strictSame(await store.refreshKeys.find('first'), SEED.refreshKey, 'which still verifies')
  t.equal(await store.revocations.seq(), 0, 'nothing was taken away')
})

onEachDatabase(t, 'rotate changes nothing when what it rests on is no longer so', async (t, database) => {
  const opened = await seeded(t, database)
  const { store } = opened
  const before = await everything(opened)
  for (const from of [{ signing: 'two' }, { next: 'one' }, { next: 'unknown' }, { canary: 'another' }])
    t.equal(await rotate(store, { ...FROM, ...from }), false)
  await t.rejects(rotate(store, FROM, NOW, newKey('next', 'one')), 'a key that is there already')
  await t.rejects(
    store.keys.rotate(
      { from: FROM, next: newKey('next'), refreshKey: newRefreshKey(), verifiesMs: 1, refreshVerifiesMs: 1 },
      () => {
        throw new Error('planted by a test')
      }
    )
  )
  t.strictSame(await everything(opened), before)
})

onEachDatabase(t, 'F2 of rotations by many instances at once exactly one happens', async (t, database) => {
  const opened = await seeded(t, database)
  const stores = Array.from({ length: 4 }, () => opened.another())
  for (let round = 0; round < ROUNDS; round++) {
    const [signing, next] = (await opened.store.keys.list()).slice(-2).map(({ kid }) => kid) as [string, string]
    const from = { ...FROM, signing, next }
    const calls = [...stores, ...stores].map((store) => rotate(store, from, NOW + round + 1))
    const done = (await Promise.all(calls)).filter((each) => each)
    if (done.length !== 1) t.fail(`round ${round}: ${done.length} rotated`)
    await assertWhole(t, opened, round)
  }
  t.equal((await opened.store.keys.list()).length, ROUNDS + 2)
})

onEachDatabase(
  t,
  'a key that was compromised goes at once, with an entry in the log, whatever it is for',
  async (t, database) => {
    const { store, another } = await seeded(t, database)
    await rotate(store, FROM, NOW, newKey('next', 'three'))
    t.strictSame(await states(store), { one: 'verifying', two: 'signing', three: 'next' })
    const stateOf = async (kid: string) =>
      (await another().state({ kid, jti: 'x', sid: null, sub: 'x', clientId: 'x' })).keyState

    t.equal(await store.keys.compromise('one', { canary: 'any', next: null }, () => NOW + 1), true)
    t.strictSame(await states(store), { one: 'retired', two: 'signing', three: 'next' })
    t.equal(await stateOf('one'), 'retired')

    const four = newKey('next', 'four')
    t.equal(await store.keys.compromise('three', { canary: FROM.canary, next: four }, () => NOW + 2), true)
    t.strictSame(await states(store), { one: 'retired', two: 'signing', three: 'retired', four: 'next' })

    const five = newKey('next', 'five')
    t.equal(await store.keys.compromise('two', { canary: FROM.canary, next: five }, () => NOW + 3), true)
    t.strictSame(await states(store), {
      one: 'retired',
      two: 'retired',
      three: 'retired',
      four: 'signing',
      five: 'next'
    })
    t.strictSame(await store.keys.find('four'), {
      ...four,
      state: 'signing',
      createdAt: NOW + 2,
      signsSinceAt: NOW + 3
    })
    t.strictSame(await store.keys.find('five'), { ...five, createdAt: NOW + 3 })
    t.match(await store.keys.find('two'), { sealedPrivateKey: null, retiredAt: NOW + 3 })

    const entries = ['one', 'three', 'two'].map((id, index) => ({ seq: index + 1, kind: 'key', id }))
    t.strictSame((await store.revocations.since(0, 10)).entries, entries)
    for (const kid of ['one', 'two', 'unknown']) t.equal(await compromise(store, kid), true)
    t.strictSame(
      (await store.revocations.since(0, 10)).entries,
      entries,
      'one that is retired or unknown changes nothing'
    )
    t.match(await store.keys.find('one'), { retiredAt: NOW + 1 })
  }
)

onEachDatabase(t, 'a key is not taken out without another in its place', async (t, database) => {
  const opened = await seeded(t, database)
  const before = await everything(opened)
  for (const kid of ['one', 'two']) {
    t.equal(await compromise(opened.store, kid, NOW, 'another canary'), false)
    t.equal(await opened.store.keys.compromise(kid, { canary: FROM.canary, next: null }, () => NOW), false)
  }
  t.strictSame(await everything(opened), before)
})

onEachDatabase(
  t,
  'F2 keys that many rotate, take out and let expire at once: one signs, one is next',
  async (t, database) => {
    const opened = await seeded(t, database)
    const { store } = opened
    const stores = Array.from({ length: 4 }, () => opened.another()) as [Store, Store, Store, Store]
    const seen = { rotated: 0, lost: 0 }
    for (let round = 0; round < ROUNDS; round++) {
      const published = await store.keys.list()
      const of = (state: string) => published.find((key) => key.state === state)?.kid as string
      const from = { ...FROM, signing: of('signing'), next: of('next') }
      const start = await store.revocations.seq()
      const at = NOW + round * HOUR
      const calls = [
        rotate(stores[0], from, at),
        compromise(stores[1], of('signing'), at),
        rotate(stores[2], from, at),
        round % 2 === 0 ? compromise(stores[3], of('next'), at) : compromise(stores[3], of('signing'), at),
        stores[1].keys.expire(at),
        stores[2].keys.reseal((_table, _id, sealed) => sealed)
      ]
      const [one, taken, two, other] = await Promise.all(calls)
      if (taken !== true || other !== true) t.fail(`round ${round}: ${taken} ${other}`)
      if (one && two) t.fail(`round ${round}: both rotated`)
      seen[one || two ? 'rotated' : 'lost']++
      await assertWhole(t, opened, round)
      const logged = (await store.revocations.since(start, 100)).entries.map(({ id }) => id)
      if (new Set(logged).size !== logged.length) t.fail(`round ${round}: ${logged}`)
      const left = await states(store)
      if (logged.some((kid) => left[kid] !== 'retired')) t.fail(`round ${round}: a key lives that was taken out`)
    }
    t.comment(JSON.stringify(seen))
  }
)

onEachDatabase(
  t,
  'keys are retired when their time to verify is over, to the millisecond, and no others',
  async (t, database) => {
    const { store } = await seeded(t, database)
    await rotate(store, FROM, NOW, newKey('next', 'three'), newRefreshKey('second'))
    await rotate(
      store,
      { ...FROM, signing: 'two', next: 'three' },
      NOW + 1,
      newKey('next', 'four'),
      newRefreshKey('third')
    )
    t.equal(await store.keys.expire(NOW + HOUR - 1), 0)
    t.equal(await store.keys.expire(NOW + HOUR + 1, 'three'), 0, 'which signs')
    t.equal(await store.keys.expire(NOW + HOUR), 1)
    t.strictSame(await states(store), { one: 'retired', two: 'verifying', three: 'signing', four: 'next' })
    t.match(await store.keys.find('one'), { retiredAt: NOW + HOUR })
    t.equal(await store.keys.expire(NOW + HOUR + 1, 'two'), 1)
    t.equal(await store.keys.expire(NOW * 2), 0)
    t.strictSame(await states(store), { one: 'retired', two: 'retired', three: 'signing', four: 'next' })
    t.equal(await store.revocations.seq(), 0)

    t.equal(await store.refreshKeys.expire(NOW + 10 * HOUR - 1), 0)
    t.equal(await store.refreshKeys.expire(NOW + 10 * HOUR), 1)
    t.equal(await store.refreshKeys.find('first'), null)
    t.equal((await store.refreshKeys.find('second'))?.id, 'second')
    t.equal(await store.refreshKeys.expire(NOW * 2), 1)
    t.equal((await store.refreshKeys.current())?.id, 'third')
  }
)

onEachDatabase(t, 'all keys are listed, the newest first, page by page', async (t, database) => {
  const { store } = await seeded(t, database)
  await rotate(store, FROM, NOW + 1, newKey('next', 'three'))
  await rotate(store, { ...FROM, signing: 'two', next: 'three' }, NOW + 2, newKey('next', 'four'))
  await store.keys.expire(NOW * 2)
  const list = async (after: string | null, limit: number) =>
    (await store.keys.page({ after, limit })).map(({ kid }) => kid)
  t.strictSame(await list(null, 10), ['four', 'three', 'two', 'one'])
  t.strictSame(await list(null, 3), ['four', 'three', 'two'])
  t.strictSame(await list('two', 3), ['one'])
  t.strictSame(await list('one', 3), [])
  t.strictSame(await list('unknown', 3), [])
})

onEachDatabase(
  t,
  'KS3 reseal puts another text in the place of everything that is sealed, or changes nothing',
  async (t, database) => {
    const opened = await seeded(t, database)
    const { store, sql } = opened
    await rotate(store, FROM, NOW, newKey('next', 'three'), newRefreshKey('second'))
    await store.keys.compromise('one', { canary: FROM.canary, next: null }, () => NOW)
    const before = await everything(opened)
    const given: string[] = []
    const note = (table: string, id: string, sealed: string) => {
      given.push(`${table} ${id} ${sealed}`)
      return sealed
    }
    t.equal(await store.keys.reseal(note), 0)
    t.strictSame(given.toSorted(), [
      'refresh_keys first sealed first',
      'refresh_keys second sealed second',
      'sealed_values canary sealed canary',
      'signing_keys three sealed three',
      'signing_keys two sealed two'
    ])
    t.strictSame(await everything(opened), before)

    let left = 4
    const failing = store.keys.reseal((_table, _id, sealed) => {
      if (left-- === 0) throw new Error('planted by a test')
      return `${sealed} anew`
    })
    await t.rejects(failing, { message: 'planted by a test' })
    t.strictSame(await everything(opened), before)

    t.equal(await store.keys.reseal((_table, _id, sealed) => `${sealed} anew`), 5)
    t.match(await store.keys.signing(), { kid: 'two', sealedPrivateKey: 'sealed two anew' })
    t.match(await store.refreshKeys.current(), { sealedKey: 'sealed second anew' })
    t.match(await store.refreshKeys.find('first'), { sealedKey: 'sealed first anew' })
    t.equal(await store.sealed.get('canary'), 'sealed canary anew')
    t.strictSame(await sql(`select sealed_private_key from signing_keys where kid = 'one'`), [
      { sealed_private_key: '' }
    ])
    t.equal(await rotate(store, { ...FROM, signing: 'two', next: 'three' }), false, 'made with the key of before')
  }
)
