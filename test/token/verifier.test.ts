import t from 'tap'
import { createTokenVerifier } from '../../src/token/verifier.ts'
import { admitted, createIssuer, ISSUER, NOW, type TestKey } from './issuer.ts'

const ANY = { audiences: null, ahead: 0, behind: 0 }
const REMEMBERED = 5

/** Creates a verifier with a synchronous or asynchronous key look-up. Counts the look-ups and the signature checks. */
function setUp({ isAsync = false } = {}) {
  const { forge, claims, valid, key, findKey } = createIssuer()
  const state = { now: NOW, lookUps: [] as string[], checks: 0, isSignatureValid: true, find: findKey }
  const lookUp = (kid: string): TestKey | null => {
    state.lookUps.push(kid)
    return state.find(kid)
  }
  const verifier = createTokenVerifier<TestKey>({
    issuer: ISSUER,
    clock: { now: () => state.now },
    findKey: (kid) => (isAsync ? Promise.resolve().then(() => lookUp(kid)) : lookUp(kid)),
    hasValidSignature() {
      state.checks++
      return state.isSignatureValid
    },
    remembered: REMEMBERED
  })
  /** Returns null for a refusal. */
  function verify(...args: Parameters<typeof verifier.verify>) {
    const verdict = verifier.verify(...args)
    return verdict instanceof Promise ? verdict.then(admitted) : admitted(verdict)
  }
  return { ...verifier, verify, state, token: forge.token, claims, valid, key }
}

t.test('verify returns the claims, the key and the principal of a valid token', async (t) => {
  const { verify, valid, claims, key } = setUp()
  const { sub, client_id: clientId, sid, roles } = claims
  t.strictSame(verify(valid, ANY), {
    kind: 'verified',
    token: valid,
    key,
    claims,
    principal: { kind: 'user', sub, clientId, sid, scopes: ['profile', 'users:read'], roles, token: claims }
  })
})

t.test('the principal of a token without a session is its client, without roles', async (t) => {
  const { verify, token } = setUp()
  const verified = await verify(token({}, { sid: undefined, sub: 'docs', roles: ['admin'] }), ANY)
  t.match(verified?.principal, { kind: 'client', sub: 'docs', clientId: 'docs', sid: null, roles: [] })
  t.equal(verify(token({}, { sid: undefined }), ANY), null, 'its sub must be the client')
})

for (const isAsync of [false, true])
  t.test(
    `each use of a token looks up the key, only the first checks the signature (${isAsync ? 'with' : 'without'} a promise)`,
    async (t) => {
      const { verify, state, valid, key } = setUp({ isAsync })
      for (let round = 1; round <= 3; round++) {
        const verified = verify(valid, ANY)
        t.equal(verified instanceof Promise, isAsync)
        t.ok(await verified)
        t.strictSame([state.lookUps.length, state.checks], [round, 1])
      }
      t.strictSame(new Set(state.lookUps), new Set([key.kid]))
      state.find = () => null
      t.equal(await verify(valid, ANY), null, 'without its key the token is refused')
      state.find = () => key
      t.ok(await verify(valid, ANY), 'with its key the token is accepted again')
    }
  )

t.test('a remembered token is verified again with a new key of the same kid', async (t) => {
  const { verify, state, valid, key } = setUp()
  t.ok(verify(valid, ANY))
  state.find = () => ({ ...key })
  state.isSignatureValid = false
  t.equal(verify(valid, ANY), null)
  t.equal(state.checks, 2)
})

t.test('a key for another algorithm does not verify the token', async (t) => {
  const { verify, state, valid, key } = setUp()
  state.find = () => ({ ...key, alg: 'RS256' as 'ES256' })
  t.equal(verify(valid, ANY), null)
  t.equal(state.checks, 0)
})

t.test('a refused token is not remembered', async (t) => {
  const { verify, state, valid, size } = setUp()
  state.isSignatureValid = false
  for (let round = 1; round <= 3; round++) {
    t.equal(verify(valid, ANY), null)
    t.equal(state.checks, round)
  }
  t.equal(size(), 0)
})

t.test('a remembered signature is not accepted with another header or payload', async (t) => {
  const { verify, state, valid, token } = setUp()
  t.ok(verify(valid, ANY))
  const other = `${token({}, { jti: 'another' }).split('.').slice(0, 2).join('.')}.${valid.split('.')[2]}`
  state.isSignatureValid = false
  t.equal(verify(other, ANY), null)
  t.ok(verify(valid, ANY))
})

t.test('an error of the key look-up is thrown, also for a remembered token', async (t) => {
  const { verify, state, valid, key } = setUp({ isAsync: true })
  const unavailable = new Error('the database is unavailable')
  const fail = () => {
    throw unavailable
  }
  state.find = fail
  await t.rejects(async () => verify(valid, ANY), unavailable)
  state.find = () => key
  t.ok(await verify(valid, ANY))
  state.find = fail
  await t.rejects(async () => verify(valid, ANY), unavailable)
  const { length } = state.lookUps
  t.equal(await verify('not a token', ANY), null)
  t.equal(state.lookUps.length, length, 'no key is looked up for text that is not a token')
})

t.test('a caller cannot change a remembered token', async (t) => {
  const { verify, valid } = setUp()
  const first = await verify(valid, ANY)
  const before = structuredClone(first?.principal)
  t.throws(() => Object.assign(first?.claims ?? {}, { sub: 'another' }))
  t.throws(() => first?.claims.roles.push('auditor'))
  t.throws(() => first?.principal.scopes.push('users:write'))
  t.throws(() => Object.assign(first?.principal ?? {}, { kind: 'client' }))
  t.strictSame((await verify(valid, ANY))?.principal, before)
})

const TIMES: [name: string, seconds: number, acceptance: { ahead: number; behind: number }, accepted: boolean][] = [
  ['at its iat', 0, { ahead: 0, behind: 0 }, true],
  ['before its iat', -0.001, { ahead: 0, behind: 0 }, false],
  ['before its iat, within the skew', -5, { ahead: 5, behind: 0 }, true],
  ['before its iat, beyond the skew', -5.001, { ahead: 5, behind: 0 }, false],
  ['before its exp', 299.999, { ahead: 5, behind: 0 }, true],
  ['at its exp', 300, { ahead: 5, behind: 0 }, false],
  ['after its exp, within the skew', 359.999, { ahead: 0, behind: 60 }, true],
  ['after its exp, beyond the skew', 360, { ahead: 0, behind: 60 }, false]
]
for (const [name, seconds, acceptance, accepted] of TIMES)
  t.test(
    `a token is ${accepted ? 'accepted' : 'refused'} ${name}, whether or not it is remembered [JW8]`,
    async (t) => {
      const { verify, state, valid, size } = setUp()
      const verifyAt = () => {
        state.now = NOW + seconds * 1000
        return verify(valid, { audiences: null, ...acceptance }) !== null
      }
      t.equal(verifyAt(), accepted)
      state.now = NOW
      t.ok(verify(valid, ANY))
      t.equal(verifyAt(), accepted)
      t.equal(size(), accepted ? 1 : 0)
    }
  )

t.test('the audience is compared as a whole, whether or not the token is remembered [JW7]', async (t) => {
  const { verify, valid } = setUp()
  for (let round = 0; round < 2; round++) {
    t.ok(verify(valid, { ...ANY, audiences: [ISSUER] }))
    for (const audience of ['https://orders.example.com', `${ISSUER}/`, 'https://id', ''])
      t.equal(verify(valid, { ...ANY, audiences: [audience] }), null, audience)
    t.ok(verify(valid, ANY))
  }
})

t.test('a verifier remembers a limited number of tokens and verifies the others again [JW12]', async (t) => {
  const { verify, state, token, size } = setUp()
  const tokens = Array.from({ length: 2 * REMEMBERED }, (_, index) => token({}, { jti: `jti-${index}` }))
  for (const [index, each] of tokens.entries()) t.equal((await verify(each, ANY))?.claims.jti, `jti-${index}`)
  t.strictSame([size(), state.checks], [REMEMBERED, tokens.length])
  const checksFor = async (index: number) => {
    const before = state.checks
    t.equal((await verify(tokens[index] as string, ANY))?.claims.jti, `jti-${index}`)
    return state.checks - before
  }
  t.equal(await checksFor(tokens.length - 1), 0, 'the last token is remembered')
  t.equal(await checksFor(0), 1, 'the first token is forgotten')
  t.equal(await checksFor(0), 0, 'the first token is remembered again')
  t.equal(size(), REMEMBERED)
})

t.test('concurrent verifications return the claims of their own tokens', async (t) => {
  const { verify, token } = setUp({ isAsync: true })
  const jtis = Array.from({ length: 60 }, (_, index) => `jti-${index % 20}`)
  const verified = await Promise.all(jtis.map((jti) => verify(token({}, { jti }), ANY)))
  t.strictSame(
    verified.map((each) => each?.claims.jti),
    jtis
  )
})
