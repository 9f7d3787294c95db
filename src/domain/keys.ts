import type { Config } from '../settings.ts'
import { DomainError, SetupError } from './errors.ts'
import type { PublicKey, SigningAlg, SigningTimes, StoredKey } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Sealer } from './ports/sealer.ts'
import type { Signer } from './ports/signer.ts'
import type { Store } from './ports/store.ts'

/** The public keys as a JWK Set. */
export interface Jwks {
  keys: Record<string, string>[]
}

const isUnavailable = (error: unknown): boolean =>
  error instanceof SetupError || (error instanceof DomainError && error.code === 'unavailable')

/** A key that signs, with its private part. */
export type SigningKey = PublicKey & { privateKey: string }

/** Returns the context with which a private key is sealed. */
export const keyContext = (kid: string) => `signing_keys/${kid}/private_key`

/** Returns whether a key signed from its publication on, because it is the first key of its algorithm. */
const isFirst = ({ createdAt, signsSinceAt }: SigningTimes): boolean => createdAt === signsSinceAt

/**
 * Generates and reads signing keys. Each algorithm in use has a chain of keys: one that signs and one that is next. Reads the state of a key at every use; caches only the members that never change. */
export function createKeys(deps: { store: Store; signer: Signer; sealer: Sealer; clock: Clock; settings: Config }) {
  const { store, signer, sealer, clock, settings } = deps
  const publicKeys = new Map<string, PublicKey>()
  /** The private keys that this process has opened, by algorithm. */
  const opened = new Map<SigningAlg, SigningKey>()

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

  function open(key: StoredKey): SigningKey {
    const known = opened.get(key.alg)
    if (known?.kid === key.kid) return known
    if (key.sealedPrivateKey === null) throw new Error('a key that signs has no private part')
    const privateKey = sealer.open(key.sealedPrivateKey, keyContext(key.kid))
    const own = { kid: key.kid, alg: key.alg, publicJwk: key.publicJwk, privateKey }
    opened.set(key.alg, own)
    return own
  }

  /** Returns whether every cached JWKS holds the key. */
  const isKnown = ({ createdAt }: SigningTimes): boolean => clock.now() >= createdAt + settings.jwksMaxAge * 1000

  /**
   * Returns the keys that can be the one that signs access tokens: that of the algorithm of the settings. While a cached JWKS may lack this
   * key, all keys that are older; if there are none, this key.
   */
  function candidates<Key extends SigningTimes>(signing: Key[]): Key[] {
    const own = signing.find(({ alg }) => alg === settings.signingAlg)
    if (own === undefined) return signing
    const older = isFirst(own) && !isKnown(own) ? signing.filter(({ createdAt }) => createdAt < own.createdAt) : []
    return older.length > 0 ? older : [own]
  }

  /** Chooses among several candidates. Clients can have begun them for their ID tokens, so a key of an algorithm of no client comes first. */
  async function choose(keys: StoredKey[]): Promise<StoredKey | undefined> {
    if (keys.length < 2) return keys[0]
    const ofClients = await store.clients.idTokenAlgs()
    return keys.find(({ alg }) => !ofClients.includes(alg)) ?? keys[0]
  }

  /**
   * Returns the key that signs access tokens: of the algorithm of the settings. After a change of that setting the previous algorithm
   * signs until every cached JWKS holds the new key.
   * @throws SetupError when there is none or it cannot be opened
   */
  async function signing(): Promise<SigningKey> {
    const key = await choose(candidates(await store.keys.signing()))
    if (key === undefined) throw new SetupError('the database has no signing key: restore a backup of the database')
    return open(key)
  }

  return {
    /** Generates a key pair. The caller must store it. */
    async generate(state: 'signing' | 'next', alg: SigningAlg): Promise<StoredKey> {
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

    signing,

    /** Returns the key that signs access tokens, among signing keys that were read before. @throws SetupError as `signing` */
    async signingAmong(among: SigningTimes[]): Promise<SigningKey> {
      const [chosen, ...others] = candidates(among)
      const known = chosen && others.length === 0 ? opened.get(chosen.alg) : undefined
      return known !== undefined && known.kid === chosen?.kid ? known : signing()
    },

    /** Returns the key that signs with an algorithm; null when no key does. @throws SetupError when it cannot be opened */
    async signingWith(alg: SigningAlg): Promise<SigningKey | null> {
      const key = (await store.keys.signing()).find((each) => each.alg === alg)
      return key === undefined ? null : open(key)
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
        if (lastRead === undefined || !isUnavailable(error)) throw error
        return lastRead
      }
    }
  }
}

export type Keys = ReturnType<typeof createKeys>
