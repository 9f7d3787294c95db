import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { SetupError } from './errors.ts'
import type { Sealer } from './ports/sealer.ts'

/** A stored value with a known text. It proves at every start that the sealing key is the correct one. */
export const CANARY = { name: 'canary', context: 'sealed_values/canary', text: 'latchkey' }

interface Key {
  bytes: Buffer
  id: string
}

const toKey = (bytes: Buffer): Key => ({
  bytes,
  id: createHash('sha256').update('latchkey sealing key id').update(bytes).digest('base64url').slice(0, 11)
})

/**
 * Creates a sealer with AES-256-GCM. A sealed value is `<key id>.<nonce>.<ciphertext and tag>`, each in base64url. Key id and context
 * are authenticated.
 * @param getKey returns 32 bytes. Called at the first use, because a first start creates the key after the sealer
 * @param getPrevious returns the previous key, which only opens values; null when there is none. Called at the first use
 */
export function createSealer(getKey: () => Buffer, getPrevious: () => Buffer | null = () => null): Sealer {
  let loaded: { current: Key; all: Key[] } | undefined
  const load = () => {
    if (loaded === undefined) {
      const [current, previous] = [toKey(getKey()), getPrevious()]
      loaded = { current, all: previous === null ? [current] : [current, toKey(previous)] }
    }
    return loaded
  }

  return {
    seal(text, context) {
      const { bytes, id } = load().current
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', bytes, nonce).setAAD(Buffer.from(`${id}\n${context}`))
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return `${id}.${nonce.toString('base64url')}.${body.toString('base64url')}`
    },

    open(sealed, context) {
      const [sealedWith, nonce, body] = sealed.split('.')
      const key = load().all.find(({ id }) => id === sealedWith)
      if (key === undefined)
        throw new SetupError(
          'the database was sealed with another sealing key: use that key, or set it as LATCHKEY_SEALING_KEY_PREVIOUS'
        )
      const bytes = Buffer.from(body ?? '', 'base64url')
      try {
        const decipher = createDecipheriv('aes-256-gcm', key.bytes, Buffer.from(nonce ?? '', 'base64url'), {
          authTagLength: 16
        })
          .setAAD(Buffer.from(`${key.id}\n${context}`))
          .setAuthTag(bytes.subarray(-16))
        return Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]).toString('utf8')
      } catch (cause) {
        throw new SetupError(`the sealed value ${context} was altered: restore a backup of the database`, { cause })
      }
    },

    isCurrent: (sealed) => sealed.startsWith(`${load().current.id}.`)
  }
}
