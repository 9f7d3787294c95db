import { decodeProtectedHeader } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { type Domain, openDomain } from './open.ts'

const [MINUTE, DAY] = [60, 86_400]

/** Opens the domain with functions that read the keys and register clients. */
async function open(t: Test, settings: Record<string, string> = {}, beside?: Domain) {
  const domain = await openDomain(t, { settings, ...(beside === undefined ? {} : { beside }) })
  const { auth, clock } = domain
  if (beside === undefined) await domain.createUser('alice')
  const all = async () => (await auth.keys.page({ after: null, limit: 100 })).items
  return {
    ...domain,
    /** The keys by algorithm and state. */
    keys: async () => (await all()).map(({ alg, state }) => `${alg} ${state}`).toSorted(),
    kid: async (name: string) => (await all()).find(({ alg, state }) => `${alg} ${state}` === name)?.kid as string,
    register: (id: string, more: Partial<NewClient> = {}) =>
      auth.clients.create(OPERATOR, { id, name: id, scopes: ['profile'], ...more }),
    rotate: () => auth.keys.rotate(OPERATOR),
    maintain: () => auth.keys.maintain(),
    /** The algorithm of the next access token. */
    alg: async () => decodeProtectedHeader((await domain.login('alice')).accessToken).alg,
    token: async () => (await domain.login('alice')).accessToken,
    isValid: async (token: string) => (await auth.accessTokens.verify(token)).kind !== 'refused',
    pass: (seconds: number) => clock.advance(seconds)
  }
}

const OWN = ['ES256 next', 'ES256 signing']
const BOTH = [...OWN, 'RS256 next', 'RS256 signing']

t.test('the first client with another algorithm of ID tokens begins its keys; access tokens keep theirs', async (t) => {
  const { register, keys, alg, auth } = await open(t)
  await register('plain', { idTokenAlg: 'ES256' })
  t.strictSame(await keys(), OWN)
  await register('one', { idTokenAlg: 'RS256' })
  t.strictSame(await keys(), BOTH)
  await register('two', { idTokenAlg: 'RS256' })
  t.strictSame(await keys(), BOTH)
  t.strictSame((await auth.keys.jwks()).keys.map((key) => key.alg).toSorted(), ['ES256', 'ES256', 'RS256', 'RS256'])
  t.equal(await alg(), 'ES256')
  await auth.clients.change(OPERATOR, 'plain', { idTokenAlg: 'EdDSA' })
  t.strictSame(await keys(), [
    'ES256 next',
    'ES256 signing',
    'EdDSA next',
    'EdDSA signing',
    'RS256 next',
    'RS256 signing'
  ])
})

t.test('a rotation changes the keys of every algorithm, and leaves out keys that are too young', async (t) => {
  const { register, keys, kid, rotate, pass, alg } = await open(t)
  pass(4 * MINUTE)
  await register('one', { idTokenAlg: 'RS256' })
  pass(MINUTE)
  const next = await kid('ES256 next')
  t.match(await rotate(), { alg: 'ES256', kid: next })
  t.strictSame(await keys(), ['ES256 next', 'ES256 signing', 'ES256 verifying', 'RS256 next', 'RS256 signing'])
  pass(5 * MINUTE)
  const nexts = [await kid('ES256 next'), await kid('RS256 next')]
  await rotate()
  t.strictSame([await kid('ES256 signing'), await kid('RS256 signing')], nexts)
  t.equal(await alg(), 'ES256')
})

t.test(
  'scheduled work rotates the keys of each algorithm at their age, and retires each with its last token',
  async (t) => {
    const { register, keys, maintain, pass } = await open(t)
    pass(10 * DAY)
    await register('one', { idTokenAlg: 'RS256' })
    pass(20 * DAY)
    t.equal(await maintain(), 'rotated')
    t.strictSame(await keys(), ['ES256 next', 'ES256 signing', 'ES256 verifying', 'RS256 next', 'RS256 signing'])
    pass(10 * DAY)
    t.equal(await maintain(), 'rotated')
    t.equal(await maintain(), 'nothing')
    t.strictSame(await keys(), [...OWN, 'ES256 retired', 'RS256 next', 'RS256 signing', 'RS256 verifying'].toSorted())
    pass(3660)
    await maintain()
    t.strictSame(await keys(), [...OWN, 'ES256 retired', 'RS256 next', 'RS256 retired', 'RS256 signing'].toSorted())
  }
)

t.test('the keys of an algorithm that no client has any more end at their next rotation', async (t) => {
  const { register, keys, rotate, pass, auth, maintain } = await open(t)
  await register('one', { idTokenAlg: 'RS256' })
  pass(5 * MINUTE)
  await auth.clients.delete(OPERATOR, 'one')
  t.equal(await maintain(), 'nothing')
  t.strictSame(await keys(), BOTH)
  await rotate()
  const left = ['ES256 next', 'ES256 signing', 'ES256 verifying', 'RS256 retired', 'RS256 verifying']
  t.strictSame(await keys(), left)
  await register('two', { idTokenAlg: 'RS256' })
  t.strictSame(await keys(), [...left, 'RS256 next', 'RS256 signing'].toSorted(), 'the algorithm begins again')
})

for (const state of ['signing', 'next'])
  t.test(`a compromised key that is ${state} is replaced by one of its algorithm`, async (t) => {
    const { register, keys, kid, auth, alg } = await open(t)
    await register('one', { idTokenAlg: 'RS256' })
    const before = await kid('ES256 signing')
    await auth.keys.retire(OPERATOR, await kid(`RS256 ${state}`), { compromised: true })
    t.strictSame(await keys(), [...BOTH, 'RS256 retired'].toSorted())
    t.equal(await kid('ES256 signing'), before)
    t.equal(await alg(), 'ES256')
  })

t.test('revoking everything replaces the keys of every algorithm in use', async (t) => {
  const { register, keys, kid, auth } = await open(t)
  await register('one', { idTokenAlg: 'RS256' })
  const before = [await kid('ES256 signing'), await kid('RS256 signing')]
  t.match(await auth.revokeEverything(OPERATOR), { keys: 4 })
  t.strictSame(await keys(), [...BOTH, ...BOTH.map((name) => `${name.split(' ')[0]} retired`)].toSorted())
  for (const name of ['ES256 signing', 'RS256 signing']) t.notOk(before.includes(await kid(name)))
})

t.test('after a change of the setting new keys sign access tokens once every verifier knows them [KS2]', async (t) => {
  const before = await open(t)
  const { keys, alg, token, isValid, rotate, maintain, pass } = await open(t, { LATCHKEY_SIGNING_ALG: 'EdDSA' }, before)
  t.equal(await alg(), 'ES256')
  pass(1)
  const held = await token()
  t.equal(await maintain(), 'nothing')
  t.strictSame(await keys(), ['ES256 next', 'ES256 signing', 'EdDSA next', 'EdDSA signing'])
  pass(299.999)
  t.equal(await alg(), 'ES256')
  const message = 'The next key was published a short time ago: it can sign from 2026-11-22T09:05:01.000Z on'
  await t.rejects(rotate(), { code: 'conflict', message })
  const last = await token()
  t.equal(await isValid(held), true)
  pass(0.001)
  t.equal(await alg(), 'EdDSA')
  t.equal(await before.alg(), 'ES256', 'an instance with the previous setting')
  t.equal(await before.isValid(await token()), true)
  t.match(await rotate(), { alg: 'EdDSA' })
  t.strictSame(await keys(), ['ES256 retired', 'ES256 verifying', 'EdDSA next', 'EdDSA signing', 'EdDSA verifying'])
  for (const each of [last, await token()]) t.equal(await isValid(each), true)
})

t.test(
  'after a change of the setting the previous algorithm signs, and not an older key for the ID tokens of a client',
  async (t) => {
    const before = await open(t)
    await before.register('one', { idTokenAlg: 'RS256' })
    before.pass(MINUTE)
    await before.auth.keys.retire(OPERATOR, await before.kid('ES256 next'), { compromised: true })
    before.pass(5 * MINUTE)
    await before.rotate()
    t.equal(await before.alg(), 'ES256')
    const { alg, maintain, rotate, pass } = await open(t, { LATCHKEY_SIGNING_ALG: 'EdDSA' }, before)
    await maintain()
    t.equal(await alg(), 'ES256')
    pass(5 * MINUTE - 0.001)
    await t.rejects(rotate(), { code: 'conflict' })
    t.equal(await alg(), 'ES256')
    pass(0.001)
    t.equal(await alg(), 'EdDSA')
  }
)

t.test('without another key that every verifier knows, a new one signs at once', async (t) => {
  const { auth, alg } = await open(t)
  await auth.revokeEverything(OPERATOR)
  t.equal(await alg(), 'ES256')
})
