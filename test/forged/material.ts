import { createHash, createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { encode, type Forge } from '../jws.ts'

/** A token that must be refused. */
export interface Forgery {
  /** The id of the check in docs/security.md. */
  id: string
  name: string
  token: string
}

/** The names and tokens of one check. */
export type Named = [name: string, token: string][]

/** Everything that forged tokens are made of. */
export interface Sources {
  forge: Forge
  /** A valid token of a user, signed with the key of `forge` by ES256. */
  valid: string
  issuer: string
  audience: string
  /** Milliseconds since the epoch. */
  now: number
  /** The published JWKS. */
  jwks: string
  /** The kid of the published key that does not sign yet. */
  nextKid: string
  /** Secrets of the issuer, with their names. */
  secrets: [name: string, secret: string | Buffer][]
}

/** The sources with helpers that all lists use. */
export type Material = ReturnType<typeof createMaterial>

export function createMaterial(sources: Sources) {
  const { forge, valid } = sources
  const { header, claims, sealed, token } = forge
  const [validHeader = '', validPayload = '', validSignature = ''] = valid.split('.')
  const attacker = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { crv, kty, x, y } = attacker.publicKey.export({ format: 'jwk' })
  const attackerKid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')

  /** Returns a token with this `alg`, the valid claims and the signature that `sign` makes. */
  const by = (alg: unknown, sign: (input: string) => Buffer, head: Record<string, unknown> = {}): string => {
    const input = `${encode({ ...header, alg, ...head })}.${validPayload}`
    return `${input}.${sign(input).toString('base64url')}`
  }
  const hmac = (alg: 'HS256' | 'HS384' | 'HS512', secret: string | Buffer | KeyObject): string =>
    by(alg, (input) =>
      createHmac(`sha${alg.slice(2)}`, secret)
        .update(input)
        .digest()
    )

  /** Returns the segments of a valid token whose payload and signature hold both characters in which the alphabets differ. */
  function withBothCharacters(): [header: string, payload: string, signature: string] {
    for (;;) {
      const parts = token({}, { x: '>>>???~~~', y: 'a>b?c~' }).split('.') as [string, string, string]
      const both = (text: string) => text.includes('-') && text.includes('_')
      if (both(parts[1]) && both(parts[2])) return parts
    }
  }
  const [, dashed, dashedSignature] = withBothCharacters()
  /** A payload whose last character has spare bits. */
  const spare = ['', 'x', 'xx'].map((x) => encode({ ...claims, x })).find((text) => text.length % 4 !== 0) as string

  return {
    ...sources,
    ...forge,
    now: sources.now / 1000,
    kid: header.kid,
    validHeader,
    validPayload,
    validSignature,
    attacker,
    attackerKid,
    by,
    hmac,
    dashed,
    dashedSignature,
    spare,
    tokenWithSpareBits: sealed(validHeader, spare)
  }
}

/** Names the check of these tokens. */
export const forgeriesOf = (id: string, tokens: Named): Forgery[] =>
  tokens.map(([name, token]) => ({ id, name, token }))
