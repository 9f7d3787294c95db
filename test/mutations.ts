import fc from 'fast-check'

export type Mutation = (token: string) => string

const splice = (text: string, at: number, remove: number, insert: string): string => {
  const index = at % (text.length + 1)
  return text.slice(0, index) + insert + text.slice(index + remove)
}
const segments = (token: string, change: (parts: string[]) => string[]): string => change(token.split('.')).join('.')
const inSegment = (which: number, change: (bytes: Buffer) => Buffer): Mutation => {
  return (token) =>
    segments(token, (parts) =>
      parts.map((part, index) =>
        index === which % parts.length ? change(Buffer.from(part, 'base64url')).toString('base64url') : part
      )
    )
}

/** Any code point but a surrogate. The unit `binary` of fast-check means the same, and costs 2 s in each process. */
export const codePoint = fc.nat(0x10ffff - 0x800).map((n) => String.fromCodePoint(n < 0xd800 ? n : n + 0x800))

const nat = fc.nat(10_000)
const byte = fc.nat(255)
const character = fc.oneof(fc.constantFrom(...'ABCxyz019-_.+/= \n\t~%"{}'), codePoint)

/** Changes of a compact JWS. Some leave it as it is. */
export const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  // Changes of characters.
  fc.tuple(nat, character).map(
    ([at, insert]): Mutation =>
      (token) =>
        splice(token, at, 1, insert)
  ),
  fc.tuple(nat, fc.array(character, { maxLength: 5 })).map(([at, all]): Mutation => {
    return (token) => splice(token, at, 0, all.join(''))
  }),
  fc.tuple(nat, fc.integer({ min: 1, max: 50 })).map(
    ([at, count]): Mutation =>
      (token) =>
        splice(token, at, count, '')
  ),
  nat.map((at): Mutation => {
    return (token) => splice(token, at, 1, token.charAt(at % (token.length + 1)) === 'A' ? 'B' : 'A')
  }),
  nat.map(
    (at): Mutation =>
      (token) =>
        token.slice(0, at % token.length)
  ),
  fc.constant<Mutation>((token) => token.toLowerCase()),
  fc.constant<Mutation>((token) => token + token),
  // Changes of segments.
  fc.shuffledSubarray([0, 1, 2], { minLength: 1 }).map(
    (order): Mutation =>
      (token) =>
        segments(token, (parts) => order.map((index) => parts[index] ?? ''))
  ),
  nat.map((which): Mutation => {
    return (token) => segments(token, (parts) => parts.flatMap((part, i) => (i === which % 3 ? [part, part] : [part])))
  }),
  nat.map((which): Mutation => {
    return (token) => segments(token, (parts) => parts.map((part, i) => (i === which % 3 ? '' : part)))
  }),
  // Changes of bytes in a segment, which is encoded again.
  fc.tuple(nat, nat, fc.integer({ min: 1, max: 255 })).map(([which, at, bits]) =>
    inSegment(which, (bytes) => {
      const index = at % Math.max(1, bytes.length)
      const copy = Buffer.from(bytes)
      copy[index] = (copy[index] ?? 0) ^ bits
      return copy
    })
  ),
  fc.tuple(nat, nat, byte).map(([which, at, value]) =>
    inSegment(which, (bytes) => {
      const index = at % (bytes.length + 1)
      return Buffer.concat([bytes.subarray(0, index), Buffer.from([value]), bytes.subarray(index)])
    })
  ),
  fc.tuple(nat, nat).map(([which, at]) =>
    inSegment(which, (bytes) => {
      const index = at % Math.max(1, bytes.length)
      return Buffer.concat([bytes.subarray(0, index), bytes.subarray(index + 1)])
    })
  ),
  fc.tuple(nat, fc.uint8Array({ maxLength: 100 })).map(([which, all]) => inSegment(which, () => Buffer.from(all))),
  // Changes of the JSON.
  fc.tuple(fc.nat(1), fc.json()).map(([which, json]) => inSegment(which, () => Buffer.from(json))),
  fc.tuple(fc.nat(1), fc.string(), fc.jsonValue()).map(([which, name, value]) =>
    inSegment(which, (bytes) => {
      try {
        return Buffer.from(JSON.stringify({ ...JSON.parse(bytes.toString('utf8')), [name]: value }))
      } catch {
        return bytes
      }
    })
  )
)
