import { sign as signBytes } from 'node:crypto'
import { encode, es256 } from '../jws.ts'
import { type Forgery, forgeriesOf, type Material, type Named } from './material.ts'

/** Makes tokens in another encoding, with another signature, or too long [JW11, JW12]. */
export function inOtherEncodings(material: Material): Forgery[] {
  const {
    valid,
    validHeader,
    validPayload,
    validSignature,
    privateKey,
    claims,
    sealed,
    token,
    dashed,
    dashedSignature,
    spare,
    tokenWithSpareBits
  } = material
  const forged: Forgery[] = []
  const add = (id: string, tokens: Named) => void forged.push(...forgeriesOf(id, tokens))

  const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  /** The same bytes with other bits in the last character, which no decoder looks at. */
  const withOtherSpareBits = (segment: string): string => {
    const index = ALPHABET.indexOf(segment.at(-1) as string)
    if (segment.length % 4 === 0) throw new Error('this segment has no bits to spare')
    return segment.slice(0, -1) + ALPHABET[index ^ 1]
  }
  const standard = (segment: string): string => segment.replaceAll('-', '+').replaceAll('_', '/')
  add('JW11', [
    ['padding at the signature', `${valid}==`],
    ['one = at the signature', `${valid}=`],
    ['padding at the header', `${validHeader}==.${validPayload}.${validSignature}`],
    ['padding at the header, signed', sealed(`${validHeader}==`, validPayload)],
    ['padding at the payload', `${validHeader}.${spare}==.${tokenWithSpareBits.split('.')[2]}`],
    ['padding at the payload, signed', sealed(validHeader, `${spare}=`)],
    ['other spare bits in the signature', `${validHeader}.${validPayload}.${withOtherSpareBits(validSignature)}`],
    ['other spare bits in the header', `${withOtherSpareBits(validHeader)}.${validPayload}.${validSignature}`],
    ['other spare bits in the header, signed', sealed(withOtherSpareBits(validHeader), validPayload)],
    [
      'other spare bits in the payload',
      `${validHeader}.${withOtherSpareBits(spare)}.${tokenWithSpareBits.split('.')[2]}`
    ],
    ['other spare bits in the payload, signed', sealed(validHeader, withOtherSpareBits(spare))],
    ['the standard alphabet in the signature', `${validHeader}.${dashed}.${standard(dashedSignature)}`],
    ['the standard alphabet in the payload', `${validHeader}.${standard(dashed)}.${dashedSignature}`],
    ['the standard alphabet in the payload, signed', sealed(validHeader, standard(dashed))],
    ['the standard alphabet everywhere', standard(`${validHeader}.${dashed}.${dashedSignature}`)],
    ['a dot at the end', `${valid}.`],
    ['a dot at the beginning', `.${valid}`],
    ['an additional dot', `${validHeader}..${validPayload}.${validSignature}`],
    ['one segment', validHeader],
    ['two segments', `${validHeader}.${validPayload}`],
    ['four segments', `${valid}.${validSignature}`],
    ['five segments', `${valid}.${validPayload}.${validSignature}`],
    ['five segments, as encrypted tokens have them', `${encode({ alg: 'dir', enc: 'A256GCM' })}..AAAA.AAAA.AAAA`],
    ['1,000 segments', `${valid}${'.'.repeat(1000)}`],
    ['dots only', '..'],
    ['one dot', '.'],
    ['the segments in another order', `${validPayload}.${validHeader}.${validSignature}`],
    ['a space at the end', `${valid} `],
    [
      'a space in the signature',
      `${validHeader}.${validPayload}.${validSignature.slice(0, 40)} ${validSignature.slice(40)}`
    ],
    ['a space after the header', `${validHeader} .${validPayload}.${validSignature}`],
    ['a tab at the end', `${valid}\t`],
    ['a line end at the end', `${valid}\n`],
    [
      'a line end in the signature',
      `${validHeader}.${validPayload}.${validSignature.slice(0, 64)}\n${validSignature.slice(64)}`
    ],
    ['a line end after the header', `${validHeader}\n.${validPayload}.${validSignature}`],
    ['NUL at the end', `${valid}\0`],
    ['a character beyond ASCII at the end', `${valid}é`],
    ['a character beyond Latin-1 at the end', `${valid}\u2028`],
    ['a percent-escape for a dot', valid.replace('.', '%2E')],
    ['quotes around it', `"${valid}"`],
    ['a comma at the end', `${valid},`],
    ['two tokens by comma', `${valid},${valid}`],
    ['two tokens by comma and space', `${valid}, Bearer ${valid}`],
    ['itself twice', valid + valid],
    ['the form of a refresh token', 'lkr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'],
    ['JSON serialization', JSON.stringify({ payload: validPayload, protected: validHeader, signature: validSignature })]
  ])
  const bytes = Buffer.from(validSignature, 'base64url')
  const withSignature = (signature: Buffer): string =>
    `${validHeader}.${validPayload}.${signature.toString('base64url')}`
  const scalar = (hex: string): Buffer => Buffer.from(hex.padStart(64, '0'), 'hex')
  const N = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
  const [r, s] = [bytes.subarray(0, 32), bytes.subarray(32)]
  const derSignature = signBytes('sha256', Buffer.from(`${validHeader}.${validPayload}`), privateKey)
  add('JW12', [
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
    ['a signature of another token', `${validHeader}.${validPayload}.${token({}, { jti: 'x' }).split('.')[2]}`],
    ['a signature of the payload alone', withSignature(es256(validPayload, privateKey))],
    ['a signature of the bytes instead of their text', withSignature(es256(JSON.stringify(claims), privateKey))],
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
    ['8 KB of payload, with a valid signature', token({}, { x: 'x'.repeat(8192) })],
    ['8 KB of header', token({ x: 'x'.repeat(8192) })],
    ['8 KB of anything', 'x'.repeat(8192)],
    ['15 KB of dots', '.'.repeat(15_000)],
    ['100 KB', `${valid}${'A'.repeat(100_000)}`]
  ])

  return forged
}
