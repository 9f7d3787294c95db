import fc from 'fast-check'
import t from 'tap'
import { refusesToken } from '../../src/client/challenge.ts'

const ROUNDS = 100 * Number(process.env.LATCHKEY_ROUNDS ?? 3)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))

/** Headers that refuse the token. */
const REFUSING = [
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
/** Headers that do not refuse the token. */
const OTHERS = [
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

t.test('a Bearer challenge with invalid_token or without an error refuses the token', async (t) => {
  for (const header of REFUSING) t.ok(refusesToken(header), header)
})

t.test('any other header does not refuse the token', async (t) => {
  for (const header of OTHERS) t.notOk(refusesToken(header), header)
})

t.test('the error of the Bearer challenge decides, beside any other challenges and quoted text', async (t) => {
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

t.test('only the first 2,000 characters of a header are read', async (t) => {
  t.ok(refusesToken(`${' '.repeat(1994)}Bearer`))
  t.notOk(refusesToken(`${' '.repeat(1995)}Bearer`))
})
