import { equal, ok } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { alive, createForge } from '../forge.ts'
import { build, onEachDatabase } from '../helper.ts'
import { codePoint } from '../mutations.ts'

const ROUNDS = 40 * Number(process.env.LATCHKEY_ROUNDS ?? 3)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed} LATCHKEY_ROUNDS=${ROUNDS / 40}`)

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
  fc.string({ unit: codePoint }),
  fc.constantFrom('\0', '\ud800', '', ' ', '\uffff', 'x'.repeat(3000), -1, 0, 0.5, 2 ** 53, 1e300, null, true, [], {}, [
    []
  ])
)

onEachDatabase(
  t,
  'a token with a valid signature and any claims is accepted or refused and causes no error [JW6 to JW10]',
  async (t, database) => {
    const world = await build(t, { database })
    const valid = await world.login('admin', 'profile users:read')
    const { claims, header, signed, token } = await createForge(world, valid)
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
          if (response.statusCode === 200) equal(response.json().id, me.id, `another user for ${text}`)
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
