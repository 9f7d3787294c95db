import { createHash, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { hasValidSignature } from '../../src/guard/verify.ts'
import type { Refusal } from '../../src/token/refusal.ts'
import type { VerificationKey } from '../../src/token/verifier.ts'
import { encode, es256, type Forge, forgeWith } from '../jws.ts'

export const ISSUER = 'https://id.example.com'
export const NOW = Date.UTC(2026, 0, 1, 12)
const IAT = NOW / 1000

/** A public key that both signature checks understand. */
export interface TestKey extends VerificationKey {
  alg: 'ES256'
  key: KeyObject
  publicJwk: Record<string, string>
}

function createKey() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' })
  const publicJwk = { crv, kty, x, y } as Record<string, string>
  const kid = createHash('sha256').update(JSON.stringify(publicJwk)).digest('base64url')
  const key: TestKey = { kid, alg: 'ES256', key: createPublicKey(privateKey), publicJwk }
  return { privateKey, key }
}

/** An issuer without a server: two keys, of which the first signs, and a valid token of a user. */
export function createIssuer() {
  const current = createKey()
  const next = createKey()
  const claims = {
    iss: ISSUER,
    sub: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e12',
    aud: ISSUER,
    client_id: 'docs',
    iat: IAT,
    exp: IAT + 300,
    jti: 'jti-1',
    scope: 'profile users:read',
    roles: ['admin'],
    sid: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e11',
    rev: 0
  }
  const input = `${encode({ alg: 'ES256', typ: 'at+jwt', kid: current.key.kid })}.${encode(claims)}`
  const valid = `${input}.${es256(input, current.privateKey).toString('base64url')}`
  const forge: Forge = forgeWith(current.privateKey, valid)
  const keys = new Map([current.key, next.key].map((key) => [key.kid, key]))
  return {
    keys,
    key: current.key,
    nextKid: next.key.kid,
    claims,
    valid,
    forge,
    findKey: (kid: string) => keys.get(kid) ?? null
  }
}

/** Returns null for a refusal. */
export const admitted = <Verified>(verdict: Verified | Refusal): Verified | null =>
  isRefusal(verdict) ? null : verdict
const isRefusal = (verdict: unknown): verdict is Refusal => (verdict as Refusal).kind === 'refused'

/** Checks signatures as the guard does. */
export const nodeSignatures = (token: string, key: TestKey): boolean => hasValidSignature(token, key)
