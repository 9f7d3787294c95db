import t from 'tap'
import { breakConnection, jsonText } from '../fake-issuer.ts'
import { settle } from '../fake-timer.ts'
import { granted, REFUSED, refused, setUp, unavailable } from './setup.ts'

t.test('a token is renewed in the background after 75 to 90 % of its lifetime, chosen at random', async (t) => {
  const ages = new Set<number>()
  for (let round = 0; round < 12; round++) {
    const renewal = Promise.withResolvers<void>()
    const { client, timer, requests } = setUp(t, async (n) => {
      if (n === 2) await renewal.promise
      return granted(`token-${n}`)
    })
    await client.token()
    let age = 224
    await timer.advance(age * 1000)
    while (requests().length === 1 && age <= 280) {
      t.equal(await client.token(), 'token-1')
      await timer.advance(1000)
      age++
    }
    ages.add(age)
    const tokens = await Promise.all(Array.from({ length: 50 }, () => client.token()))
    t.strictSame(new Set(tokens), new Set(['token-1']), 'during the renewal')
    renewal.resolve()
    await settle()
    t.equal(await client.token(), 'token-2')
    t.equal(requests().length, 2)
  }
  // The renewal is seen one second after it began.
  t.ok(Math.min(...ages) >= 226 && Math.max(...ages) <= 271, `at ${[...ages]}`)
  t.ok(ages.size > 1)
})

const LIFETIMES: [expiresIn: number | undefined, usableSeconds: number][] = [
  [300, 295],
  [10, 9],
  [10.5, 9.45],
  [undefined, 55],
  [1e300, 86_395]
]
for (const [expiresIn, usableSeconds] of LIFETIMES)
  t.test(`a token with the lifetime ${expiresIn} is returned for ${usableSeconds} s`, async (t) => {
    const respond = (n: number) => granted(`token-${n}`, { expires_in: expiresIn })
    const early = setUp(t, respond)
    await early.client.token()
    await early.timer.advance(usableSeconds * 1000 - 1)
    t.equal(await early.client.token(), 'token-1')
    const late = setUp(t, respond)
    await late.client.token()
    await late.timer.advance(usableSeconds * 1000)
    t.equal(await late.client.token(), 'token-2')
  })

t.test('a token is returned while every renewal fails, and not after its lifetime', async (t) => {
  const failures = [unavailable, breakConnection, refused, () => jsonText('no JSON')]
  const { token, timer, requests } = setUp(t, (n) => (n === 1 ? granted('token-1') : (failures[n - 2] ?? refused)()))
  t.equal(await token(), 'token-1')
  await timer.advance(280_000)
  for (let n = 2; n <= 5; n++) {
    t.equal(await token(), 'token-1')
    await settle()
    t.equal(requests().length, n)
    t.equal(await token(), 'token-1')
    await timer.advance(1500)
  }
  await timer.advance(15_000)
  t.strictSame(await token(), REFUSED)
})

t.test('calls during the pause after a failed renewal cause no request', async (t) => {
  const { client, timer, requests } = setUp(t, (n) => (n === 1 ? granted('token-1') : refused()))
  await client.token()
  await timer.advance(280_000)
  for (let times = 0; times < 10; times++) {
    t.equal(await client.token(), 'token-1')
    await timer.advance(99)
  }
  t.equal(requests().length, 2)
  await timer.advance(10)
  await client.token()
  t.equal(requests().length, 3)
})
