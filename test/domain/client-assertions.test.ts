import { equal } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { SignJWT } from 'jose'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { mutation } from '../mutations.ts'
import { ALGS, JWKS, OTHER, openAssertions, PAIRS, REFUSED } from './assertions.ts'

const ROUNDS = 40 * Number(process.env.LATCHKEY_ROUNDS ?? 5)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))

for (const alg of ALGS)
  t.test(`an assertion signed by ${alg} authenticates its client [CA8]`, async (t) => {
    const { authenticate, signed, claims } = await openAssertions(t)
    const byLibrary = await new SignJWT(claims()).setProtectedHeader({ alg, kid: alg }).sign(PAIRS[alg].privateKey)
    t.equal(await authenticate(byLibrary), 'keys', 'signed by jose')
    t.equal(await authenticate(signed({}, {}, alg)), 'keys')
    t.equal(await authenticate(signed({ kid: undefined }, {}, alg)), 'keys', 'without kid')
    t.equal(await authenticate(signed({ typ: 'client-authentication+jwt' }, {}, alg)), 'keys', 'with typ')
    t.equal(await authenticate(signed({}, JSON.stringify(claims(), null, 2), alg)), 'keys', 'with white space')
  })

t.test('a key without kid verifies assertions with any kid, of its own client only [CA8]', async (t) => {
  const { authenticate, signed } = await openAssertions(t)
  const other = { iss: 'other', sub: 'other' }
  for (const kid of [undefined, 'any', 'ES256'])
    t.equal(await authenticate(signed({ kid }, other, 'ES256', OTHER.privateKey)), 'other')
  t.equal(await authenticate(signed({}, {}, 'ES256', OTHER.privateKey)), REFUSED)
  t.equal(await authenticate(signed({}, other)), REFUSED)
})

t.test('the claims of an assertion are valid up to their limits [CA8]', async (t) => {
  const { authenticate, signed, now } = await openAssertions(t)
  for (const [name, more] of Object.entries({
    'exp in a second': { exp: now() + 1 },
    'exp in five minutes and the skew': { exp: now() + 305 },
    'exp with a fraction (RFC 7519 §2)': { exp: now() + 60.25 },
    'exp with a fraction of a millisecond': { exp: now() + 60.12345 },
    'iat and nbf in the future, within the skew': { iat: now() + 5, nbf: now() + 5 },
    'iat and nbf long ago': { iat: 0, nbf: 0 },
    'no iat': { iat: undefined },
    'other claims': { scope: 'x', roles: ['admin'], client_id: 'docs', ['__proto__']: 1 },
    'a jti of 255 characters': { jti: 'x'.repeat(255) },
    'a jti that no database stores': { jti: '\0\u00e9\ud800' }
  }))
    t.equal(await authenticate(signed({}, more)), 'keys', name)
})

t.test('a client_id beside an assertion must be the one of the assertion [CA3]', async (t) => {
  const { authenticate, signed } = await openAssertions(t)
  const refused = 'invalid_request: The client_id differs from the client_assertion'
  for (const id of ['secret', 'KEYS', 'other', 'nobody', '']) t.equal(await authenticate(signed(), id), refused, id)
  t.equal(await authenticate(signed(), 'keys'), 'keys')
})

t.test('an assertion is accepted once, and its jti once for each client [CA8]', async (t) => {
  const { authenticate, signed } = await openAssertions(t)
  const assertion = signed()
  t.strictSame([await authenticate(assertion), await authenticate(assertion)], ['keys', REFUSED])
  const jti = 'the same'
  t.equal(await authenticate(signed({}, { jti })), 'keys')
  t.equal(await authenticate(signed({}, { jti }, 'RS256')), REFUSED, 'in another assertion')
  const other = { iss: 'other', sub: 'other', jti }
  t.equal(await authenticate(signed({ kid: undefined }, other, 'ES256', OTHER.privateKey)), 'other')
  t.equal(await authenticate(signed({ kid: undefined }, other, 'ES256', OTHER.privateKey)), REFUSED)
})

t.test('a used assertion is remembered longer than it is valid, and removed without the others [CA8]', async (t) => {
  const { authenticate, signed, now, clock, auth } = await openAssertions(t)
  const jti = 'the same'
  t.equal(await authenticate(signed({}, { jti, exp: now() + 1 })), 'keys')
  const late = { iss: 'other', sub: 'other', jti, exp: now() + 300 }
  const valid = signed({ kid: undefined }, late, 'ES256', OTHER.privateKey)
  t.equal(await authenticate(valid), 'other')
  clock.advance(2)
  await auth.removeExpired()
  t.equal(await authenticate(signed({}, { jti })), REFUSED, 'the clock of another instance may be behind')
  clock.advance(120)
  await auth.removeExpired()
  t.equal(await authenticate(valid), REFUSED, 'the assertion of the other client is still valid')
  t.equal(await authenticate(signed({}, { jti })), 'keys')
})

t.test('a removed key and a disabled client are refused at once [CA8 SC6]', async (t) => {
  const { authenticate, signed, auth } = await openAssertions(t)
  t.equal(await authenticate(signed()), 'keys')
  await auth.clients.change(OPERATOR, 'keys', { jwks: { keys: JWKS.keys.slice(1) } })
  t.equal(await authenticate(signed()), REFUSED)
  t.equal(await authenticate(signed({ kid: undefined })), REFUSED)
  const withOtherKey = () => authenticate(signed({}, {}, 'EdDSA'))
  t.equal(await withOtherKey(), 'keys')
  await auth.clients.change(OPERATOR, 'keys', { disabled: true })
  t.equal(await withOtherKey(), REFUSED)
  await auth.clients.change(OPERATOR, 'keys', { disabled: false })
  t.equal(await withOtherKey(), 'keys')
  await auth.clients.change(OPERATOR, 'keys', { jwks: null })
  t.equal(await withOtherKey(), REFUSED)
  await auth.clients.delete(OPERATOR, 'keys')
  t.equal(await withOtherKey(), REFUSED)
})

t.test('every assertion that differs from a valid one is refused, and causes no error [CA8]', async (t) => {
  t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed} LATCHKEY_ROUNDS=${ROUNDS / 40}`)
  const { authenticate, signed } = await openAssertions(t)
  const valid = ALGS.map((alg) => signed({}, { jti: randomUUID() }, alg))
  await fc.assert(
    fc.asyncProperty(
      fc.array(mutation, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(...valid),
      async (mutations, original) => {
        const assertion = mutations.reduce((text, mutate) => mutate(text), original)
        fc.pre(assertion !== original)
        equal(await authenticate(assertion), REFUSED, JSON.stringify(assertion))
      }
    ),
    { numRuns: ROUNDS, seed }
  )
  for (const assertion of valid) t.equal(await authenticate(assertion), 'keys', 'the valid one is still unused')
})
