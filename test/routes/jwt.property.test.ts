import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { alive, answer, createForge, guarded, INVALID_TOKEN } from '../forge.ts'
import { build, onEachDatabase } from '../helper.ts'

const ROUNDS = 40 * Number(process.env.LATCHKEY_ROUNDS ?? 10)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed} LATCHKEY_ROUNDS=${ROUNDS / 40}`)

type Mutation = (token: string) => string

const splice = (text: string, at: number, remove: number, insert: string): string => {
  const index = at % (text.length + 1)
  return text.slice(0, index) + insert + text.slice(index + remove)
}
const segments = (token: string, change: (parts: string[]) => string[]): string => change(token.split('.')).join('.')
const inSegment = (which: number, change: (bytes: Buffer) => Buffer): Mutation => {
  return (token) =>
    segments(token, (parts) =>
      parts.map((part, index) =>
        index === which % parts.length ? change(Buffer.from(part, 'base64url')).toString('base64url') : part
      )
    )
}

const nat = fc.nat(10_000)
const byte = fc.nat(255)
const character = fc.oneof(
  fc.constantFrom(...'ABCxyz019-_.+/= \n\t~%"{}'),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 })
)

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  // Characters of the text.
  fc.tuple(nat, character).map(
    ([at, insert]): Mutation =>
      (token) =>
        splice(token, at, 1, insert)
  ),
  fc.tuple(nat, fc.array(character, { maxLength: 5 })).map(([at, all]): Mutation => {
    return (token) => splice(token, at, 0, all.join(''))
  }),
  fc.tuple(nat, fc.integer({ min: 1, max: 50 })).map(
    ([at, count]): Mutation =>
      (token) =>
        splice(token, at, count, '')
  ),
  nat.map((at): Mutation => {
    return (token) => splice(token, at, 1, token.charAt(at % (token.length + 1)) === 'A' ? 'B' : 'A')
  }),
  nat.map(
    (at): Mutation =>
      (token) =>
        token.slice(0, at % token.length)
  ),
  fc.constant<Mutation>((token) => token.toLowerCase()),
  fc.constant<Mutation>((token) => token + token),
  // Segments.
  fc.shuffledSubarray([0, 1, 2], { minLength: 1 }).map(
    (order): Mutation =>
      (token) =>
        segments(token, (parts) => order.map((index) => parts[index] ?? ''))
  ),
  nat.map((which): Mutation => {
    return (token) => segments(token, (parts) => parts.flatMap((part, i) => (i === which % 3 ? [part, part] : [part])))
  }),
  nat.map((which): Mutation => {
    return (token) => segments(token, (parts) => parts.map((part, i) => (i === which % 3 ? '' : part)))
  }),
  // Bytes inside of a segment, encoded again as they should be.
  fc.tuple(nat, nat, fc.integer({ min: 1, max: 255 })).map(([which, at, bits]) =>
    inSegment(which, (bytes) => {
      const index = at % Math.max(1, bytes.length)
      const copy = Buffer.from(bytes)
      copy[index] = (copy[index] ?? 0) ^ bits
      return copy
    })
  ),
  fc.tuple(nat, nat, byte).map(([which, at, value]) =>
    inSegment(which, (bytes) => {
      const index = at % (bytes.length + 1)
      return Buffer.concat([bytes.subarray(0, index), Buffer.from([value]), bytes.subarray(index)])
    })
  ),
  fc.tuple(nat, nat).map(([which, at]) =>
    inSegment(which, (bytes) => {
      const index = at % Math.max(1, bytes.length)
      return Buffer.concat([bytes.subarray(0, index), bytes.subarray(index + 1)])
    })
  ),
  fc.tuple(nat, fc.uint8Array({ maxLength: 100 })).map(([which, all]) => inSegment(which, () => Buffer.from(all))),
  // Whole JSON.
  fc.tuple(fc.nat(1), fc.json()).map(([which, json]) => inSegment(which, () => Buffer.from(json))),
  fc.tuple(fc.nat(1), fc.string(), fc.jsonValue()).map(([which, name, value]) =>
    inSegment(which, (bytes) => {
      try {
        return Buffer.from(JSON.stringify({ ...JSON.parse(bytes.toString('utf8')), [name]: value }))
      } catch {
        return bytes
      }
    })
  )
)

t.test('JW1 to JW12: no token that differs from a good one in anything is accepted', async (t) => {
  const world = await build(t)
  const good = await world.login('admin', 'profile users:read')
  let mutated = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(mutation, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(...guarded()),
      async (mutations, operation) => {
        const token = mutations.reduce((text, mutate) => mutate(text), good)
        if (token !== good) mutated++
        fc.pre(!token.startsWith(' ')) // Spaces before the token are no part of it.
        const response = await world.inject({ ...operation, headers: { authorization: `Bearer ${token}` } })
        if (token === good) ok(![401, 500].includes(response.statusCode))
        else deepStrictEqual(answer(response), INVALID_TOKEN, JSON.stringify(token))
      }
    ),
    { numRuns: ROUNDS, seed }
  )
  t.ok(mutated > ROUNDS * 0.8, `${mutated} of the tokens were other than the good one`)
  t.equal((await world.get('/users', good)).statusCode, 200)
  await alive(t, world)
})

const NAMES = [
  'iss',
  'sub',
  'aud',
  'client_id',
  'iat',
  'exp',
  'nbf',
  'jti',
  'scope',
  'roles',
  'sid',
  'rev',
  '__proto__'
]
const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\0', '\ud800', '', ' ', '\uffff', 'x'.repeat(3000), -1, 0, 0.5, 2 ** 53, 1e300, null, true, [], {}, [
    []
  ])
)

onEachDatabase(
  t,
  'JW6 to JW10: whatever a rightly signed token claims, it is judged and never a failure',
  async (t, database) => {
    const world = await build(t, { database })
    const good = await world.login('admin', 'profile users:read')
    const { claims, header, signed, token } = await createForge(world, good)
    const me = (await world.get('/users/me', token())).json()
    const statuses: Record<number, number> = {}
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...NAMES), odd), { minLength: 1, maxLength: 3 }),
        async (changes) => {
          const text = JSON.stringify({ ...claims, ...Object.fromEntries(changes) })
          const response = await world.get('/users/me', signed(header, text))
          statuses[response.statusCode] = (statuses[response.statusCode] ?? 0) + 1
          ok([200, 401, 403].includes(response.statusCode), `${response.statusCode} for ${text}`)
          if (response.statusCode === 200) equal(response.json().id, me.id, `somebody else by ${text}`)
        }
      ),
      { numRuns: ROUNDS, seed }
    )
    t.comment(JSON.stringify(statuses))
    t.ok((statuses[401] ?? 0) > 0)
    t.equal((await world.get('/users/me', token())).statusCode, 200)
    await alive(t, world)
  }
)
