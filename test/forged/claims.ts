import { type Forgery, forgeriesOf, type Material, type Named } from './material.ts'

/** Makes tokens of another type, and with claims that no access token has [JW6, JW7, JW8]. */
export function withOtherClaims(material: Material): Forgery[] {
  const { header, claims, token, signed, now, issuer, audience } = material
  const forged: Forgery[] = []
  const add = (id: string, tokens: Named) => void forged.push(...forgeriesOf(id, tokens))

  const TYPS = [
    'JWT',
    'jwt',
    'application/at+jwt',
    'AT+JWT',
    'At+Jwt',
    'at+jwt ',
    ' at+jwt',
    'at+jwt;v=1',
    'at jwt',
    ''
  ]
  const OTHER_TYPS = [
    'secevent+jwt',
    'logout+jwt',
    'dpop+jwt',
    'token-introspection+jwt',
    'oauth-authz-req+jwt',
    'JOSE'
  ]
  add(
    'JW6',
    [...TYPS, ...OTHER_TYPS, null, 1, ['at+jwt'], undefined].map((typ) => [
      `typ ${JSON.stringify(typ) ?? 'missing'}`,
      token({ typ })
    ])
  )
  /** Makes tokens with a valid signature and a claim with a value that no access token of Latchkey has. */
  const withClaim = (name: string, values: unknown[]): Named =>
    values.map((value) => [`${name} ${JSON.stringify(value) ?? 'missing'}`, token({}, { [name]: value })])
  const MISTYPED = [undefined, null, 0, 1, true, '', [], {}]
  add('JW6', [
    ...withClaim('sub', [...MISTYPED, [claims.sub], 'docs', 'nobody']),
    ...withClaim('client_id', [...MISTYPED, ['docs'], 'DOCS', 'nobody']),
    ...withClaim('jti', MISTYPED),
    ...withClaim('scope', [undefined, null, 1, ['profile'], {}]),
    ...withClaim('roles', [undefined, null, 'admin', { admin: true }, [1], [null], [''], [['admin']]]),
    ...withClaim('sid', [null, 0, '', [claims.sid], {}, 'of-nobody']),
    ...withClaim('rev', [undefined, null, '0', -1, 0.5, true, 2 ** 53]),
    [
      'the claims of an ID token',
      signed(header, { iss: issuer, sub: claims.sub, aud: 'docs', iat: now, exp: now + 300 })
    ],
    ['no claims', signed(header, {})]
  ])
  add('JW7', [
    ...withClaim('iss', [
      ...MISTYPED,
      [issuer],
      `${issuer}/`,
      `${issuer}/other`,
      issuer.toUpperCase(),
      issuer.replace('http', 'https'),
      'localhost:3000',
      'https://evil.example'
    ]),
    ...withClaim('aud', [
      ...MISTYPED,
      [audience],
      [audience, 'https://evil.example'],
      ['https://evil.example'],
      [audience, audience],
      { [audience]: true },
      `${audience}/`,
      audience.toUpperCase(),
      `${audience} https://evil.example`,
      'latchkey',
      'docs',
      'https://evil.example'
    ])
  ])
  const { exp, iat } = claims
  /** Returns a token with the valid claims, of which one number is written as the text. */
  const numeral = (name: 'exp' | 'iat', text: string): string =>
    signed(header, JSON.stringify(claims).replace(`"${name}":${claims[name]}`, `"${name}":${text}`))
  const NUMERALS = [
    '1e400',
    '-1e400',
    '1e10',
    `${exp}.0`,
    `0${exp}`,
    `+${exp}`,
    `${exp}e0`,
    '0x7fffffff',
    'NaN',
    'Infinity',
    '-0'
  ]
  add('JW8', [
    ...withClaim('exp', [
      ...MISTYPED,
      String(exp),
      [exp],
      -1,
      -exp,
      exp + 0.5,
      2 ** 53,
      1e300,
      now,
      now - 1,
      iat,
      iat - 1
    ]),
    ...NUMERALS.map((text): Named[number] => [`exp written as ${text}`, numeral('exp', text)]),
    ...withClaim('iat', [
      undefined,
      null,
      true,
      '',
      String(iat),
      [iat],
      {},
      -1,
      iat + 0.5,
      2 ** 53,
      now + 6,
      now + 299,
      now + 86_400
    ]),
    ...['1e400', '-1e400', `${iat}.0`, `0${iat}`].map((text): Named[number] => [
      `iat written as ${text}`,
      numeral('iat', text)
    ]),
    ['exp a second ago', token({}, { iat: now - 300, exp: now - 1 })],
    ['exp now', token({}, { iat: now - 300, exp: now })],
    ['exp a year ago', token({}, { iat: now - 31_536_300, exp: now - 31_536_000 })],
    ['exp before iat, both in the future', token({}, { iat: now + 5, exp: now + 4 })],
    ['exp equal to iat, both in the future', token({}, { iat: now + 5, exp: now + 5 })],
    ...withClaim('nbf', [null, '', String(now), true, [now], {}, -1, now + 0.5, 2 ** 53, now + 6, now + 86_400]),
    ['nbf written as 1e400', signed(header, JSON.stringify(claims).replace('{', '{"nbf":1e400,'))],
    ['nbf written as -1e400', signed(header, JSON.stringify(claims).replace('{', '{"nbf":-1e400,'))]
  ])
  return forged
}
