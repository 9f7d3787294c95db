import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { NOW, openDomain } from './open.ts'

const UNKNOWN = '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10'
const NO_SECRET = { code: 'not_found', message: 'The client has no such secret' }

/** Opens the domain with the client `worker`. */
async function open(t: Test) {
  const { auth, clock } = await openDomain(t)
  const register = async (id: string) => (await auth.clients.create(OPERATOR, { id, name: id })).secret as string
  const isValid = async (secret: string, id = 'worker') => {
    const credentials = { method: 'client_secret_post' as const, ids: [id], secret }
    return auth.clientAuthentication.authenticate(OPERATOR, credentials).then(
      () => true,
      () => false
    )
  }
  return {
    clients: auth.clients,
    clock,
    register,
    first: await register('worker'),
    add: (spans: { expiresIn?: number; othersExpireIn?: number } = {}) =>
      auth.clients.addSecret(OPERATOR, 'worker', spans),
    remove: (secretId: string, id = 'worker') => auth.clients.deleteSecret(OPERATOR, { id, secretId }),
    areValid: (...secrets: string[]) => Promise.all(secrets.map((secret) => isValid(secret))),
    isValid,
    /** Returns the ends of the secrets, in milliseconds from the start. */
    ends: async () =>
      (await auth.clients.secrets('worker'))
        .map(({ expiresAt }) => (expiresAt === null ? 'never' : expiresAt - NOW))
        .toSorted()
  }
}

t.test('a client has several secrets, and each is valid until its end, to the millisecond', async (t) => {
  const { first, add, areValid, ends, clock } = await open(t)
  const short = (await add({ expiresIn: 10 })).secret
  t.match(short, /^lks_[\w-]{43}$/)
  t.strictSame(await areValid(first, short, `${first}x`, ''), [true, true, false, false])
  clock.advance(9)
  const last = (await add({ othersExpireIn: 2 })).secret
  t.strictSame(await ends(), [10_000, 11_000, 'never'], 'a secret that would expire later expires sooner now')
  clock.advance(0.999)
  t.strictSame(await areValid(first, short, last), [true, true, true])
  clock.advance(0.001)
  t.strictSame(await areValid(first, short, last), [true, false, true])
  t.strictSame(await ends(), [11_000, 'never'], 'an expired secret is not listed')
  clock.advance(0.999)
  t.strictSame(await areValid(first, last), [true, true])
  clock.advance(0.001)
  t.strictSame(await areValid(first, last), [false, true])
})

t.test('a new secret can replace all others at once, and a deleted secret is invalid at once', async (t) => {
  const { first, add, remove, areValid, ends } = await open(t)
  const { secret, stored } = await add({ othersExpireIn: 0 })
  t.strictSame(await areValid(first, secret), [false, true])
  t.strictSame(await ends(), ['never'])
  await remove(stored.id)
  t.strictSame(await areValid(secret), [false])
  await t.rejects(remove(stored.id), NO_SECRET)
  await t.rejects(remove(UNKNOWN), NO_SECRET)
})

t.test('the span of a secret is 1 second to 10 years', async (t) => {
  const { add } = await open(t)
  for (const spans of [
    { expiresIn: 0 },
    { expiresIn: 315_360_001 },
    { expiresIn: 1.5 },
    { othersExpireIn: -1 },
    { othersExpireIn: 315_360_001 }
  ])
    await t.rejects(add(spans), { code: 'invalid' }, JSON.stringify(spans))
  await t.resolves(add({ expiresIn: 315_360_000 }))
})

t.test('the secret of one client is invalid for another, and cannot be deleted under the id of another', async (t) => {
  const { clients, register, remove, isValid, first } = await open(t)
  const second = await register('second')
  t.strictSame([await isValid(first, 'worker'), await isValid(second, 'second')], [true, true])
  t.strictSame([await isValid(first, 'second'), await isValid(second, 'worker')], [false, false])
  const [secret] = await clients.secrets('worker')
  await t.rejects(remove(secret?.id as string, 'second'), NO_SECRET)
  t.equal(await isValid(first), true)
})

t.test('a client has at most ten secrets that have not expired', async (t) => {
  const { clients, add, remove, ends, clock } = await open(t)
  const full = { code: 'conflict', message: 'A client has at most 10 secrets: delete one that is not used' }
  for (let count = 2; count <= 9; count++) await add()
  await add({ expiresIn: 1 })
  await t.rejects(add(), full)
  await t.rejects(add({ othersExpireIn: 1 }), full, 'the others count until they expire')
  clock.advance(1)
  await t.resolves(add(), 'an expired secret does not count')
  await t.rejects(add(), full)
  t.strictSame(await ends(), Array(10).fill('never'), 'a refused secret ended no other')
  const [oldest] = await clients.secrets('worker')
  await remove(oldest?.id as string)
  await t.resolves(add())
  await t.resolves(add({ othersExpireIn: 0 }), 'a secret that replaces all others')
  t.strictSame(await ends(), ['never'])
})

t.test('the last use of a secret is recorded to the hour', async (t) => {
  const { clients, first, isValid, clock } = await open(t)
  const lastUsed = async () => (await clients.secrets('worker'))[0]?.lastUsedAt
  t.strictSame([await isValid('lks_wrong'), await lastUsed()], [false, null])
  t.strictSame([await isValid(first), await lastUsed()], [true, NOW])
  clock.advance(3599.999)
  t.strictSame([await isValid(first), await lastUsed()], [true, NOW])
  clock.advance(0.001)
  t.strictSame([await isValid(first), await lastUsed()], [true, NOW + 3_600_000])
})
