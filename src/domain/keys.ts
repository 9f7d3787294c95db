import { SetupError } from './errors.ts'
import type { PublicKey, SigningAlg, StoredKey } from './model.ts'
import type { Clock, Sealer, Signer, Store } from './ports.ts'

type SigningKey = PublicKey & { privateKey: string }

/** What a private key is sealed for. */
export const keyContext = (kid: string) => `signing_keys/${kid}/private_key`

/** The signing keys. Which key is in which state is asked at every use; only what never changes about a key is kept. */
export function createKeys(deps: { store: Store; signer: Signer; sealer: Sealer; clock: Clock; alg: SigningAlg }) {
  const { store, signer, sealer, clock, alg } = deps
  const publicKeys = new Map<string, PublicKey>()
  let unsealed: SigningKey | undefined

  return {
    /** A new key pair, ready to be stored. */
    async generate(state: 'signing' | 'next'): Promise<StoredKey> {
      const { privateKey, ...publicKey } = await signer.generate(alg)
      const now = clock.now()
      return {
        ...publicKey,
        state,
        sealedPrivateKey: sealer.seal(privateKey, keyContext(publicKey.kid)),
        createdAt: now,
        signsSinceAt: state === 'signing' ? now : null,
        verifiesUntilAt: null,
        retiredAt: null
      }
    },

    /** The key that signs now. @throws SetupError when there is none or it cannot be unsealed */
    async signing(): Promise<SigningKey> {
      const key = await store.keys.signing()
      if (key?.sealedPrivateKey == null) throw new SetupError('there is no signing key')
      if (unsealed?.kid !== key.kid) {
        unsealed = {
          kid: key.kid,
          alg: key.alg,
          publicJwk: key.publicJwk,
          privateKey: sealer.open(key.sealedPrivateKey, keyContext(key.kid))
        }
      }
      return unsealed
    },

    /** The public half, whatever the key's state is. */
    async find(kid: string): Promise<PublicKey | null> {
      const known = publicKeys.get(kid)
      if (known !== undefined) return known
      const key = await store.keys.find(kid)
      if (key !== null) publicKeys.set(kid, { kid, alg: key.alg, publicJwk: key.publicJwk })
      return key
    },

    /** All that are published: RFC 7517 §5, public members only. */
    async jwks(): Promise<{ keys: Record<string, string>[] }> {
      const keys = await store.keys.list()
      return { keys: keys.map(({ publicJwk, kid, alg: keyAlg }) => ({ ...publicJwk, kid, alg: keyAlg, use: 'sig' })) }
    }
  }
}

export type Keys = ReturnType<typeof createKeys>
