import fc from 'fast-check'
import t from 'tap'
import { refusesToken } from '../../src/client/challenge.ts'

const ROUNDS = 100 * Number(process.env.LATCHKEY_ROUNDS ?? 3)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))

const REFUSES = [
  'Bearer',
  'bearer',
  'Bearer realm="orders"',
  'Bearer error="invalid_token"',
  'Bearer error=invalid_token',
  'Bearer realm="latchkey", error="invalid_token", error_description="Could not validate credentials"',
  'BEARER ERROR = "invalid_token"',
  'Bearer realm="a \\" b, Basic", error="invalid_token"',
  'Basic realm="x", Bearer error="invalid_token"',
  'Basic realm="x", Bearer',
  'DPoP error="insufficient_scope", Bearer realm="x"',
  'Bearer realm="x", Basic realm="y", error="insufficient_scope"',
  'Negotiate abc==, Bearer realm="x"',
  'Bearer error="insufficient_scope", Bearer error="invalid_token"'
]
const DOES_NOT = [
  '',
  'Basic',
  'Basic realm="Bearer"',
  'Basic realm="x, Bearer error=invalid_token"',
  'Basic realm="\\", Bearer error=\\"invalid_token"',
  'Bearerer',
  'Basic bearer="x"',
  'Basic error="invalid_token"',
  'Bearer error="insufficient_scope"',
  'Bearer error="invalid_request"',
  'Bearer error=""',
  'Bearer realm="error=\\"invalid_token\\"", error="insufficient_scope"'
]

for (const header of REFUSES)
  t.test(`a token is given up for: ${header}`, async (t) => {
    t.ok(refusesToken(header))
  })

for (const header of DOES_NOT)
  t.test(`a token is kept for: ${header || 'nothing'}`, async (t) => {
    t.notOk(refusesToken(header))
  })

t.test('whatever else is said, and quoted, the error of the Bearer challenge decides', async (t) => {
  const quoted = fc.string({ maxLength: 30 }).map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`)
  const value = fc.oneof(quoted, fc.constantFrom('x', 'Bearer', 'invalid_token', '"error=\\"invalid_token\\""'))
  const name = fc.constantFrom('realm', 'scope', 'error_description', 'resource_metadata')
  const params = fc.array(fc.tuple(name, value), { minLength: 1, maxLength: 4 })
  const error = fc.constantFrom('invalid_token', 'invalid_request', 'insufficient_scope')
  const written = (each: [string, string][]) => each.map((pair) => pair.join('=')).join(', ')
  fc.assert(
    fc.property(params, params, params, error, (before, own, after, error) => {
      const bearer = `Bearer ${written([...own, ['error', `"${error}"`]])}`
      const header = `Basic ${written(before)}, ${bearer}, Digest ${written(after)}`
      t.equal(refusesToken(header), error === 'invalid_token', header)
    }),
    { numRuns: ROUNDS, seed }
  )
})

t.test('a header that is long and odd is read in no time', async (t) => {
  for (const part of ['="', 'a="\\', 'a=', '"', ' ', '\\']) {
    const started = performance.now()
    refusesToken(`Bearer ${part.repeat(1_000_000)}`)
    t.ok(performance.now() - started < 200, part)
  }
})
