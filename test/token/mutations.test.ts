import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { Refusal } from '../../src/token/refusal.ts'
import { createTokenVerifier, type VerifiedToken } from '../../src/token/verifier.ts'
import { codePoint, mutation } from '../mutations.ts'
import { admitted, createIssuer, ISSUER, NOW, nodeSignatures, type TestKey } from './issuer.ts'

const ROUNDS = 40 * Number(process.env.LATCHKEY_ROUNDS ?? 10)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed} LATCHKEY_ROUNDS=${ROUNDS / 40}`)

const { valid, forge, findKey } = createIssuer()
const { claims, header, signed } = forge
const verifier = createTokenVerifier<TestKey>({
  issuer: ISSUER,
  clock: { now: () => NOW },
  findKey,
  hasValidSignature: nodeSignatures,
  remembered: 10
})
const verify = (token: string) =>
  admitted(verifier.verify(token, { audiences: [ISSUER], ahead: 5, behind: 0 }) as VerifiedToken<TestKey> | Refusal)

t.test('every token that differs from a valid one is refused [JW1 to JW12]', async (t) => {
  let mutated = 0
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
      const token = mutations.reduce((text, mutate) => mutate(text), valid)
      if (token === valid) return
      mutated++
      equal(verify(token), null, JSON.stringify(token))
    }),
    { numRuns: ROUNDS, seed }
  )
  t.ok(mutated > ROUNDS * 0.8, `${mutated} tokens differ from the valid one`)
  t.ok(verify(valid))
})

const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.string({ unit: codePoint }),
  fc.constantFrom('\0', '\ud800', '', ' ', 'x'.repeat(3000), -1, 0.5, 2 ** 53, 1e300, null, true, [], {}, [[]])
)

t.test('a token with a valid signature and any claims is refused or has a principal of these claims', async (t) => {
  let refused = 0
  let accepted = 0
  const name = fc.constantFrom(...Object.keys(claims), 'nbf', '__proto__', 'unknown')
  fc.assert(
    fc.property(fc.array(fc.tuple(name, odd), { minLength: 1, maxLength: 3 }), (changes) => {
      const changed = { ...claims, ...Object.fromEntries(changes) }
      const verified = verify(signed(header, JSON.stringify(changed)))
      if (verified === null) {
        refused++
        return
      }
      accepted++
      const { principal } = verified
      deepStrictEqual([principal.sub, principal.clientId], [changed.sub, changed.client_id])
      equal(principal.sid ?? undefined, changed.sid)
      ok([...principal.scopes, ...principal.roles].every((each) => typeof each === 'string' && each !== ''))
    }),
    { numRuns: ROUNDS, seed }
  )
  t.ok(refused > 0 && accepted > 0, `${refused} refused, ${accepted} accepted`)
})
