import { randomFillSync } from 'node:crypto'

const ID_BYTES = 16
const IDS = 256

/** Creates a function that returns a new token id (`jti`) of 128 random bits. It draws the bits of many ids at once, which is faster. */
export function createTokenIds(): () => string {
  const bits = Buffer.alloc(IDS * ID_BYTES)
  let used = bits.length
  return () => {
    if (used === bits.length) {
      randomFillSync(bits)
      used = 0
    }
    used += ID_BYTES
    return bits.toString('base64url', used - ID_BYTES, used)
  }
}
