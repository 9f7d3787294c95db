import { es256 } from '../jws.ts'
import { withOtherAlgorithms } from './algorithms.ts'
import { withOtherClaims } from './claims.ts'
import { inOtherEncodings } from './encoding.ts'
import { inOtherForms } from './form.ts'
import { withKeyInHeader, withOtherKids } from './kids.ts'
import { createMaterial, type Forgery, type Material, type Sources } from './material.ts'

/** Makes valid tokens in the ways in which the forged ones are made. */
function validTokens(material: Material): string[] {
  const { valid, header, claims, now, privateKey, sealed, signed, token, by } = material
  const { validHeader, validPayload, validSignature, dashed, dashedSignature, tokenWithSpareBits } = material
  return [
    valid,
    token(),
    signed(JSON.stringify(header), JSON.stringify(claims)),
    sealed(validHeader, validPayload),
    `${validHeader}.${validPayload}.${validSignature}`,
    token({}, { jti: 'another', anUnknownMember: ['x', { y: 1 }] }),
    token({}, { iat: now + 5 }),
    token({}, { exp: now + 1 }),
    by('ES256', (input) => es256(input, privateKey)),
    `${validHeader}.${dashed}.${dashedSignature}`,
    tokenWithSpareBits
  ]
}

/** Makes tokens that must be refused, each with one fault, and the valid ones beside them. */
export function createForgeries(sources: Sources) {
  const material = createMaterial(sources)
  return {
    forge: sources.forge,
    /** The key of an attacker, which signed some of the tokens. */
    attacker: material.attacker.publicKey,
    forged: [
      ...withOtherAlgorithms(material),
      ...withOtherKids(material),
      ...withOtherClaims(material),
      ...inOtherForms(material),
      ...inOtherEncodings(material)
    ],
    accepted: validTokens(material),
    /** @param url of a JWKS that an attacker controls */
    withKeyInHeader: (url: string): Forgery[] => withKeyInHeader(material, url)
  }
}

/** Returns the first forged token of each check: for tests that promise only that tokens are verified. */
export const oneOfEach = (forged: Forgery[]): Forgery[] =>
  [...Map.groupBy(forged, ({ id }) => id).values()].map(([first]) => first as Forgery)

/** Names of the forged tokens that only the state of the issuer's database refuses. */
export const ONLY_BY_STATE = ['sub "docs"', 'sub "nobody"', 'client_id "DOCS"', 'client_id "nobody"', 'sid "of-nobody"']
