import t from 'tap'
import { createDummyHashes } from '../../src/domain/dummy-hashes.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import { TestClock } from '../clock.ts'
import { openDomain } from './open.ts'

const OLD = '$argon2id$v=19$m=7168,t=1,p=1'
const NEW = '$argon2id$v=19$m=19456,t=2,p=1'
const IMPORTED = '$argon2i$v=19$m=4096,t=3,p=1'
const ENDING = '$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObG'

/** Returns dummy hashes over a store with the given hashes, and the number of its reads. */
function world(counts: Record<string, number>, key = 'a'.repeat(43)) {
  const clock = new TestClock()
  const hashes = { counts }
  let samples = 0
  let isBroken = false
  const store = {
    sealed: { get: async () => key, add: async () => {} },
    users: {
      async hashSample(limit: number) {
        samples++
        if (isBroken) throw new Error('the database is away')
        return Object.entries(hashes.counts)
          .flatMap(([parameters, count]) => Array<string>(count).fill(parameters + ENDING))
          .slice(0, limit)
      }
    }
  } as unknown as Store
  const sealer = { seal: (text: string) => text, open: (sealed: string) => sealed, isCurrent: () => true }
  const dummies = createDummyHashes({ store, sealer, clock })
  const drawn = async (name: string) => (await dummies.of(name))?.split('$').slice(0, 4).join('$') ?? null
  return {
    clock,
    hashes,
    drawn,
    dummies,
    samples: () => samples,
    break: () => {
      isBroken = true
    },
    all: (count: number) => Promise.all(Array.from({ length: count }, (_, index) => drawn(`name ${index}`)))
  }
}

const sharesOf = (drawn: (string | null)[]) => {
  const shares: Record<string, number> = {}
  for (const each of drawn) shares[String(each)] = (shares[String(each)] ?? 0) + 1
  return shares
}

t.test(
  'the parameters for unknown names have the proportions of the stored hashes, old and imported ones too [UA5]',
  async (t) => {
    const shares = sharesOf(await world({ [OLD]: 300, [NEW]: 600, [IMPORTED]: 100 }).all(4000))
    t.strictSame(Object.keys(shares).toSorted(), [IMPORTED, NEW, OLD].toSorted())
    for (const [parameters, share] of [
      [OLD, 0.3],
      [NEW, 0.6],
      [IMPORTED, 0.1]
    ] as const)
      t.ok(Math.abs((shares[parameters] ?? 0) / 4000 - share) < 0.03, `${parameters} ${shares[parameters]}`)
    t.strictSame(sharesOf(await world({ [OLD]: 1 }).all(50)), { [OLD]: 50 }, 'one kind only')
  }
)

t.test('all instances draw the same parameters for a name, and another key draws others [UA5]', async (t) => {
  const counts = { [OLD]: 500, [NEW]: 500 }
  const draws = await world(counts).all(200)
  t.strictSame(await world(counts).all(200), draws)
  t.strictSame(await world({ [NEW]: 500, [OLD]: 500 }).all(200), draws, 'in another order')
  t.notSame(await world(counts, 'b'.repeat(43)).all(200), draws)
})

t.test('when users get new hashes, some unknown names change too, and none changes back [UA5]', async (t) => {
  const at = world({ [OLD]: 500, [NEW]: 300, [IMPORTED]: 200 })
  const before = await at.all(1000)
  at.hashes.counts = { [OLD]: 200, [NEW]: 600, [IMPORTED]: 200 }
  at.clock.advance(600)
  const after = await at.all(1000)
  const changed = before.map((from, index) => ({ from, to: after[index] })).filter(({ from, to }) => from !== to)
  t.ok(changed.length > 200 && changed.length < 450, `${changed.length} changed`)
  t.notOk(changed.some(({ from, to }) => from === NEW || to === OLD))
})

t.test('the stored hashes are read once in ten minutes, for existing and unknown names alike [UA5]', async (t) => {
  const at = world({ [OLD]: 1 })
  await at.all(20)
  t.equal(at.samples(), 1)
  at.clock.advance(599)
  await at.all(20)
  t.equal(at.samples(), 1)
  at.clock.advance(1)
  at.break()
  t.strictSame(sharesOf(await at.all(20)), { [OLD]: 20 }, 'the previous counts stay when the database is away')
  t.equal(at.samples(), 2)

  const empty = world({})
  t.equal(await empty.drawn('anyone'), null)
  const broken = world({ [OLD]: 1 })
  broken.break()
  await t.rejects(broken.drawn('anyone'), { message: 'the database is away' })
  await t.rejects(broken.drawn('anyone'), { message: 'the database is away' })
  t.equal(broken.samples(), 2, 'a failure is not kept')
})

t.test('a login with an unknown name verifies one hash, with parameters that users have [PW2 UA5]', async (t) => {
  const { hasher, store, createUser, login } = await openDomain(t)
  hasher.hash = async () => OLD + ENDING
  await createUser('olga')
  const seen: (string | null)[] = []
  hasher.verify = async (hash, _password, visit) => {
    await visit?.onEntered()
    seen.push(hash)
    return true
  }
  let samples = 0
  const { hashSample } = store.users
  store.users.hashSample = (limit) => {
    samples++
    return hashSample(limit)
  }
  await t.rejects(login('nobody'), { code: 'invalid_grant' })
  t.equal(seen.length, 1)
  t.match(seen[0], /^\$argon2id\$v=19\$m=7168,t=1,p=1\$[\w+/]{22}\$[\w+/]{43}$/)
  await t.resolves(login('olga'))
  t.equal(samples, 1)
})
