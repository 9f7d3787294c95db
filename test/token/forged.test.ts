import fastify from 'fastify'
import t from 'tap'
import jwt from '../../plugins/jwt.ts'
import { createTokenVerifier } from '../../src/token/verifier.ts'
import { createForgeries, ONLY_BY_STATE } from '../forged/index.ts'
import { admitted, createIssuer, ISSUER, NOW, nodeSignatures, type TestKey } from './issuer.ts'

const app = fastify()
t.teardown(() => app.close())
await app.register(jwt)
await app.ready()

/** The two places that check signatures: the guard with node:crypto, Latchkey with @fastify/jwt. */
const SIGNATURES: [name: string, hasValidSignature: (token: string, key: TestKey) => boolean | Promise<boolean>][] = [
  ['in the guard', nodeSignatures],
  ['inside Latchkey', app.signer.hasValidSignature]
]

const issuer = createIssuer()
const { key, nextKid, valid, forge, findKey } = issuer
const jwks = JSON.stringify({ keys: [{ ...key.publicJwk, kid: key.kid, alg: key.alg, use: 'sig' }] })
const sources = { forge, valid, issuer: ISSUER, audience: ISSUER, now: NOW, jwks, nextKid, secrets: [] }
const { forged, accepted, withKeyInHeader } = createForgeries(sources)
const all = [...forged, ...withKeyInHeader('http://127.0.0.1:9/jwks.json')]

t.ok(forged.length > 400)
for (const [where, hasValidSignature] of SIGNATURES) {
  const verifier = createTokenVerifier<TestKey>({
    issuer: ISSUER,
    clock: { now: () => NOW },
    findKey,
    hasValidSignature,
    remembered: 1000
  })
  const isAccepted = async (token: string) =>
    admitted(await verifier.verify(token, { audiences: [ISSUER], ahead: 5, behind: 0 })) !== null

  t.test(`valid tokens that are made like the forged ones are accepted ${where}`, async (t) => {
    for (const token of accepted) t.ok(await isAccepted(token), token)
  })

  for (const [id, tokens] of Map.groupBy(all, ({ id }) => id))
    t.test(`forged tokens are refused ${where} [${id}]`, async (t) => {
      for (const { name, token } of tokens) t.equal(await isAccepted(token), ONLY_BY_STATE.includes(name), name)
    })

  t.test(`a refused token is refused again, and the valid token stays valid ${where}`, async (t) => {
    const names: string[] = []
    for (const { name, token } of all) if (await isAccepted(token)) names.push(name)
    t.strictSame(names.sort(), ONLY_BY_STATE.toSorted())
    t.ok(await isAccepted(valid))
  })
}
