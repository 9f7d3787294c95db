import type { Test } from 'tap'
import { SYSTEM } from '../../src/domain/caller.ts'
import type { RefreshKey, StoredKey } from '../../src/domain/model.ts'
import type { ChainRotation } from '../../src/domain/ports/keys.ts'
import type { Seed, Store } from '../../src/domain/ports/store.ts'
import type { Opened } from './open.ts'
import { KEYS, NOW, newKey, notIntrospected, ROUNDS, SEED, unique } from './rows.ts'

const HOUR = 3_600_000

const newRefreshKey = (id = unique('refresh')): RefreshKey => ({ id, sealedKey: `sealed ${id}`, createdAt: NOW })

/** A seed with the keys `one`, which signs, and `two`, which is next. */
const TWO_KEYS: Seed = {
  ...SEED,
  keys: [{ ...newKey('one', 'signing'), signsSinceAt: NOW }, newKey('two', 'next')],
  refreshKey: newRefreshKey('first')
}
/** The keys and the canary of a rotation. */
type Basis = Record<'signing' | 'next' | 'canary', string>
const FROM: Basis = { signing: 'one', next: 'two', canary: 'sealed canary' }

/** Signing keys and refresh keys. */
export function keys(t: Test, opened: Opened): void {
  const { store, others, sql } = opened

  async function seedTwoKeys(): Promise<void> {
    await opened.empty()
    await store.setUp(SYSTEM, { seed: TWO_KEYS, admin: null })
  }

  const rotate = (
    { canary, ...from }: Basis,
    { now = NOW, next = newKey(unique('key'), 'next'), refreshKey = newRefreshKey(), at = store } = {}
  ) =>
    at.keys.rotate(SYSTEM, {
      canary,
      chains: [{ ...from, successor: next }],
      refreshKey,
      verifiesMs: HOUR,
      refreshVerifiesMs: 10 * HOUR,
      clock: () => now
    })

  const compromise = (
    kid: string,
    { now = NOW, canary = FROM.canary, next = newKey(unique('key'), 'next') as StoredKey | null, at = store } = {}
  ) => at.keys.compromise(SYSTEM, { kid, canary, next, clock: () => now })

  const expire = (now: number, kid?: string) => store.keys.expire(SYSTEM, kid === undefined ? { now } : { now, kid })

  async function states(): Promise<Record<string, string>> {
    const all = await store.keys.page({ after: null, limit: 10_000 })
    return Object.fromEntries(all.map(({ kid, state }) => [kid, state]))
  }

  /** Reads everything that a change of keys can change. */
  const snapshot = async () => [
    await sql('select * from signing_keys order by kid'),
    await sql('select * from refresh_keys order by id'),
    await sql('select * from sealed_values order by name'),
    await sql('select * from revocations order by seq')
  ]

  /** Fails unless one key signs and one is next, only these two have private parts, and one refresh key is current. */
  async function assertComplete(t: Test, round: number): Promise<void> {
    const rows = await sql('select state, sealed_private_key from signing_keys')
    const withPrivate = rows.filter((row) => row.sealed_private_key !== '').map(({ state }) => state)
    const current = await sql(`select id from refresh_keys where state = 'current'`)
    if (withPrivate.toSorted().join() !== 'next,signing' || current.length !== 1)
      t.strictSame([withPrivate, current.length], [['next', 'signing'], 1], `round ${round}`)
  }

  t.test('the store returns the published keys, the signing key, and each key by its id', async (t) => {
    await opened.seed()
    t.strictSame(await store.keys.list(), [KEYS.verifying, KEYS.signing, KEYS.next])
    t.strictSame(await store.keys.signing(), [KEYS.signing])
    for (const each of Object.values(KEYS)) t.strictSame(await store.keys.find(each.kid), each)
    t.equal(await store.keys.find('unknown'), null)
    t.strictSame(await store.refreshKeys.current(), SEED.refreshKey)
  })

  t.test('the database refuses a second signing key, next key and current refresh key', async (t) => {
    await opened.seed()
    const insert = (kid: string, state: string) =>
      sql(
        `insert into signing_keys (kid, alg, public_jwk, sealed_private_key, state, created_at)
          values ('${kid}', 'ES256', '{}', 'sealed', '${state}', ${NOW})`
      )
    await t.rejects(insert('a', 'signing'))
    await t.rejects(insert('b', 'next'))
    await t.rejects(sql(`update signing_keys set state = 'signing' where kid = 'verifying'`))
    await t.rejects(sql(`insert into refresh_keys (id, sealed_key, state, created_at) values ('a', 'x', 'current', 0)`))
    await insert('c', 'verifying')
    await insert('d', 'retired')
    t.strictSame(await store.keys.signing(), [KEYS.signing])
  })

  t.test('rotate makes the next key sign and publishes another [KS2]', async (t) => {
    await seedTwoKeys()
    const [next, refreshKey] = [newKey('three', 'next'), newRefreshKey('second')]
    t.equal(await rotate(FROM, { now: NOW + 5, next, refreshKey }), true)
    const [seedOne, seedTwo] = TWO_KEYS.keys as [StoredKey, StoredKey]
    const one = { ...seedOne, state: 'verifying', sealedPrivateKey: null, verifiesUntilAt: NOW + 5 + HOUR }
    const two = { ...seedTwo, state: 'signing', signsSinceAt: NOW + 5 }
    const three = { ...next, createdAt: NOW + 5 }
    for (const key of [one, two, three]) t.strictSame(await store.keys.find(key.kid), key)
    t.strictSame(await others[0].keys.list(), [one, two, three])
    t.strictSame(await others[0].keys.signing(), [two])
    t.strictSame(await sql(`select sealed_private_key from signing_keys where kid = 'one'`), [
      { sealed_private_key: '' }
    ])
    t.strictSame(await others[0].refreshKeys.current(), { ...refreshKey, createdAt: NOW + 5 })
    t.strictSame(
      await sql('select id, sealed_key from refresh_keys order by id'),
      [
        { id: 'first', sealed_key: 'sealed first' },
        { id: 'second', sealed_key: 'sealed second' }
      ],
      'the first still verifies'
    )
    t.equal(await store.revocations.seq(), 0, 'nothing was revoked')
  })

  t.test('rotate changes nothing when its basis no longer holds, or when it fails', async (t) => {
    await seedTwoKeys()
    const before = await snapshot()
    for (const from of [{ signing: 'two' }, { next: 'one' }, { next: 'unknown' }, { canary: 'another' }])
      t.equal(await rotate({ ...FROM, ...from }), false)
    await t.rejects(rotate(FROM, { next: newKey('one', 'next') }), 'the kid is taken')
    await t.rejects(rotate(FROM, { refreshKey: newRefreshKey('first') }), 'the id of the refresh key is taken')
    t.strictSame(await snapshot(), before)
  })

  const rs256 = (kid: string, state: StoredKey['state']): StoredKey => ({ ...newKey(kid, state), alg: 'RS256' })
  const begin = (name: string, { canary = FROM.canary, now = NOW, at = store } = {}) =>
    at.keys.begin(SYSTEM, {
      canary,
      signing: rs256(`${name} signing`, 'signing'),
      next: rs256(`${name} next`, 'next'),
      clock: () => now
    })
  const step = (chains: ChainRotation[], { refreshKey = null as RefreshKey | null } = {}) =>
    store.keys.rotate(SYSTEM, {
      canary: FROM.canary,
      chains,
      refreshKey,
      verifiesMs: HOUR,
      refreshVerifiesMs: HOUR,
      clock: () => NOW
    })

  t.test('an algorithm gets its first keys once, and they change without those of another algorithm', async (t) => {
    await seedTwoKeys()
    t.equal(await begin('a', { canary: 'another' }), false)
    t.strictSame(await states(), { one: 'signing', two: 'next' })
    const calls = [...others, ...others].map((at, index) => begin(`b${index}`, { at, now: NOW + 5 }))
    t.ok((await Promise.all(calls)).every(Boolean))
    const published = await store.keys.list()
    const [signing, next] = published.slice(2).toSorted((a, b) => (a.state < b.state ? 1 : -1)) as [
      StoredKey,
      StoredKey
    ]
    t.equal(published.length, 4)
    t.match(signing, { alg: 'RS256', state: 'signing', createdAt: NOW + 5, signsSinceAt: NOW + 5 })
    t.match(next, { alg: 'RS256', state: 'next', createdAt: NOW + 5, signsSinceAt: null })
    t.strictSame(
      (await store.keys.signing()).map(({ kid }) => kid),
      ['one', signing.kid]
    )

    const chain = { signing: signing.kid, next: next.kid }
    t.equal(await step([{ ...chain, successor: rs256('c', 'next') }]), true)
    const after = { one: 'signing', two: 'next', [signing.kid]: 'verifying' }
    t.strictSame(await states(), { ...after, [next.kid]: 'signing', c: 'next' })
    t.equal((await store.refreshKeys.current())?.id, 'first', 'the refresh key stays')
    t.equal(await compromise(next.kid, { next: rs256('d', 'next') }), true)
    t.strictSame(await states(), { ...after, [next.kid]: 'retired', c: 'signing', d: 'next' })
  })

  t.test('several algorithms rotate together or not at all, and one without successor ends', async (t) => {
    await seedTwoKeys()
    await begin('a')
    const [own, other] = [
      { signing: 'one', next: 'two', successor: newKey('three', 'next') },
      { signing: 'a signing', next: 'a next', successor: null }
    ]
    const before = await snapshot()
    t.equal(await step([own, { ...other, next: 'unknown' }]), false)
    t.strictSame(await snapshot(), before)
    t.equal(await step([own, other], { refreshKey: newRefreshKey('second') }), true)
    const left = { one: 'verifying', two: 'signing', three: 'next', 'a signing': 'verifying', 'a next': 'retired' }
    t.strictSame(await states(), left)
    t.equal((await store.refreshKeys.current())?.id, 'second')
    t.strictSame(await sql(`select kid from signing_keys where sealed_private_key != '' order by kid`), [
      { kid: 'three' },
      { kid: 'two' }
    ])
    t.equal(await begin('b'), true, 'the algorithm can begin again')
  })

  t.test('an algorithm that lacks one of both keys gets the other', async (t) => {
    await seedTwoKeys()
    await begin('a')
    await sql(`delete from signing_keys where kid = 'a signing'`)
    t.equal(await begin('b', { now: NOW + 7 }), true)
    t.match(await store.keys.find('a next'), { state: 'signing', signsSinceAt: NOW + 7 })
    t.match(await store.keys.find('b next'), { state: 'next', createdAt: NOW + 7 })
    await sql(`delete from signing_keys where kid = 'b next'`)
    t.equal(await begin('c'), true)
    t.strictSame(await states(), { one: 'signing', two: 'next', 'a next': 'signing', 'c next': 'next' })
  })

  t.test('of eight concurrent rotations one rotates [F2]', async (t) => {
    await seedTwoKeys()
    for (let round = 0; round < ROUNDS; round++) {
      const [signing, next] = (await store.keys.list()).slice(-2).map(({ kid }) => kid) as [string, string]
      const calls = [...others, ...others].map((at) => rotate({ ...FROM, signing, next }, { now: NOW + round + 1, at }))
      const rotated = (await Promise.all(calls)).filter(Boolean).length
      if (rotated !== 1) t.fail(`round ${round}: ${rotated} rotated`)
      await assertComplete(t, round)
    }
    t.equal((await store.keys.list()).length, ROUNDS + 2)
  })

  t.test('a compromised key is retired at once in any state, with an entry in the log', async (t) => {
    await seedTwoKeys()
    await rotate(FROM, { next: newKey('three', 'next') })
    t.strictSame(await states(), { one: 'verifying', two: 'signing', three: 'next' })

    t.equal(await compromise('one', { canary: 'any', next: null, now: NOW + 1 }), true)
    t.strictSame(await states(), { one: 'retired', two: 'signing', three: 'next' })
    const ref = notIntrospected({ kid: 'one', jti: 'x', sid: null, sub: 'x', clientId: 'x' })
    t.equal((await others[0].state(ref)).keyState, 'retired')

    const [four, five] = [newKey('four', 'next'), newKey('five', 'next')]
    t.equal(await compromise('three', { next: four, now: NOW + 2 }), true)
    t.strictSame(await states(), { one: 'retired', two: 'signing', three: 'retired', four: 'next' })
    t.equal(await compromise('two', { next: five, now: NOW + 3 }), true)
    const retired = { one: 'retired', two: 'retired', three: 'retired' }
    t.strictSame(await states(), { ...retired, four: 'signing', five: 'next' })
    const signing = { ...four, state: 'signing', createdAt: NOW + 2, signsSinceAt: NOW + 3 }
    t.strictSame(await store.keys.find('four'), signing)
    t.strictSame(await store.keys.find('five'), { ...five, createdAt: NOW + 3 })
    t.match(await store.keys.find('two'), { sealedPrivateKey: null, retiredAt: NOW + 3 })

    const entries = ['one', 'three', 'two'].map((id, index) => ({ seq: index + 1, kind: 'key', id }))
    const logged = async () =>
      (await store.revocations.since(0, 10)).entries.map(({ seq, kind, id }) => ({ seq, kind, id }))
    t.strictSame(await logged(), entries)
    for (const kid of ['one', 'two', 'unknown']) t.equal(await compromise(kid), true)
    t.strictSame(await logged(), entries, 'a retired or unknown key changes nothing')
    t.match(await store.keys.find('one'), { retiredAt: NOW + 1 })
  })

  t.test('a signing or next key is not retired without a new next key, or after the canary changed', async (t) => {
    await seedTwoKeys()
    const before = await snapshot()
    for (const kid of ['one', 'two']) {
      t.equal(await compromise(kid, { canary: 'another canary' }), false)
      t.equal(await compromise(kid, { next: null }), false)
    }
    t.strictSame(await snapshot(), before)
  })

  t.test('after concurrent rotations, retirements and expiries one key signs and one is next [F2]', async (t) => {
    await seedTwoKeys()
    const [first, second, third, fourth] = others
    for (let round = 0; round < ROUNDS; round++) {
      const published = await store.keys.list()
      const kidOf = (state: string) => published.find((key) => key.state === state)?.kid as string
      const [signing, next] = [kidOf('signing'), kidOf('next')]
      const from = { ...FROM, signing, next }
      const start = await store.revocations.seq()
      const now = NOW + round * HOUR
      const [firstRotated, firstRetired, secondRotated, secondRetired] = await Promise.all([
        rotate(from, { now, at: first }),
        compromise(signing, { now, at: second }),
        rotate(from, { now, at: third }),
        compromise(round % 2 === 0 ? next : signing, { now, at: fourth }),
        second.keys.expire(SYSTEM, { now }),
        third.keys.reseal(SYSTEM, (_table, _id, sealed) => sealed)
      ])
      if (!firstRetired || !secondRetired) t.fail(`round ${round}: ${firstRetired} ${secondRetired}`)
      if (firstRotated && secondRotated) t.fail(`round ${round}: both rotated`)
      await assertComplete(t, round)
      const logged = (await store.revocations.since(start, 100)).entries.map(({ id }) => id)
      if (new Set(logged).size !== logged.length) t.fail(`round ${round}: ${logged}`)
      const left = await states()
      if (logged.some((kid) => left[kid] !== 'retired')) t.fail(`round ${round}: a compromised key is not retired`)
    }
  })

  t.test('expire retires keys at the end of their time, to the millisecond, and no others', async (t) => {
    await seedTwoKeys()
    await rotate(FROM, { next: newKey('three', 'next'), refreshKey: newRefreshKey('second') })
    const from = { ...FROM, signing: 'two', next: 'three' }
    await rotate(from, { now: NOW + 1, next: newKey('four', 'next'), refreshKey: newRefreshKey('third') })
    t.equal(await expire(NOW + HOUR - 1), 0)
    t.equal(await expire(NOW + HOUR + 1, 'three'), 0, 'it signs')
    t.equal(await expire(NOW + HOUR), 1)
    t.strictSame(await states(), { one: 'retired', two: 'verifying', three: 'signing', four: 'next' })
    t.match(await store.keys.find('one'), { retiredAt: NOW + HOUR })
    t.equal(await expire(NOW + HOUR + 1, 'two'), 1)
    t.equal(await expire(NOW * 2), 0)
    t.strictSame(await states(), { one: 'retired', two: 'retired', three: 'signing', four: 'next' })
    t.equal(await store.revocations.seq(), 0)

    t.equal(await store.refreshKeys.expire(NOW + 10 * HOUR - 1), 0)
    t.equal(await store.refreshKeys.expire(NOW + 10 * HOUR), 1)
    t.strictSame(await sql('select id from refresh_keys order by id'), [{ id: 'second' }, { id: 'third' }])
    t.equal(await store.refreshKeys.expire(NOW * 2), 1)
    t.equal((await store.refreshKeys.current())?.id, 'third')
  })

  t.test('all keys are listed, the newest first, page by page', async (t) => {
    await seedTwoKeys()
    await rotate(FROM, { now: NOW + 1, next: newKey('three', 'next') })
    await rotate({ ...FROM, signing: 'two', next: 'three' }, { now: NOW + 2, next: newKey('four', 'next') })
    await expire(NOW * 2)
    const list = async (after: string | null, limit: number) =>
      (await store.keys.page({ after, limit })).map(({ kid }) => kid)
    t.strictSame(await list(null, 10), ['four', 'three', 'two', 'one'])
    t.strictSame(await list(null, 3), ['four', 'three', 'two'])
    t.strictSame(await list('two', 3), ['one'])
    t.strictSame(await list('one', 3), [])
    t.strictSame(await list('unknown', 3), [])
  })

  t.test('reseal replaces every sealed value, or changes nothing [KS3]', async (t) => {
    await seedTwoKeys()
    await rotate(FROM, { next: newKey('three', 'next'), refreshKey: newRefreshKey('second') })
    await compromise('one', { next: null })
    const reseal = (change: Parameters<Store['keys']['reseal']>[1]) => store.keys.reseal(SYSTEM, change)
    const before = await snapshot()
    const given: string[] = []
    const unchanged = await reseal((table, id, sealed) => {
      given.push(`${table} ${id} ${sealed}`)
      return sealed
    })
    t.equal(unchanged, 0)
    t.strictSame(given.toSorted(), [
      'refresh_keys first sealed first',
      'refresh_keys second sealed second',
      'sealed_values canary sealed canary',
      'signing_keys three sealed three',
      'signing_keys two sealed two'
    ])
    t.strictSame(await snapshot(), before)

    let left = 4
    const failing = reseal((_table, _id, sealed) => {
      if (left-- === 0) throw new Error('planted by a test')
      return `${sealed} again`
    })
    await t.rejects(failing, { message: 'planted by a test' })
    t.strictSame(await snapshot(), before)

    t.equal(await reseal((_table, _id, sealed) => `${sealed} again`), 5)
    t.match(await store.keys.signing(), [{ kid: 'two', sealedPrivateKey: 'sealed two again' }])
    t.match(await store.refreshKeys.current(), { sealedKey: 'sealed second again' })
    t.match(await sql("select sealed_key from refresh_keys where id = 'first'"), [{ sealed_key: 'sealed first again' }])
    t.equal(await store.sealed.get('canary'), 'sealed canary again')
    t.strictSame(await sql(`select sealed_private_key from signing_keys where kid = 'one'`), [
      { sealed_private_key: '' }
    ])
    t.equal(await rotate({ ...FROM, signing: 'two', next: 'three' }), false, 'sealed with the previous key')
  })
}
