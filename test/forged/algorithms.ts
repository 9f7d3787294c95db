import { generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto'
import { encode, es256, generateKeyPair } from '../jws.ts'
import { type Forgery, forgeriesOf, type Material, type Named } from './material.ts'

/** Makes tokens with another algorithm or key [JW1, JW2, JW3]. */
export function withOtherAlgorithms(material: Material): Forgery[] {
  const {
    kid,
    jwks,
    secrets,
    header,
    claims,
    privateKey,
    publicKey,
    sealed,
    signed,
    validHeader,
    validPayload,
    validSignature,
    attacker,
    attackerKid,
    by,
    hmac
  } = material
  const forged: Forgery[] = []
  const add = (id: string, tokens: Named) => void forged.push(...forgeriesOf(id, tokens))

  const NONE = ['none', 'None', 'NONE', 'nOnE', 'none ', ' none', 'none\0', 'null', '', 'undefined', '__proto__']
  const NO_STRING = [null, 0, false, true, [], ['none'], ['ES256'], {}, { alg: 'ES256' }]
  add(
    'JW1',
    [...NONE, ...NO_STRING, undefined].flatMap((alg): Named => {
      const head = encode({ ...header, alg })
      const name = `alg ${JSON.stringify(alg) ?? 'missing'}`
      return [
        [`${name} without signature`, `${head}.${validPayload}.`],
        [`${name} with the signature of a valid token`, `${head}.${validPayload}.${validSignature}`],
        [`${name} with a valid signature`, sealed(head, validPayload)]
      ]
    })
  )
  add('JW1', [
    [
      'alg none written with an escape',
      `${encode(`{"alg":"non\\u0065","typ":"at+jwt","kid":"${kid}"}`)}.${validPayload}.`
    ],
    ['alg ES256 written with an escape', signed(`{"alg":"ES25\\u0036","typ":"at+jwt","kid":"${kid}"}`, claims)],
    ['alg none without kid', `${encode({ alg: 'none', typ: 'at+jwt' })}.${validPayload}.`],
    ['alg none in two segments', `${encode({ ...header, alg: 'none' })}.${validPayload}`],
    ['a valid token without its signature', `${validHeader}.${validPayload}.`],
    ['a valid token in two segments', `${validHeader}.${validPayload}`]
  ])
  const jwk = publicKey.export({ format: 'jwk' }) as { kty: string; crv: string; x: string; y: string }
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
  const der = publicKey.export({ type: 'spki', format: 'der' })
  const point = Buffer.concat([Buffer.from(jwk.x, 'base64url'), Buffer.from(jwk.y, 'base64url')])
  const publishedKey = JSON.stringify(JSON.parse(jwks).keys.find((key: { kid: string }) => key.kid === kid))
  const PUBLIC_KEY: [name: string, secret: string | Buffer][] = [
    ['as PEM', pem],
    ['as PEM, trimmed', pem.trim()],
    ['as PEM with CRLF', pem.replaceAll('\n', '\r\n')],
    ['as PEM in one line', pem.replaceAll('\n', '')],
    ['as PEM with escaped line ends', pem.replaceAll('\n', '\\n')],
    ['as the base64 of the PEM', der.toString('base64')],
    ['as DER', der],
    ['as the JWK that is published', publishedKey],
    ['as the JWKS that is published', jwks],
    ['as a JWK without kid', JSON.stringify(jwk)],
    ['as the JWK that the thumbprint is made of', JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y })],
    ['as its x coordinate in base64url', jwk.x],
    ['as its x coordinate in bytes', Buffer.from(jwk.x, 'base64url')],
    ['as its point in bytes', point],
    ['as its uncompressed point', Buffer.concat([Buffer.from([4]), point])],
    ['as its kid', kid]
  ]
  add(
    'JW2',
    (['HS256', 'HS384', 'HS512'] as const).flatMap((alg) =>
      PUBLIC_KEY.map(([name, secret]): Named[number] => [
        `${alg} with the issuer’s public key ${name}`,
        hmac(alg, secret)
      ])
    )
  )
  const SECRETS: [name: string, secret: string | Buffer][] = [
    ['empty', ''],
    ['one NUL', Buffer.alloc(1)],
    ['32 NULs', Buffer.alloc(32)],
    ['well known', 'secret'],
    ...secrets,
    ['the private key as PEM', privateKey.export({ type: 'pkcs8', format: 'pem' })]
  ]
  const rsaKey = generateKeyPair('RS256').privateKey
  const weakRsaKey = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
  const ed25519 = generateKeyPair('EdDSA')
  const withRsa = (key: KeyObject) => (input: string) => signBytes('sha256', Buffer.from(input), key)
  add('JW3', [
    ...SECRETS.flatMap(
      ([name, secret]): Named => [
        [`HS256 with a secret: ${name}`, hmac('HS256', secret)],
        [`HS512 with a secret: ${name}`, hmac('HS512', secret)]
      ]
    ),
    ['RS256 with an RSA key of 2048 bits', by('RS256', withRsa(rsaKey))],
    ['RS256 with an RSA key of 1024 bits', by('RS256', withRsa(weakRsaKey))],
    ['RS256 with the issuer’s key', by('RS256', (input) => es256(input, privateKey))],
    ['RS256 with the issuer’s public key in place of the signature', by('RS256', () => der)],
    ['PS256 with an RSA key', by('PS256', withRsa(rsaKey))],
    ['ES256 with another key under the issuer’s kid', by('ES256', (input) => es256(input, attacker.privateKey))],
    [
      'ES256 with another key under its own kid',
      by('ES256', (input) => es256(input, attacker.privateKey), { kid: attackerKid })
    ],
    [
      'ES256 with the issuer’s key under the kid of another key',
      by('ES256', (input) => es256(input, privateKey), { kid: attackerKid })
    ],
    ['ES256 signed with RSA', by('ES256', withRsa(rsaKey))],
    ['ES256 signed with Ed25519', by('ES256', (input) => signBytes(null, Buffer.from(input), ed25519.privateKey))],
    ['EdDSA with another key', by('EdDSA', (input) => signBytes(null, Buffer.from(input), ed25519.privateKey))],
    [
      'ES384 with the issuer’s key',
      by('ES384', (input) => signBytes('sha384', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }))
    ],
    [
      'ES512 with the issuer’s key',
      by('ES512', (input) => signBytes('sha512', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }))
    ],
    [
      'ES256 with the issuer’s key over SHA-512',
      by('ES256', (input) => signBytes('sha512', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }))
    ],
    ...['es256', 'Es256', 'ES256 ', 'ES256K', 'RS256', 'PS256', 'EdDSA', 'Ed25519', 'HS256', 'ECDSA', 'dir'].map(
      (alg): Named[number] => [
        `a valid signature with ${JSON.stringify(alg)} in the header`,
        by(alg, (input) => es256(input, privateKey))
      ]
    )
  ])

  return forged
}
