import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto'
import fastify, { type FastifyInstance } from 'fastify'
import { calculateJwkThumbprint, compactVerify, decodeProtectedHeader, importJWK, jwtVerify, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import jwt from '../../plugins/jwt.ts'
import type { PublicKey, SigningAlg } from '../../src/domain/model.ts'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import { createTokenVerifier } from '../../src/token/verifier.ts'
import { encode } from '../forge.ts'

const ALGS: SigningAlg[] = ['ES256', 'EdDSA', 'RS256']
const HEADER_TYP = 'at+jwt'
const REMEMBERED = 50

const claims: AccessTokenClaims = {
  iss: 'https://latchkey.example',
  sub: 'user-1',
  aud: 'https://latchkey.example',
  client_id: 'docs',
  iat: 1_767_268_800,
  exp: 1_767_269_100,
  jti: 'jti-1',
  scope: 'profile users:read',
  roles: ['user'],
  sid: 'session-1',
  rev: 0
}

type Find = (kid: string) => Promise<PublicKey | null>

/** The plugin, with the token verifier on its signatures. */
async function open(t: Test) {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(jwt)
  await app.ready()
  const { signer } = app
  let findKey: Find = async () => null
  const verifier = createTokenVerifier<PublicKey>({
    issuer: claims.iss,
    clock: { now: () => claims.iat * 1000 },
    findKey: (kid) => findKey(kid),
    hasValidSignature: signer.hasValidSignature,
    remembered: REMEMBERED
  })
  return {
    app,
    signer,
    async verify(token: string, find: Find) {
      findKey = find
      const verified = await verifier.verify(token, { audience: null, ahead: 0, behind: 0 })
      return verified && { kid: verified.key.kid, claims: verified.claims }
    }
  }
}

const finding = (...keys: PublicKey[]) => {
  const asked: string[] = []
  const find = async (kid: string) => {
    asked.push(kid)
    return keys.find((key) => key.kid === kid) ?? null
  }
  return Object.assign(find, { asked })
}

/** How often a signature is really checked. */
function countChecks(app: FastifyInstance): { checks: number } {
  const count = { checks: 0 }
  const { verify } = app.jwt
  app.jwt.verify = ((...args: Parameters<typeof verify>) => {
    count.checks++
    return verify(...args)
  }) as typeof verify
  return count
}

const MEMBERS = { ES256: ['crv', 'kty', 'x', 'y'], EdDSA: ['crv', 'kty', 'x'], RS256: ['e', 'kty', 'n'] }
const DETAILS = {
  ES256: { asymmetricKeyType: 'ec', asymmetricKeyDetails: { namedCurve: 'prime256v1' } },
  EdDSA: { asymmetricKeyType: 'ed25519', asymmetricKeyDetails: {} },
  RS256: { asymmetricKeyType: 'rsa', asymmetricKeyDetails: { modulusLength: 2048, publicExponent: 65537n } }
}

for (const alg of ALGS) {
  t.test(`a ${alg} key is of its kind, and its kid is the thumbprint of RFC 7638`, async (t) => {
    const { signer } = await open(t)
    const key = await signer.generate(alg)
    t.equal(key.alg, alg)
    t.equal(key.kid, await calculateJwkThumbprint(key.publicJwk))
    t.strictSame(Object.keys(key.publicJwk).sort(), MEMBERS[alg], 'public members only')
    const { asymmetricKeyType, asymmetricKeyDetails } = createPrivateKey(key.privateKey)
    t.strictSame({ asymmetricKeyType, asymmetricKeyDetails }, DETAILS[alg])
    const { kty, ...rest } = createPublicKey(createPrivateKey(key.privateKey)).export({ format: 'jwk' })
    t.strictSame(key.publicJwk, { kty, ...rest })
    t.match(key.privateKey, /^-----BEGIN PRIVATE KEY-----\n/, 'PKCS #8')
    t.not((await signer.generate(alg)).kid, key.kid)
  })

  t.test(`what is signed with ${alg} is verified, here and by jose`, async (t) => {
    const { signer, verify } = await open(t)
    const key = await signer.generate(alg)
    const token = signer.sign(claims, key)
    t.strictSame(decodeProtectedHeader(token), { alg, typ: HEADER_TYP, kid: key.kid })
    t.strictSame(await verify(token, finding(key)), { kid: key.kid, claims })

    const { payload } = await jwtVerify(token, await importJWK(key.publicJwk, alg), {
      typ: HEADER_TYP,
      issuer: claims.iss,
      audience: claims.aud,
      algorithms: [alg],
      currentDate: new Date(claims.iat * 1000)
    })
    t.strictSame(payload, claims)
  })

  t.test(`what jose signs with ${alg} is verified`, async (t) => {
    const { signer, verify } = await open(t)
    const key = await signer.generate(alg)
    const token = await new SignJWT({ ...claims })
      .setProtectedHeader({ alg, typ: HEADER_TYP, kid: key.kid })
      .sign(createPrivateKey(key.privateKey))
    t.strictSame(await verify(token, finding(key)), { kid: key.kid, claims })
  })

  t.test(`a token of ${alg} is nothing under another key, and under no key`, async (t) => {
    const { signer, verify } = await open(t)
    const key = await signer.generate(alg)
    const others = await Promise.all(ALGS.map((other) => signer.generate(other)))
    const token = signer.sign(claims, key)
    t.equal(await verify(token, finding()), null)
    t.equal(await verify(token, finding(...others)), null)
    for (const other of others) {
      t.equal(await verify(token, async () => ({ ...other, kid: key.kid })), null, `${other.alg} for its kid`)
      t.equal(await verify(token, async () => other), null, `${other.alg} for another kid`)
    }
    const control = await open(t)
    t.strictSame(await control.verify(token, finding(key)), { kid: key.kid, claims }, 'it is good under its own')
  })

  t.test(`a token of ${alg} is nothing when the key is said to be for another algorithm`, async (t) => {
    const { signer, verify } = await open(t)
    const key = await signer.generate(alg)
    const token = signer.sign(claims, key)
    for (const other of ALGS.filter((each) => each !== alg)) {
      t.equal(await verify(token, async () => ({ ...key, alg: other })), null, other)
    }
  })
}

t.test('the key is looked up at every call, also for a token that was found good before', async (t) => {
  const { app, signer, verify } = await open(t)
  const count = countChecks(app)
  const key = await signer.generate('ES256')
  const token = signer.sign(claims, key)
  const find = finding(key)
  for (let round = 1; round <= 5; round++) {
    t.strictSame(await verify(token, find), { kid: key.kid, claims })
    t.equal(find.asked.length, round)
  }
  t.strictSame(new Set(find.asked), new Set([key.kid]))
  t.equal(count.checks, 1, 'the signature is checked once')
  t.equal(await verify(token, finding()), null, 'without its key it is nothing')
  t.strictSame(await verify(token, find), { kid: key.kid, claims }, 'with its key it is good again')
})

t.test('a token that was refused is not remembered as good', async (t) => {
  const { signer, verify } = await open(t)
  const key = await signer.generate('ES256')
  const another = await signer.generate('ES256')
  const [header, payload] = signer.sign(claims, key).split('.')
  const [, , signature] = signer.sign(claims, another).split('.')
  const forged = `${header}.${payload}.${signature}`
  for (let round = 0; round < 3; round++) t.equal(await verify(forged, finding(key, another)), null)
})

t.test('what find throws passes through, also for a token that was found good before', async (t) => {
  const { signer, verify } = await open(t)
  const key = await signer.generate('ES256')
  const token = signer.sign(claims, key)
  const away = new Error('the database is away')
  const throws = async () => {
    throw away
  }
  await t.rejects(verify(token, throws), away)
  await verify(token, finding(key))
  await t.rejects(verify(token, throws), away)
  t.equal(await verify('no token', throws), null, 'and is not asked for what is no token')
})

t.test('a stored key that is damaged is our failure, not the caller’s', async (t) => {
  const { signer, verify } = await open(t)
  const key = await signer.generate('ES256')
  const token = signer.sign(claims, key)
  for (const publicJwk of [{}, { ...key.publicJwk, x: '' }, { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA' }]) {
    await t.rejects(verify(token, async () => ({ ...key, publicJwk: publicJwk as Record<string, string> })))
  }
})

t.test('what a caller does to the answer changes no later one', async (t) => {
  const { signer, verify } = await open(t)
  const key = await signer.generate('ES256')
  const token = signer.sign(claims, key)
  const first = await verify(token, finding(key))
  try {
    Object.assign(first?.claims ?? {}, { sub: 'somebody else', exp: 2 ** 40 })
    if (Array.isArray(first?.claims.roles)) first.claims.roles.push('admin')
  } catch {
    // Frozen is as good as copied.
  }
  t.strictSame(await verify(token, finding(key)), { kid: key.kid, claims })
})

t.test('a key that is too weak or of another kind verifies nothing [JW3]', async (t) => {
  const { verify } = await open(t)
  const header = (alg: string, kid: string) => ({ alg, typ: HEADER_TYP, kid })
  const kid = 'A'.repeat(43)
  const make = (alg: string, sign: (input: string) => Buffer) => {
    const input = `${encode(header(alg, kid))}.${encode({ ...claims })}`
    return `${input}.${sign(input).toString('base64url')}`
  }
  const plain = (key: KeyObject) => (input: string) => signBytes('sha256', Buffer.from(input), key)
  const jose = (key: KeyObject) => (input: string) =>
    signBytes('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength })
  const good = rsa(2048)
  const find = (alg: SigningAlg, key: KeyObject) => async (): Promise<PublicKey> => ({
    kid,
    alg,
    publicJwk: key.export({ format: 'jwk' }) as Record<string, string>
  })
  const control = make('RS256', plain(good.privateKey))
  t.strictSame(await verify(control, find('RS256', good.publicKey)), { kid, claims }, 'the control is good')

  const weak: [name: string, alg: SigningAlg, pair: { publicKey: KeyObject; privateKey: KeyObject }][] = [
    ['RSA of 1024 bits', 'RS256', rsa(1024)],
    ['RSA of 2040 bits', 'RS256', rsa(2040)],
    ['P-384', 'ES256', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['secp256k1', 'ES256', generateKeyPairSync('ec', { namedCurve: 'secp256k1' })]
  ]
  for (const [name, alg, { publicKey, privateKey }] of weak) {
    const weakly = await open(t)
    const token = make(alg, alg === 'RS256' ? plain(privateKey) : jose(privateKey))
    let verified: unknown = null
    try {
      verified = await weakly.verify(token, find(alg, publicKey))
    } catch {
      // A key of ours that is no key for tokens is our failure.
    }
    t.equal(verified, null, name)
  }
})

t.test('an RSA key verifies RS256 and nothing else [JW3]', async (t) => {
  const { signer, verify } = await open(t)
  const key = await signer.generate('RS256')
  const privateKey = createPrivateKey(key.privateKey)
  const by = (alg: string) =>
    new SignJWT({ ...claims }).setProtectedHeader({ alg, typ: HEADER_TYP, kid: key.kid }).sign(privateKey)
  for (const alg of ['RS384', 'RS512', 'PS256', 'PS384', 'PS512'])
    t.equal(await verify(await by(alg), finding(key)), null, alg)
  t.strictSame(await verify(await by('RS256'), finding(key)), { kid: key.kid, claims })
})

t.test('tokens that are verified at the same time have each their own answer', async (t) => {
  const { signer, verify } = await open(t)
  const keys = await Promise.all(ALGS.map((alg) => signer.generate(alg)))
  const find = finding(...keys)
  const tokens = Array.from({ length: 60 }, (_, index) => {
    const key = keys[index % 3] as (typeof keys)[number]
    const own = { ...claims, jti: `jti-${index % 20}` }
    return { token: signer.sign(own, key), answer: { kid: key.kid, claims: own } }
  })
  const all = [...tokens, ...tokens, ...tokens]
  t.strictSame(
    await Promise.all(all.map(({ token }) => verify(token, find))),
    all.map(({ answer }) => answer)
  )
})

t.test('what is remembered has a bound: more tokens than that have still the right answers [JW12]', async (t) => {
  const { app, signer, verify } = await open(t)
  const key = await signer.generate('ES256')
  const find = finding(key)
  const count = countChecks(app)
  const COUNT = REMEMBERED + 10
  const tokens = Array.from({ length: COUNT }, (_, index) => signer.sign({ ...claims, jti: `jti-${index}` }, key))
  let right = 0
  for (const [index, token] of tokens.entries()) {
    const verified = await verify(token, find)
    if (verified?.claims.jti === `jti-${index}`) right++
  }
  t.equal(right, COUNT)
  t.equal(count.checks, COUNT)
  t.equal(find.asked.length, COUNT)

  const again = async (index: number) => {
    const before = count.checks
    t.strictSame((await verify(tokens[index] as string, find))?.claims.jti, `jti-${index}`)
    return count.checks - before
  }
  t.equal(await again(COUNT - 1), 0, 'the latest is remembered')
  t.equal(await again(0), 1, 'the first is not')
  t.equal(await again(0), 0, 'and is again')
  const [header, payload, signature = ''] = (tokens[5] as string).split('.')
  const flipped = signature.startsWith('A') ? `B${signature.slice(1)}` : `A${signature.slice(1)}`
  t.equal(await verify(`${header}.${payload}.${flipped}`, find), null)
  t.equal(await verify(tokens[COUNT - 1] as string, finding()), null)
})

t.test('a token as jose reads it is byte for byte what was signed', async (t) => {
  const { signer, verify } = await open(t)
  const key = await signer.generate('ES256')
  const unusual = { ...claims, scope: 'käse:lesen ☃ 😀', roles: ['a"b', 'c\\d', '\u2028'] }
  const token = signer.sign(unusual, key)
  const { payload } = await compactVerify(token, await importJWK(key.publicJwk, 'ES256'))
  t.equal(Buffer.from(payload).toString('utf8'), JSON.stringify(unusual))
  t.strictSame((await verify(token, finding(key)))?.claims, unusual)
})
