import { createHmac } from 'node:crypto'
import { es256 } from '../jws.ts'
import { type Forgery, forgeriesOf, type Material, type Named } from './material.ts'

/** Makes tokens with another `kid` [JW4]. */
export function withOtherKids(material: Material): Forgery[] {
  const { kid, nextKid, token } = material
  const forged: Forgery[] = []
  const add = (id: string, tokens: Named) => void forged.push(...forgeriesOf(id, tokens))

  const KIDS: [name: string, kid: unknown][] = [
    ['missing', undefined],
    ['null', null],
    ['a number', 1],
    ['true', true],
    ['an array with the valid one', [kid]],
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
    ['the valid one and a NUL', `${kid}\0`],
    ['the valid one and a line end', `${kid}\n`],
    ['the valid one and a space', `${kid} `],
    ['the valid one in upper case', kid.toUpperCase()],
    ['the valid one without its last character', kid.slice(0, -1)],
    ['the valid one twice', kid + kid],
    ['43 characters of no key', 'A'.repeat(43)],
    ['43 wildcards', '_'.repeat(43)],
    ['43 characters beyond ASCII', 'é'.repeat(43)]
  ]
  add(
    'JW4',
    KIDS.map(([name, hostile]) => [`a kid that is ${name}`, token({ kid: hostile })])
  )
  add('JW4', [['the kid of the next key over a signature of the current key', token({ kid: nextKid })]])

  return forged
}

/** Makes tokens with a key, or with the URL of keys, in the header [JW5]. @param url of a JWKS that an attacker controls */
export function withKeyInHeader(material: Material, url: string): Forgery[] {
  const { kid, token, attacker, attackerKid, by } = material
  const jwk = attacker.publicKey.export({ format: 'jwk' })
  const x5c = [attacker.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')]
  const oct = { kty: 'oct', k: Buffer.from('secret').toString('base64url') }
  const secret = (input: string) => createHmac('sha256', 'secret').update(input).digest()
  const headers: Record<string, unknown>[] = [
    { jwk },
    { jwk, kid: undefined },
    { jwk: { ...jwk, kid } },
    { jwk: oct },
    { jwk: null },
    { jku: url },
    { jku: url, kid: attackerKid },
    { jku: url, kid: undefined },
    { x5u: url },
    { x5c },
    { x5t: 'AAAA' },
    { 'x5t#S256': 'AAAA' },
    { jku: url, x5u: url, x5c, jwk },
    { kid: url }
  ]
  const list = headers.flatMap(
    (head): Named => [
      [`${Object.keys(head)} signed by the attacker`, by('ES256', (input) => es256(input, attacker.privateKey), head)],
      [`${Object.keys(head)} with a valid signature`, token(head)]
    ]
  )
  return forgeriesOf('JW5', [...list, ['jwk of a secret, signed with this secret', by('HS256', secret, { jwk: oct })]])
}
