import type { ClientKey, PublicKey, SigningAlg } from '../model.ts'

/** The header member `typ`: it says what kind of token a JWT is, so that no kind is accepted as another (RFC 8725 §3.11). */
export type TokenType = 'at+jwt' | 'JWT' | 'logout+jwt'

/** Signs and verifies JWTs. Makes no decision about users, clients or rights. */
export interface Signer {
  /** Generates a key pair. The private key is PKCS #8 PEM. */
  generate(alg: SigningAlg): Promise<PublicKey & { privateKey: string }>
  /** Returns a compact JWS with the header `{ alg, typ, kid }`. */
  sign(claims: object, key: PublicKey & { privateKey: string }, typ: TokenType): string
  /** Returns whether the signature of a parsed token is valid for this key and its algorithm. Never throws because of the token. */
  hasValidSignature(token: string, key: PublicKey): boolean | Promise<boolean>
  /**
   * Returns the claims of a JWT that a client signed with one of its keys and the algorithm of this key. Otherwise returns null. Does
   * not check claims. Never throws because of the token.
   * @param keysOf returns the keys of the client. It gets the claims before the signature is verified
   */
  verifyAssertion(
    token: string,
    keysOf: (claims: Record<string, unknown>) => Promise<ClientKey[]>
  ): Promise<Record<string, unknown> | null>
  /** Returns the public members of a client's JWK with its algorithm; null for a key that must not sign assertions. */
  clientKey(jwk: Record<string, unknown>): ClientKey | null
}
