import type { Config } from '../settings.ts'
import { DomainError, SetupError } from './errors.ts'
import type { PublicKey, StoredKey } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Sealer } from './ports/sealer.ts'
import type { Signer } from './ports/signer.ts'
import type { Store } from './ports/store.ts'

/** The public keys as a JWK Set. */
export interface Jwks {
  keys: Record<string, string>[]
}

const isAway = (error: unknown): boolean =>
  error instanceof SetupError || (error instanceof DomainError && error.code === 'unavailable')

type SigningKey = PublicKey & { privateKey: string }

/** Returns the context with which a private key is sealed. */
export const keyContext = (kid: string) => `signing_keys/${kid}/private_key`

/** Generates and reads signing keys. Reads the state of a key at every use; caches only the members that never change. */
export function createKeys(deps: { store: Store; signer: Signer; sealer: Sealer; clock: Clock; settings: Config }) {
  const { store, signer, sealer, clock, settings } = deps
  const publicKeys = new Map<string, PublicKey>()
  let opened: SigningKey | undefined

  let lastRead: Jwks | undefined
  let reading: Promise<Jwks> | undefined

  async function readJwks(): Promise<Jwks> {
    const keys = await store.keys.list()
    lastRead = { keys: keys.map(({ publicJwk, kid, alg }) => ({ ...publicJwk, kid, alg, use: 'sig' })) }
    return lastRead
  }

  async function load(kid: string): Promise<PublicKey | null> {
    const stored = await store.keys.find(kid)
    if (stored === null) return null
    const key = { kid, alg: stored.alg, publicJwk: stored.publicJwk }
    publicKeys.set(kid, key)
    return key
  }

  return {
    /** Generates a key pair. The caller must store it. */
    async generate(state: 'signing' | 'next'): Promise<StoredKey> {
      const { privateKey, ...publicKey } = await signer.generate(settings.signingAlg)
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

    /** Returns the signing key. @throws SetupError when there is none or it cannot be opened */
    async signing(): Promise<SigningKey> {
      const key = await store.keys.signing()
      if (key?.sealedPrivateKey == null)
        throw new SetupError('the database has no signing key: restore a backup of the database')
      if (opened?.kid !== key.kid) {
        opened = {
          kid: key.kid,
          alg: key.alg,
          publicJwk: key.publicJwk,
          privateKey: sealer.open(key.sealedPrivateKey, keyContext(key.kid))
        }
      }
      return opened
    },

    /** Returns the public part of a key in any state; null when there is no such key. Returns no promise for a cached key. */
    find(kid: string): PublicKey | null | Promise<PublicKey | null> {
      return publicKeys.get(kid) ?? load(kid)
    },

    /**
     * Returns the published keys as a JWK Set (RFC 7517 §5) with public members only. Concurrent calls share one query. While the
     * database is not available, returns the keys that this process read last, even if another process has retired one of them since.
     * Such a key can only verify tokens: without the database no instance can sign a new one.
     */
    async jwks(): Promise<Jwks> {
      reading ??= readJwks().finally(() => {
        reading = undefined
      })
      try {
        return await reading
      } catch (error) {
        if (lastRead === undefined || !isAway(error)) throw error
        return lastRead
      }
    }
  }
}

export type Keys = ReturnType<typeof createKeys>
