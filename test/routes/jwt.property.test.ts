import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { alive, answer, createForge, guarded, INVALID_TOKEN } from '../forge.ts'
import { build, onEachDatabase } from '../helper.ts'
import { mutation } from '../mutations.ts'

const ROUNDS = 40 * Number(process.env.LATCHKEY_ROUNDS ?? 3)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed} LATCHKEY_ROUNDS=${ROUNDS / 40}`)

t.test('no token that differs from a good one in anything is accepted [JW1 to JW12]', async (t) => {
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
        // Spaces before the token are no part of it. A good one would end its own session at some operations.
        fc.pre(token !== good && !token.startsWith(' '))
        const response = await world.inject({ ...operation, headers: { authorization: `Bearer ${token}` } })
        deepStrictEqual(answer(response), INVALID_TOKEN, JSON.stringify(token))
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
  'whatever a rightly signed token claims, it is judged and never a failure [JW6 to JW10]',
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
