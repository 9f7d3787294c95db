import { createHmac, sign as signBytes } from 'node:crypto'
import { encode, es256 } from '../jws.ts'
import { ALGS, type Asserter, JWKS, jwk, PAIRS, SIGN, STRANGER } from './assertions.ts'
import { ISSUER } from './open.ts'

/** Functions by name. Each makes an invalid assertion when it is called, because an assertion is valid for a short time only. */
export type Forgeries = Record<string, () => string>

const ODD = [undefined, null, 0, 1, true, '', [], {}]
const NONE = ['none', 'None', 'NONE', 'nOnE', 'none ', ' none', 'none\0', 'null', '', '__proto__', null, 0, [], {}]

const each = <T>(values: readonly T[], name: (value: T) => string, make: (value: T) => () => string): Forgeries =>
  Object.fromEntries(values.map((value) => [name(value), make(value)]))
const text = (value: unknown): string => JSON.stringify(value)?.slice(0, 40) ?? 'missing'

/** Returns valid claims under any header, with any signature. */
const by = ({ claims }: Asserter, head: object, sign: (input: string) => string): string => {
  const input = `${encode({ kid: 'ES256', ...head })}.${encode(claims())}`
  return `${input}.${sign(input)}`
}

/** The public keys in every form in which they could be taken for a secret. */
function publicKeys(): [name: string, bytes: string | Buffer][] {
  return ALGS.flatMap((alg): [string, string | Buffer][] => {
    const key = PAIRS[alg].publicKey
    const pem = key.export({ type: 'spki', format: 'pem' }) as string
    const der = key.export({ type: 'spki', format: 'der' })
    const exported = key.export({ format: 'jwk' })
    return Object.entries({
      PEM: pem,
      'PEM without line end': pem.trim(),
      'PEM in one line': pem.replaceAll('\n', ''),
      'PEM with CRLF': pem.replaceAll('\n', '\r\n'),
      'base64 of the DER': der.toString('base64'),
      DER: der,
      JWK: JSON.stringify(exported),
      'registered JWK': JSON.stringify(JWKS.keys.find((key) => 'kid' in key && key.kid === alg)),
      JWKS: JSON.stringify(JWKS),
      'coordinate or modulus': Buffer.from((exported.x ?? exported.n) as string, 'base64url'),
      kid: alg
    }).map(([form, bytes]) => [`the ${alg} key as ${form}`, bytes])
  })
}

/** Assertions without a signature, and with a MAC instead of one. */
function withoutKeyPair(asserter: Asserter): Forgeries {
  const { signed } = asserter
  const hmac = (alg: string, secret: string | Buffer) => (input: string) =>
    createHmac(`sha${alg.slice(2)}`, secret)
      .update(input)
      .digest('base64url')
  const secrets: [name: string, bytes: string | Buffer][] = [
    ...publicKeys(),
    ...['', '\0', 'secret'].map((secret): [string, string] => [`the secret ${text(secret)}`, secret])
  ]
  return {
    ...each(
      NONE,
      (alg) => `alg ${text(alg)} without signature`,
      (alg) => () => by(asserter, { alg }, () => '')
    ),
    ...each(
      NONE,
      (alg) => `alg ${text(alg)} with a valid signature`,
      (alg) => () => signed({ alg })
    ),
    'no alg': () => signed({ alg: undefined }),
    ...each(
      secrets,
      ([name]) => `HS256 with ${name}`,
      ([, secret]) =>
        () =>
          by(asserter, { alg: 'HS256' }, hmac('HS256', secret))
    ),
    ...each(
      secrets,
      ([name]) => `HS512 with ${name}, without kid`,
      ([, secret]) =>
        () =>
          by(asserter, { alg: 'HS512', kid: undefined }, hmac('HS512', secret))
    ),
    ...each(
      secrets,
      ([name]) => `HS256 with ${name}, under alg ES256`,
      ([, secret]) =>
        () =>
          by(asserter, { alg: 'ES256' }, hmac('HS256', secret))
    )
  }
}

/** Assertions with a signature by another algorithm or another key than the header names. */
function withOtherKeys(asserter: Asserter): Forgeries {
  const { signed } = asserter
  const crossed = ALGS.flatMap((named) => ALGS.filter((used) => used !== named).map((used) => ({ named, used })))
  const cross = (name: string, head: (pair: { named: string; used: string }) => object) =>
    each(
      crossed,
      ({ named, used }) => `${name}: ${named}, ${used}`,
      (pair) => () =>
        by(asserter, head(pair), (input) => SIGN[pair.used](input, PAIRS[pair.used].privateKey).toString('base64url'))
    )
  const algs = ['es256', 'ES256 ', 'ES384', 'ES256K', 'Ed25519', 'RS1', 'RS512', 'PS512']
  const kids = ['unknown', '', 'es256', 'ES256\0', '../../dev/null', "' or 1=1 --", '__proto__', 'x'.repeat(3000)]
  const stranger = (head: object) => () => signed(head, {}, 'ES256', STRANGER.privateKey)
  const embedded = jwk(STRANGER.publicKey)
  const named = jwk(STRANGER.publicKey, { kid: 'ES256', alg: 'ES256' })
  return {
    ...cross('the alg of another signature', ({ named }) => ({ alg: named, kid: named })),
    ...cross('the alg of another kid', ({ named, used }) => ({ alg: named, kid: used })),
    ...cross('the kid of another alg', ({ named, used }) => ({ alg: used, kid: named })),
    ...cross('the alg of another signature, without kid', ({ named }) => ({ alg: named, kid: undefined })),
    ...each(
      algs,
      (alg) => `alg ${alg}`,
      (alg) => () => signed({ alg })
    ),
    'PS256 with the key for RS256': () => signed({ kid: 'RS256' }, {}, 'PS256', PAIRS.RS256.privateKey),
    'RS256 with the key for PS256': () => signed({ kid: undefined }, {}, 'RS256', PAIRS.PS256.privateKey),
    ...each(
      [...kids, null, 1, [], {}],
      (kid) => `kid ${text(kid)}`,
      (kid) => () => signed({ kid })
    ),
    'the key of a stranger': stranger({}),
    'the key of a stranger without kid': stranger({ kid: undefined }),
    'an embedded jwk': stranger({ jwk: embedded }),
    'an embedded jwk without kid': stranger({ kid: undefined, jwk: embedded }),
    'an embedded jwk with the registered kid': stranger({ jwk: named }),
    x5c: stranger({ x5c: [STRANGER.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')] }),
    ...each(
      [['exp'], ['b64'], ['x'], [], 'exp', null, 0],
      (crit) => `crit ${text(crit)}`,
      (crit) => () => signed({ crit, x: 1 })
    ),
    ...each(
      [true, false, null, 'false'],
      (b64) => `b64 ${b64}`,
      (b64) => () => signed({ b64 })
    )
  }
}

/** Assertions with one invalid claim. */
function withOtherClaims({ signed, claims, now }: Asserter): Forgeries {
  const wrong = (name: string, values: unknown[]) =>
    each(
      values,
      (value) => `${name} ${text(value)}`,
      (value) => () => signed({}, { [name]: value })
    )
  const raw = (name: string, literals: string[]) =>
    each(
      literals,
      (literal) => `${name} ${literal}`,
      (literal) => () => signed({}, JSON.stringify(claims({ [name]: '@' })).replace('"@"', literal))
    )
  const ids = ['other', 'secret', 'app', 'docs', 'nobody', 'keys\0', '\ud800', '', 'x'.repeat(4000)]
  const at = now() + 60
  return {
    ...wrong('aud', [...ODD, [ISSUER], [ISSUER, `${ISSUER}/token`], [[ISSUER]], `${ISSUER}/`, `${ISSUER}/token`]),
    ...wrong('aud', [`${ISSUER}/introspect`, ISSUER.toUpperCase(), ISSUER.replace('https:', 'http:'), ` ${ISSUER}`]),
    ...wrong('aud', ['https://other.example']),
    ...wrong('iss', [...ODD, ['keys'], 'other', 'secret', 'nobody', 'KEYS', 'keys ', ISSUER]),
    ...wrong('sub', [...ODD, ['keys'], 'other', 'secret', 'nobody', 'KEYS', 'keys ', 'keys\0', ISSUER]),
    ...wrong('sub', ['x'.repeat(300)]),
    ...each(
      ids,
      (id) => `iss and sub ${text(id)}`,
      (id) => () => signed({}, { iss: id, sub: id })
    ),
    ...wrong('exp', [...ODD, now(), now() - 1, now() + 305.001, now() + 306, now() + 3600, -1, 2 ** 53, 1e300]),
    ...wrong('exp', [`${at}`, [at], { value: at }, '2026-11-22T09:01:00Z', at * 1000]),
    ...raw('exp', ['1e400', '-1e400', '-0', '1e-400', '0.1e1']),
    ...Object.assign(
      {},
      ...['iat', 'nbf'].flatMap((name) => [
        wrong(name, [null, true, '', [], {}, now() + 5.001, now() + 6, now() + 60, `${now()}`, [now()], 1e300]),
        raw(name, ['1e400'])
      ])
    ),
    ...wrong('jti', [...ODD, 'x'.repeat(256), ['x']]),
    'jti of 4,000 characters': () => signed({}, { jti: 'x'.repeat(4000) })
  }
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** Returns the signature with another last character for the same bytes: four of its bits have no meaning. */
const twin = (signature: string) => signature.slice(0, -1) + ALPHABET[ALPHABET.indexOf(signature.slice(-1)) ^ 1]

/** Valid assertions in another form. */
function inOtherForms(asserter: Asserter): Forgeries {
  const { signed, claims } = asserter
  const tail = (change: (signature: string) => string) => () => {
    const [head, payload, signature = ''] = signed().split('.')
    return `${head}.${payload}.${change(signature)}`
  }
  const segment = (which: number, change: (segment: string) => string) => () => {
    const parts = [encode({ alg: 'ES256', kid: 'ES256', x: '???>>>' }), encode(claims({ x: '???>>>~' }))]
    parts[which] = change(parts[which] as string)
    const input = parts.join('.')
    return `${input}.${es256(input, PAIRS.ES256.privateKey).toString('base64url')}`
  }
  const toBase64 = (part: string) => Buffer.from(part, 'base64url').toString('base64').replaceAll('=', '')
  const padded = (part: string) =>
    Buffer.from(`${Buffer.from(part, 'base64url')} `)
      .toString('base64')
      .padEnd(4, '=')
  const spaced = (part: string) => `${part.slice(0, 8)} ${part.slice(8)}`
  const payloads = ['[]', 'null', '"keys"', '1', 'true', '', '{', '{}', '[{}]', 'keys', '{"a":1}}']
  const headers = ['[]', 'null', '"ES256"', '1', '', '{', '{}']
  return {
    ...each(
      payloads,
      (payload) => `the payload ${payload}`,
      (payload) => () => signed({}, payload)
    ),
    'claims in an array': () => signed({}, [claims()]),
    'a payload of invalid UTF-8': () => signed({}, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])),
    'a payload with a byte order mark': () => signed({}, `\ufeff${JSON.stringify(claims())}`),
    ...each(
      headers,
      (header) => `the header ${header}`,
      (header) => () => signed(encode(header))
    ),
    'upper case': () => signed().toUpperCase(),
    'two segments': () => signed().split('.').slice(0, 2).join('.'),
    'four segments': () => `${signed()}.`,
    'five segments': () => `${signed()}.x.y`,
    'an empty segment before': () => `.${signed()}`,
    'segments in another order': () => signed().split('.').reverse().join('.'),
    'two dots': () => '..',
    'one dot': () => '.',
    nothing: () => '',
    'a word': () => 'x',
    'three words': () => 'a.b.c',
    'a space before': () => ` ${signed()}`,
    'a space after': () => `${signed()} `,
    'a line end after': () => `${signed()}\n`,
    'a line end inside': () => signed().replace('.', '.\n'),
    padding: () => `${signed()}==`,
    'no signature': tail(() => ''),
    'a signature with other last bits': tail(twin),
    'a signature with one more character': tail((signature) => `${signature}A`),
    'a signature twice': tail((signature) => signature + signature),
    'a signature of zeros': tail(() => Buffer.alloc(64).toString('base64url')),
    'a signature in DER': () =>
      by(asserter, { alg: 'ES256' }, (input) =>
        signBytes('sha256', Buffer.from(input), PAIRS.ES256.privateKey).toString('base64url')
      ),
    'a signature in base64': tail((signature) => `${signature.replaceAll('-', '+').replaceAll('_', '/')}+`),
    ...each(
      [0, 1],
      (which) => `base64 in segment ${which}`,
      (which) => segment(which, toBase64)
    ),
    ...each(
      [0, 1],
      (which) => `padding in segment ${which}`,
      (which) => segment(which, padded)
    ),
    ...each(
      [0, 1],
      (which) => `a space in segment ${which}`,
      (which) => segment(which, spaced)
    ),
    '8193 characters': () => {
      const { length } = signed({}, { x: '' })
      return signed({}, { x: 'x'.repeat(Math.ceil(((8193 - length) * 3) / 4) + 2) })
    }
  }
}

/** Makes assertions that must be refused, each with one fault. */
export const forgeries = (asserter: Asserter): Forgeries => ({
  ...withoutKeyPair(asserter),
  ...withOtherKeys(asserter),
  ...withOtherClaims(asserter),
  ...inOtherForms(asserter)
})
