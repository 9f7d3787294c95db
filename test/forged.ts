import { createHash, createHmac, generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import type { Clock } from '../src/domain/ports/clock.ts'
import { createForge, encode, es256 } from './forge.ts'
import { ISSUER, PASSWORD, type TestApp } from './helper.ts'

/** Name and token. */
type Forged = [name: string, token: string][]

export interface Forgery {
  /** The check that it belongs to. */
  id: string
  name: string
  token: string
}

/** Values of `Authorization` that speak of the token and do not send it as RFC 6750 §2.1 says. */
export const bearers = (good: string) => ({
  /** These hold no token at all. */
  otherSchemes: [
    '',
    ' ',
    'Basic Og==',
    `Basic ${Buffer.from('admin:correct horse battery staple').toString('base64')}`,
    'Digest username="admin", realm="latchkey", nonce="x", uri="/users/me", response="x"',
    `DPoP ${good}`,
    `Token ${good}`,
    `JWT ${good}`,
    `Bearer: ${good}`,
    `Bearer=${good}`,
    `Bearer\t${good}`,
    `Bearer,${good}`,
    `Bearer\u00a0${good}`,
    `Bearerer ${good}`,
    `access_token ${good}`,
    ` Bearer ${good}`,
    `Basic Og==, Bearer ${good}`,
    good
  ],
  /** These hold one that is not good. */
  noToken: [
    'Bearer',
    'Bearer ',
    'Bearer  ',
    'Bearer  x',
    'bearer x',
    'BEARER x',
    'Bearer x y',
    'Bearer ,',
    'Bearer =',
    'Bearer null',
    'Bearer undefined',
    `Bearer ${good}, Basic Og==`
  ],
  /** Headers that are not `Authorization`. */
  elsewhere: [
    { cookie: `access_token=${good}; token=${good}; authorization=Bearer ${good}` },
    { 'proxy-authorization': `Bearer ${good}` },
    { 'x-authorization': `Bearer ${good}` },
    { 'x-forwarded-authorization': `Bearer ${good}` },
    { 'x-access-token': good },
    { 'x-api-key': good },
    { 'www-authenticate': `Bearer ${good}` },
    { 'x-forwarded-user': 'admin', 'x-remote-user': 'admin', 'remote-user': 'admin' },
    { 'x-original-url': '/health/live', 'x-rewrite-url': '/health/live', 'x-http-method-override': 'OPTIONS' }
  ] as Record<string, string>[]
})

/**
 * Everything about a token that can be wrong, one thing at a time.
 * @param good a token of a user
 * @param audience whom the token is for
 */
export async function forgeries(
  world: Pick<TestApp, 'app' | 'env' | 'inject'> & { clock: Clock },
  good: string,
  audience = ISSUER
) {
  const { app, clock, env, inject } = world
  const forge = await createForge(world, good)
  const { claims, header, privateKey, publicKey, sealed, signed, token } = forge
  const { kid } = header
  const now = clock.now() / 1000
  const [goodHeader = '', goodPayload = '', goodSignature = ''] = good.split('.')
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const thumbprint = (key: KeyObject) => {
    const { crv, kty, x, y } = key.export({ format: 'jwk' })
    return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
  }
  /** A token that says `alg`, with the good claims and a signature by anything at all. */
  const by = (alg: unknown, sign: (input: string) => Buffer, head: Record<string, unknown> = {}): string => {
    const input = `${encode({ ...header, alg, ...head })}.${goodPayload}`
    return `${input}.${sign(input).toString('base64url')}`
  }
  const hmac = (alg: 'HS256' | 'HS384' | 'HS512', secret: string | Buffer): string =>
    by(alg, (input) =>
      createHmac(`sha${alg.slice(2)}`, secret)
        .update(input)
        .digest()
    )
  const forged: Forgery[] = []
  const refused = (id: string, list: Forged): void =>
    void forged.push(...list.map(([name, token]): Forgery => ({ id, name, token })))
  const NONE = ['none', 'None', 'NONE', 'nOnE', 'none ', ' none', 'none\0', 'null', '', 'undefined', '__proto__']
  const NO_TEXT = [null, 0, false, true, [], ['none'], ['ES256'], {}, { alg: 'ES256' }]
  refused(
    'JW1',
    [...NONE, ...NO_TEXT, undefined].flatMap((alg): Forged => {
      const head = encode({ ...header, alg })
      const name = `alg ${JSON.stringify(alg) ?? 'missing'}`
      return [
        [`${name} without signature`, `${head}.${goodPayload}.`],
        [`${name} with the signature of a good token`, `${head}.${goodPayload}.${goodSignature}`],
        [`${name} signed with our key`, sealed(head, goodPayload)]
      ]
    })
  )
  refused('JW1', [
    [
      'alg none written with an escape',
      `${encode(`{"alg":"non\\u0065","typ":"at+jwt","kid":"${kid}"}`)}.${goodPayload}.`
    ],
    ['alg ES256 written with an escape', signed(`{"alg":"ES25\\u0036","typ":"at+jwt","kid":"${kid}"}`, claims)],
    ['alg none without kid', `${encode({ alg: 'none', typ: 'at+jwt' })}.${goodPayload}.`],
    ['alg none in two segments', `${encode({ ...header, alg: 'none' })}.${goodPayload}`],
    ['a good token without its signature', `${goodHeader}.${goodPayload}.`],
    ['a good token in two segments', `${goodHeader}.${goodPayload}`]
  ])
  const jwk = publicKey.export({ format: 'jwk' }) as { kty: string; crv: string; x: string; y: string }
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
  const der = publicKey.export({ type: 'spki', format: 'der' })
  const point = Buffer.concat([Buffer.from(jwk.x, 'base64url'), Buffer.from(jwk.y, 'base64url')])
  const published = (await inject({ method: 'GET', url: '/.well-known/jwks.json' })).body
  const publishedKey = JSON.stringify(JSON.parse(published).keys.find((key: { kid: string }) => key.kid === kid))
  const PUBLIC_KEY: [name: string, secret: string | Buffer][] = [
    ['as PEM', pem],
    ['as PEM, trimmed', pem.trim()],
    ['as PEM with CRLF', pem.replaceAll('\n', '\r\n')],
    ['as PEM in one line', pem.replaceAll('\n', '')],
    ['as PEM with escaped line ends', pem.replaceAll('\n', '\\n')],
    ['as the base64 of the PEM', der.toString('base64')],
    ['as DER', der],
    ['as the JWK that is published', publishedKey],
    ['as the JWKS that is published', published],
    ['as a JWK without kid', JSON.stringify(jwk)],
    ['as the JWK that the thumbprint is made of', JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y })],
    ['as its x coordinate in base64url', jwk.x],
    ['as its x coordinate in bytes', Buffer.from(jwk.x, 'base64url')],
    ['as its point in bytes', point],
    ['as its uncompressed point', Buffer.concat([Buffer.from([4]), point])],
    ['as its kid', kid]
  ]
  refused(
    'JW2',
    (['HS256', 'HS384', 'HS512'] as const).flatMap((alg) =>
      PUBLIC_KEY.map(([name, secret]): Forged[number] => [`${alg} with our public key ${name}`, hmac(alg, secret)])
    )
  )
  const SECRETS: [name: string, secret: string | Buffer][] = [
    ['empty', ''],
    ['one NUL', Buffer.alloc(1)],
    ['32 NULs', Buffer.alloc(32)],
    ['well known', 'secret'],
    ['the sealing key', Buffer.from(env.LATCHKEY_SEALING_KEY as string, 'base64')],
    ['the sealing key as text', env.LATCHKEY_SEALING_KEY as string],
    ['the password', PASSWORD],
    ['the private key as PEM', privateKey.export({ type: 'pkcs8', format: 'pem' })]
  ]
  const rsa = (bits: number) => generateKeyPairSync('rsa', { modulusLength: bits }).privateKey
  const ed25519 = generateKeyPairSync('ed25519')
  const rsaKey = rsa(2048)
  const withRsa = (key: KeyObject) => (input: string) => signBytes('sha256', Buffer.from(input), key)
  const ownKid = { kid: thumbprint(p256.publicKey) }
  refused('JW3', [
    ...SECRETS.flatMap(
      ([name, secret]): Forged => [
        [`HS256 with a secret: ${name}`, hmac('HS256', secret)],
        [`HS512 with a secret: ${name}`, hmac('HS512', secret)]
      ]
    ),
    ['RS256 with an RSA key of 2048 bits', by('RS256', withRsa(rsaKey))],
    ['RS256 with an RSA key of 1024 bits', by('RS256', withRsa(rsa(1024)))],
    ['RS256 with our own key', by('RS256', (input) => es256(input, privateKey))],
    ['RS256 with our public key as its modulus', by('RS256', () => der)],
    ['PS256 with an RSA key', by('PS256', withRsa(rsaKey))],
    ['ES256 with another key under our kid', by('ES256', (input) => es256(input, p256.privateKey))],
    ['ES256 with another key under its own kid', by('ES256', (input) => es256(input, p256.privateKey), ownKid)],
    ['ES256 with our key under the kid of another key', by('ES256', (input) => es256(input, privateKey), ownKid)],
    ['ES256 signed with RSA', by('ES256', withRsa(rsaKey))],
    ['ES256 signed with Ed25519', by('ES256', (input) => signBytes(null, Buffer.from(input), ed25519.privateKey))],
    ['EdDSA with another key', by('EdDSA', (input) => signBytes(null, Buffer.from(input), ed25519.privateKey))],
    [
      'ES384 with our key',
      by('ES384', (input) => signBytes('sha384', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }))
    ],
    [
      'ES512 with our key',
      by('ES512', (input) => signBytes('sha512', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }))
    ],
    [
      'ES256 with our key over SHA-512',
      by('ES256', (input) => signBytes('sha512', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }))
    ],
    ...['es256', 'Es256', 'ES256 ', 'ES256K', 'RS256', 'PS256', 'EdDSA', 'Ed25519', 'HS256', 'ECDSA', 'dir'].map(
      (alg): Forged[number] => [
        `our signature with ${JSON.stringify(alg)} in the header`,
        by(alg, (input) => es256(input, privateKey))
      ]
    )
  ])
  const KIDS: [name: string, kid: unknown][] = [
    ['missing', undefined],
    ['null', null],
    ['a number', 1],
    ['true', true],
    ['an array with ours', [kid]],
    ['an object', { kid }],
    ['empty', ''],
    ['a path', '../../../../../../dev/null'],
    ['a path of 43 characters', '../'.repeat(14).concat('x')],
    ['an absolute path', '/dev/null'],
    ['a file URL', 'file:///etc/passwd'],
    ['a web URL', 'https://evil.example/key'],
    ['SQL', "' or '1'='1"],
    ['SQL that selects a key', `x' union select '${kid}' --`],
    ['a command', '$(id > /tmp/pwned)'],
    ['4 KB', 'a'.repeat(4096)],
    ['8 KB', 'a'.repeat(8192)],
    ['__proto__', '__proto__'],
    ['constructor', 'constructor'],
    ['hasOwnProperty', 'hasOwnProperty'],
    ['ours and a NUL', `${kid}\0`],
    ['ours and a line end', `${kid}\n`],
    ['ours and a space', `${kid} `],
    ['ours in upper case', kid.toUpperCase()],
    ['ours without its last character', kid.slice(0, -1)],
    ['ours twice', kid + kid],
    ['43 characters that are nobody’s', 'A'.repeat(43)],
    ['43 wildcards', '_'.repeat(43)],
    ['43 characters beyond ASCII', 'é'.repeat(43)]
  ]
  refused(
    'JW4',
    KIDS.map(([name, hostile]) => [`a kid that is ${name}`, token({ kid: hostile })])
  )
  refused('JW4', [['the kid of the next key over the signature of this one', token({ kid: await nextKid() })]])
  async function nextKid(): Promise<string> {
    const keys = await app.store.keys.list()
    return keys.find((key) => key.state === 'next')?.kid as string
  }
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
  refused(
    'JW6',
    [...TYPS, ...OTHER_TYPS, null, 1, ['at+jwt'], undefined].map((typ) => [
      `typ ${JSON.stringify(typ) ?? 'missing'}`,
      token({ typ })
    ])
  )
  /** Claims that no access token of ours has, in a token rightly signed with our key. */
  const wrong = (name: string, values: unknown[]): Forged =>
    values.map((value) => [`${name} ${JSON.stringify(value) ?? 'missing'}`, token({}, { [name]: value })])
  const MISTYPED = [undefined, null, 0, 1, true, '', [], {}]
  refused('JW6', [
    ...wrong('sub', [...MISTYPED, [claims.sub], 'docs', 'nobody']),
    ...wrong('client_id', [...MISTYPED, ['docs'], 'DOCS', 'nobody']),
    ...wrong('jti', MISTYPED),
    ...wrong('scope', [undefined, null, 1, ['profile'], {}]),
    ...wrong('roles', [undefined, null, 'admin', { admin: true }, [1], [null], [''], [['admin']]]),
    ...wrong('sid', [null, 0, '', [claims.sid], {}, 'nobody’s']),
    ...wrong('rev', [undefined, null, '0', -1, 0.5, true, 2 ** 53]),
    [
      'the claims of an ID token',
      signed(header, { iss: ISSUER, sub: claims.sub, aud: 'docs', iat: now, exp: now + 300 })
    ],
    ['no claims', signed(header, {})]
  ])
  refused('JW7', [
    ...wrong('iss', [
      ...MISTYPED,
      [ISSUER],
      `${ISSUER}/`,
      `${ISSUER}/other`,
      ISSUER.toUpperCase(),
      ISSUER.replace('http', 'https'),
      'localhost:3000',
      'https://evil.example'
    ]),
    ...wrong('aud', [
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
  /** The good payload with one number written as the text says. */
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
  refused('JW8', [
    ...wrong('exp', [
      ...MISTYPED,
      String(exp),
      `${exp}`,
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
    ...NUMERALS.map((text): Forged[number] => [`exp written as ${text}`, numeral('exp', text)]),
    ...wrong('iat', [
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
    ...['1e400', '-1e400', `${iat}.0`, `0${iat}`].map((text): Forged[number] => [
      `iat written as ${text}`,
      numeral('iat', text)
    ]),
    ['exp a second ago', token({}, { iat: now - 300, exp: now - 1 })],
    ['exp now', token({}, { iat: now - 300, exp: now })],
    ['exp a year ago', token({}, { iat: now - 31_536_300, exp: now - 31_536_000 })],
    ['exp before iat, both to come', token({}, { iat: now + 5, exp: now + 4 })],
    ['exp equal to iat, both to come', token({}, { iat: now + 5, exp: now + 5 })],
    ...wrong('nbf', [null, '', String(now), true, [now], {}, -1, now + 0.5, 2 ** 53, now + 6, now + 86_400]),
    ['nbf written as 1e400', signed(header, JSON.stringify(claims).replace('{', '{"nbf":1e400,'))],
    ['nbf written as -1e400', signed(header, JSON.stringify(claims).replace('{', '{"nbf":-1e400,'))]
  ])
  const unencoded = (head: Record<string, unknown>, payload: string): string => {
    const input = `${encode({ ...header, ...head })}.${payload}`
    return `${input}.${es256(input, privateKey).toString('base64url')}`
  }
  refused('JW9', [
    ...[
      [],
      ['exp'],
      ['kid'],
      ['alg'],
      ['b64'],
      ['nobody-knows-this'],
      ['exp', 'exp'],
      'exp',
      {},
      null,
      true,
      0,
      ['']
    ].map((crit): Forged[number] => [`crit ${JSON.stringify(crit)}`, token({ crit })]),
    ['crit with the extension it names', token({ crit: ['exp'], exp })],
    ['b64 false with crit', token({ b64: false, crit: ['b64'] })],
    ['b64 false without crit', token({ b64: false })],
    ['b64 true', token({ b64: true })],
    ['b64 false with a payload as it is', unencoded({ b64: false, crit: ['b64'] }, JSON.stringify(claims))],
    ['a detached payload', `${goodHeader}..${goodSignature}`],
    ['zip DEF', token({ zip: 'DEF' })],
    ['zip DEF with a deflated payload', signed({ ...header, zip: 'DEF' }, deflateRawSync(JSON.stringify(claims)))],
    ['zip DEF with a bomb', signed({ ...header, zip: 'DEF' }, deflateRawSync(Buffer.alloc(4_000_000, 32)))],
    ['a deflated payload without zip', signed(header, deflateRawSync(JSON.stringify(claims)))],
    ['cty JWT', token({ cty: 'JWT' })],
    ['enc', token({ enc: 'A256GCM' })],
    ['a nonce in the header', token({ nonce: 'x' })],
    ['a claim in the header', token({ sub: claims.sub })],
    ['__proto__ in the header', signed(JSON.stringify(header).replace('{', '{"__proto__":{},'), claims)],
    ['the good members under __proto__ of the header', signed(`{"__proto__":${JSON.stringify(header)}}`, claims)]
  ])
  const head = JSON.stringify(header)
  const body = JSON.stringify(claims)
  const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')
  const first = (text: string, members: string): string => text.replace('{', `{${members},`)
  const last = (text: string, members: string): string => text.replace(/\}$/, `,${members}}`)
  const EVIL = '"https://evil.example"'
  refused('JW10', [
    ['alg twice in the header, none first', signed(first(head, '"alg":"none"'), claims)],
    ['alg twice in the header, none last', signed(last(head, '"alg":"none"'), claims)],
    ['alg twice in the header, the same', signed(last(head, '"alg":"ES256"'), claims)],
    ['alg twice in the header, once escaped', signed(last(head, '"\\u0061lg":"ES256"'), claims)],
    ['typ twice in the header', signed(first(head, '"typ":"JWT"'), claims)],
    ['kid twice in the header', signed(first(head, '"kid":"x"'), claims)],
    ['sub twice in the payload', signed(header, first(body, `"sub":"${claims.sub}"`))],
    ['sub twice in the payload, another one first', signed(header, first(body, '"sub":"somebody"'))],
    ['sub twice in the payload, once escaped', signed(header, first(body, `"\\u0073ub":"${claims.sub}"`))],
    ['exp twice in the payload', signed(header, first(body, `"exp":${exp + 1}`))],
    ['aud twice in the payload', signed(header, first(body, `"aud":${EVIL}`))],
    ['iss twice in the payload', signed(header, first(body, `"iss":${EVIL}`))],
    ['a member that nobody knows twice', signed(header, last(body, '"x":1,"x":1'))],
    ['a member twice further down', signed(header, last(body, '"x":{"y":1,"y":2}'))],
    ['an array as payload', signed(header, [claims])],
    ['an empty array as payload', signed(header, [])],
    ['a text as payload', signed(header, JSON.stringify(body))],
    ['null as payload', signed(header, 'null')],
    ['a number as payload', signed(header, '1')],
    ['true as payload', signed(header, 'true')],
    ['nothing as payload', signed(header, '')],
    ['a payload that is no JSON', signed(header, 'sub=admin')],
    ['a payload that is cut off', signed(header, body.slice(0, -1))],
    ['something after the payload', signed(header, `${body}{}`)],
    ['a space before the payload', signed(header, ` ${body}`)],
    ['a line end after the payload', signed(header, `${body}\n`)],
    ['spaces in the payload', signed(header, JSON.stringify(claims, null, 1))],
    ['a comment in the payload', signed(header, body.replace('{', '{/**/'))],
    ['a comma at the end of the payload', signed(header, body.replace(/\}$/, ',}'))],
    ['NUL after the payload', signed(header, `${body}\0`)],
    ['a byte order mark before the payload', signed(header, `\uFEFF${body}`)],
    ['UTF-16', signed(header, Buffer.from(body, 'utf16le'))],
    ['bad UTF-8 in the payload', signed(header, latin1(last(body, '"x":"\xff"')))],
    ['bad UTF-8 in a claim', signed(header, latin1(body.replace(claims.sub, `${claims.sub}\xc3`)))],
    ['overlong UTF-8 in the payload', signed(header, latin1(last(body, '"x":"\xc0\xaf"')))],
    ['a surrogate in UTF-8 in the payload', signed(header, latin1(last(body, '"x":"\xed\xa0\x80"')))],
    ['UTF-8 that is cut off in the payload', signed(header, latin1(`${body}\xe2\x82`))],
    ['an escaped name in the payload', signed(header, body.replace('"sub"', '"\\u0073ub"'))],
    ['an escaped value in the payload', signed(header, body.replace('"docs"', '"doc\\u0073"'))],
    ['the good claims under __proto__', signed(header, `{"__proto__":${body}}`)],
    [
      'one good claim under __proto__',
      signed(
        header,
        JSON.stringify({ ...claims, sub: undefined }).replace('{', `{"__proto__":{"sub":"${claims.sub}"},`)
      )
    ],
    ['a payload 2,000 arrays deep', signed(header, `${'['.repeat(2000)}${']'.repeat(2000)}`)],
    ['an array as header', signed([header], claims)],
    ['a text as header', signed(JSON.stringify(head), claims)],
    ['null as header', signed('null', claims)],
    ['a number as header', signed('1', claims)],
    ['nothing as header', signed('', claims)],
    ['an empty header', signed({}, claims)],
    ['a header that is no JSON', signed('alg=ES256', claims)],
    ['spaces in the header', signed(JSON.stringify(header, null, 1), claims)],
    ['a byte order mark before the header', signed(`\uFEFF${head}`, claims)],
    ['bad UTF-8 in the header', signed(latin1(last(head, '"x":"\xff"')), claims)],
    ['bad UTF-8 in the kid', signed(latin1(head.replace(kid, `\xff${kid.slice(1)}`)), claims)]
  ])
  const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  /** The same bytes with other bits in the last character, which no decoder looks at. */
  const sloppy = (segment: string): string => {
    const index = ALPHABET.indexOf(segment.at(-1) as string)
    if (segment.length % 4 === 0) throw new Error('this segment has no bits to spare')
    return segment.slice(0, -1) + ALPHABET[index ^ 1]
  }
  const standard = (segment: string): string => segment.replaceAll('-', '+').replaceAll('_', '/')
  /** A good token whose payload and signature hold both of the characters in which the alphabets differ. */
  function colourful(): [header: string, payload: string, signature: string] {
    for (;;) {
      const parts = token({}, { x: '>>>???~~~', y: 'a>b?c~' }).split('.') as [string, string, string]
      const both = (text: string) => text.includes('-') && text.includes('_')
      if (both(parts[1]) && both(parts[2])) return parts
    }
  }
  /** A payload whose last character has bits to spare. */
  const spare = ['', 'x', 'xx'].map((x) => encode({ ...claims, x })).find((text) => text.length % 4 !== 0) as string
  const [, bright, brightSignature] = colourful()
  const sparing = sealed(goodHeader, spare)
  refused('JW11', [
    ['padding at the signature', `${good}==`],
    ['one = at the signature', `${good}=`],
    ['padding at the header', `${goodHeader}==.${goodPayload}.${goodSignature}`],
    ['padding at the header, signed', sealed(`${goodHeader}==`, goodPayload)],
    ['padding at the payload', `${goodHeader}.${spare}==.${sparing.split('.')[2]}`],
    ['padding at the payload, signed', sealed(goodHeader, `${spare}=`)],
    ['other spare bits in the signature', `${goodHeader}.${goodPayload}.${sloppy(goodSignature)}`],
    ['other spare bits in the header', `${sloppy(goodHeader)}.${goodPayload}.${goodSignature}`],
    ['other spare bits in the header, signed', sealed(sloppy(goodHeader), goodPayload)],
    ['other spare bits in the payload', `${goodHeader}.${sloppy(spare)}.${sparing.split('.')[2]}`],
    ['other spare bits in the payload, signed', sealed(goodHeader, sloppy(spare))],
    ['the standard alphabet in the signature', `${goodHeader}.${bright}.${standard(brightSignature)}`],
    ['the standard alphabet in the payload', `${goodHeader}.${standard(bright)}.${brightSignature}`],
    ['the standard alphabet in the payload, signed', sealed(goodHeader, standard(bright))],
    ['the standard alphabet everywhere', standard(`${goodHeader}.${bright}.${brightSignature}`)],
    ['a dot at the end', `${good}.`],
    ['a dot at the beginning', `.${good}`],
    ['a dot too many in between', `${goodHeader}..${goodPayload}.${goodSignature}`],
    ['one segment', goodHeader],
    ['two segments', `${goodHeader}.${goodPayload}`],
    ['four segments', `${good}.${goodSignature}`],
    ['five segments', `${good}.${goodPayload}.${goodSignature}`],
    ['five segments, as encrypted tokens have them', `${encode({ alg: 'dir', enc: 'A256GCM' })}..AAAA.AAAA.AAAA`],
    ['1,000 segments', `${good}${'.'.repeat(1000)}`],
    ['dots only', '..'],
    ['one dot', '.'],
    ['the segments in another order', `${goodPayload}.${goodHeader}.${goodSignature}`],
    ['a space at the end', `${good} `],
    [
      'a space in the signature',
      `${goodHeader}.${goodPayload}.${goodSignature.slice(0, 40)} ${goodSignature.slice(40)}`
    ],
    ['a space after the header', `${goodHeader} .${goodPayload}.${goodSignature}`],
    ['a tab at the end', `${good}\t`],
    ['a line end at the end', `${good}\n`],
    [
      'a line end in the signature',
      `${goodHeader}.${goodPayload}.${goodSignature.slice(0, 64)}\n${goodSignature.slice(64)}`
    ],
    ['a line end after the header', `${goodHeader}\n.${goodPayload}.${goodSignature}`],
    ['NUL at the end', `${good}\0`],
    ['a character beyond ASCII at the end', `${good}é`],
    ['a character beyond Latin-1 at the end', `${good}\u2028`],
    ['a percent-escape for a dot', good.replace('.', '%2E')],
    ['quotes around it', `"${good}"`],
    ['a comma at the end', `${good},`],
    ['two tokens by comma', `${good},${good}`],
    ['two tokens by comma and space', `${good}, Bearer ${good}`],
    ['itself twice', good + good],
    ['a refresh token’s form', 'lkr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'],
    ['JSON serialization', JSON.stringify({ payload: goodPayload, protected: goodHeader, signature: goodSignature })]
  ])
  const bytes = Buffer.from(goodSignature, 'base64url')
  const withSignature = (signature: Buffer): string => `${goodHeader}.${goodPayload}.${signature.toString('base64url')}`
  const scalar = (hex: string): Buffer => Buffer.from(hex.padStart(64, '0'), 'hex')
  const N = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
  const [r, s] = [bytes.subarray(0, 32), bytes.subarray(32)]
  const derSignature = signBytes('sha256', Buffer.from(`${goodHeader}.${goodPayload}`), privateKey)
  refused('JW12', [
    ['a signature of zeros', withSignature(Buffer.alloc(64))],
    ['a signature of ones', withSignature(Buffer.alloc(64, 255))],
    ['r = 0', withSignature(Buffer.concat([scalar('0'), s]))],
    ['s = 0', withSignature(Buffer.concat([r, scalar('0')]))],
    ['r = s = 1', withSignature(Buffer.concat([scalar('1'), scalar('1')]))],
    ['r = s = n', withSignature(Buffer.concat([scalar(N), scalar(N)]))],
    ['r = n', withSignature(Buffer.concat([scalar(N), s]))],
    ['s = n', withSignature(Buffer.concat([r, scalar(N)]))],
    ['r and s exchanged', withSignature(Buffer.concat([s, r]))],
    ['a DER signature', withSignature(derSignature)],
    ['a DER signature of zeros', withSignature(Buffer.from('3006020100020100', 'hex'))],
    ['a signature of another token', `${goodHeader}.${goodPayload}.${token({}, { jti: 'x' }).split('.')[2]}`],
    ['a signature of the payload alone', withSignature(es256(goodPayload, privateKey))],
    ['a signature of the bytes instead of their text', withSignature(es256(body, privateKey))],
    [
      'a signature with its first bit changed',
      withSignature(Buffer.concat([Buffer.from([(bytes[0] as number) ^ 128]), bytes.subarray(1)]))
    ],
    [
      'a signature with its last bit changed',
      withSignature(Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) as number) ^ 1])]))
    ],
    ['63 bytes of the signature', withSignature(bytes.subarray(0, 63))],
    ['the last 63 bytes of the signature', withSignature(bytes.subarray(1))],
    ['32 bytes of the signature', withSignature(r)],
    ['one byte of the signature', withSignature(bytes.subarray(0, 1))],
    ['the signature and a NUL', withSignature(Buffer.concat([bytes, Buffer.alloc(1)]))],
    ['a NUL and the signature', withSignature(Buffer.concat([Buffer.alloc(1), bytes]))],
    [
      'each half of the signature with a NUL before',
      withSignature(Buffer.concat([Buffer.alloc(1), r, Buffer.alloc(1), s]))
    ],
    ['the signature twice', withSignature(Buffer.concat([bytes, bytes]))],
    ['4 KB of signature', withSignature(Buffer.alloc(4096, 1))],
    ['8 KB of signature', withSignature(Buffer.alloc(8192, 1))],
    ['8 KB of payload, rightly signed', token({}, { x: 'x'.repeat(8192) })],
    ['8 KB of header', token({ x: 'x'.repeat(8192) })],
    ['8 KB of anything', 'x'.repeat(8192)],
    ['15 KB of dots', '.'.repeat(15_000)],
    ['100 KB', `${good}${'A'.repeat(100_000)}`]
  ])

  /** Keys in the header, or the address of some at `url`, signed with that key. */
  const byReference = (url: string): Forgery[] => {
    const attacker = p256.publicKey.export({ format: 'jwk' })
    const x5c = [p256.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')]
    const oct = { kty: 'oct', k: Buffer.from('secret').toString('base64url') }
    const secret = (input: string) => createHmac('sha256', 'secret').update(input).digest()
    const headers: Record<string, unknown>[] = [
      { jwk: attacker },
      { jwk: attacker, kid: undefined },
      { jwk: { ...attacker, kid } },
      { jwk: oct },
      { jwk: null },
      { jku: url },
      { jku: url, kid: ownKid.kid },
      { jku: url, kid: undefined },
      { x5u: url },
      { x5c },
      { x5t: 'AAAA' },
      { 'x5t#S256': 'AAAA' },
      { jku: url, x5u: url, x5c, jwk: attacker },
      { kid: url }
    ]
    const list = headers.flatMap(
      (head): Forged => [
        [`${Object.keys(head)} by the attacker’s key`, by('ES256', (input) => es256(input, p256.privateKey), head)],
        [`${Object.keys(head)} by our key`, token(head)]
      ]
    )
    return [...list, ['jwk by its secret', by('HS256', secret, { jwk: oct })] as const].map(([name, token]) => ({
      id: 'JW5',
      name,
      token
    }))
  }

  /** Like the forged ones, but with nothing wrong about them. */
  const accepted = [
    good,
    token(),
    signed(JSON.stringify(header), JSON.stringify(claims)),
    sealed(goodHeader, goodPayload),
    `${goodHeader}.${goodPayload}.${goodSignature}`,
    token({}, { jti: 'another', aMemberThatNobodyKnows: ['x', { y: 1 }] }),
    token({}, { iat: now + 5 }),
    token({}, { exp: now + 1 }),
    by('ES256', (input) => es256(input, privateKey)),
    `${goodHeader}.${bright}.${brightSignature}`,
    sparing
  ]
  return { forge, attacker: p256.publicKey, forged, accepted, byReference }
}
