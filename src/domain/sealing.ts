import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { SetupError } from './errors.ts'
import type { Sealer } from './ports.ts'

/**
 * AES-256-GCM. A sealed value is `<key id>.<nonce>.<ciphertext and tag>`, base64url; key id and context are authenticated.
 * @param getKey 32 bytes; asked at the first use, because a first start makes the key after the program is put together
 */
export function createSealer(getKey: () => Buffer): Sealer {
  let loaded: { key: Buffer; id: string } | undefined
  const load = () => {
    const key = loaded?.key ?? getKey()
    loaded ??= {
      key,
      id: createHash('sha256').update('latchkey sealing key id').update(key).digest('base64url').slice(0, 11)
    }
    return loaded
  }

  return {
    seal(text, context) {
      const { key, id } = load()
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(`${id}\n${context}`))
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return `${id}.${nonce.toString('base64url')}.${body.toString('base64url')}`
    },

    open(sealed, context) {
      const { key, id } = load()
      const [sealedWith, nonce, body] = sealed.split('.')
      if (sealedWith !== id) throw new SetupError('the sealing key is not the one that this database was sealed with')
      const bytes = Buffer.from(body ?? '', 'base64url')
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce ?? '', 'base64url'), {
          authTagLength: 16
        })
          .setAAD(Buffer.from(`${id}\n${context}`))
          .setAuthTag(bytes.subarray(-16))
        return Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]).toString('utf8')
      } catch (cause) {
        throw new SetupError(`the sealed value ${context} was altered`, { cause })
      }
    }
  }
}
