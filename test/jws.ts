import { createPublicKey, generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto'

export type Members = Record<string, unknown>
/** Content of a segment: an object is written as JSON, a string or bytes are used as they are. */
export type Content = Members | unknown[] | string | Buffer

let rsa: ReturnType<typeof generateKeyPairSync> | undefined

/** Returns a key pair for the algorithm. The RSA pair is always the same one, because it takes long to generate. */
export function generateKeyPair(alg: 'ES256' | 'EdDSA' | 'RS256') {
  if (alg === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' })
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519')
  rsa ??= generateKeyPairSync('rsa', { modulusLength: 2048 })
  return rsa
}

/** Returns the base64url of a content. */
export const encode = (content: Content): string =>
  (Buffer.isBuffer(content)
    ? content
    : Buffer.from(typeof content === 'string' ? content : JSON.stringify(content))
  ).toString('base64url')

/** Returns the JSON object of a segment. */
export const decode = (segment: string): Members => JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'))

/** Signs with ES256, in the format of JWS (RFC 7518 §3.4). */
export const es256 = (input: string, key: KeyObject): Buffer =>
  signBytes('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })

/** Signs every token that an owner of the signing key could sign. */
export interface Forge {
  privateKey: KeyObject
  publicKey: KeyObject
  /** The header of the valid token. */
  header: { alg: string; typ: string; kid: string }
  /** The claims of the valid token. */
  claims: Members & { iat: number; exp: number; sub: string; sid: string }
  /** Returns the valid token with these members changed and signed again; undefined removes a member. */
  token: (header?: Members, claims?: Members) => string
  /** Returns a token with this header and payload and a valid signature. */
  signed: (header: Content, payload: Content) => string
  /** Returns a token with these two segments as they are and a valid signature. */
  sealed: (header: string, payload: string) => string
}

/** @param valid a token that was signed with the key, by ES256 */
export function forgeWith(privateKey: KeyObject, valid: string): Forge {
  const [first = '', second = ''] = valid.split('.')
  const header = decode(first) as Forge['header']
  const claims = decode(second) as Forge['claims']
  const sealed = (head: string, payload: string) =>
    `${head}.${payload}.${es256(`${head}.${payload}`, privateKey).toString('base64url')}`
  const signed: Forge['signed'] = (head, payload) => sealed(encode(head), encode(payload))
  return {
    privateKey,
    publicKey: createPublicKey(privateKey),
    header,
    claims,
    sealed,
    signed,
    token: (head = {}, changes = {}) => signed({ ...header, ...head }, { ...claims, ...changes })
  }
}
