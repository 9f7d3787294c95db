import { createHmac, createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto'
import { SetupError } from './errors.ts'
import type { RefreshKey, StoredSession, User } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Sealer } from './ports/sealer.ts'
import type { Store } from './ports/store.ts'

/** 8 bytes of key id, 16 of session id, 4 of counter, 32 of MAC. */
const FORM = /^lkr_([\w-]{80})$/
const KEY_ID = 8
const SESSION_ID = 16
const COUNTER = 4

/** Returns the context with which a refresh key is sealed. */
export const refreshKeyContext = (id: string) => `refresh_keys/${id}/sealed_key`

const toUuid = (bytes: Buffer): string =>
  bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

/** A refresh token with a valid MAC. Its session may have ended, and the token may have been used before. */
export interface PresentedToken {
  /** The session at the time when the token was read. */
  session: StoredSession
  /** The number of renewals before the token. */
  counter: number
  /** The key that authenticates the token. */
  key: RefreshKey
  /** The user at that time, in any state, with the scopes of the roles. */
  user: User & { scopes: string[] }
  /** The number of the last entry of the revocation log at that time. */
  rev: number
}

/** Returns whether a token was used before: its session has issued a later token. */
export const wasUsed = ({ session, counter }: PresentedToken): boolean => counter < session.counter

/**
 * Issues and reads refresh tokens. A token consists of the id of its key, the session id, the number of renewals of the session, and a
 * MAC over the last two and the salt of the session. It is opaque to clients. Neither the token nor a hash of the token is stored.
 */
export function createRefreshTokens({ store, sealer, clock }: { store: Store; sealer: Sealer; clock: Clock }) {
  const opened = new Map<string, KeyObject>()

  function open({ id, sealedKey }: RefreshKey): KeyObject {
    const key = opened.get(id) ?? createSecretKey(sealer.open(sealedKey, refreshKeyContext(id)), 'base64url')
    opened.set(id, key)
    return key
  }

  const mac = (key: KeyObject, content: Buffer, salt: string): Buffer =>
    createHmac('sha256', key).update(content).update(Buffer.from(salt, 'base64url')).digest()

  /** Returns the key for the tokens of new sessions. @throws SetupError when there is none */
  async function current(): Promise<RefreshKey> {
    const key = await store.refreshKeys.current()
    if (key === null) throw new SetupError('the database has no refresh key: restore a backup of the database')
    return key
  }

  return {
    current,

    /** Generates a key. The caller must store it. */
    generateKey(): RefreshKey {
      const id = randomBytes(KEY_ID).toString('base64url')
      const sealedKey = sealer.seal(randomBytes(32).toString('base64url'), refreshKeyContext(id))
      return { id, sealedKey, createdAt: clock.now() }
    },

    /** Checks that the current key exists and can be opened. @throws SetupError */
    async assertKey(): Promise<void> {
      open(await current())
    },

    /**
     * Creates the token that renews a session.
     * @param counter the number of renewals of the session before this token
     * @param key for a successor the key of the previous token, so that a repeated renewal creates the same successor
     */
    create({ id, salt }: { id: string; salt: string }, counter: number, key: RefreshKey): string {
      const content = Buffer.alloc(KEY_ID + SESSION_ID + COUNTER)
      content.write(key.id, 0, 'base64url')
      content.write(id.replaceAll('-', ''), KEY_ID, 'hex')
      content.writeUInt32BE(counter, KEY_ID + SESSION_ID)
      return `lkr_${Buffer.concat([content, mac(open(key), content.subarray(KEY_ID), salt)]).toString('base64url')}`
    },

    /** Reads a token and its session, which may be in any state. Returns null for every text that is not a token with a valid MAC. */
    async read(token: string): Promise<PresentedToken | null> {
      const [, text = ''] = FORM.exec(token) ?? []
      const bytes = Buffer.from(text, 'base64url')
      if (bytes.length === 0) return null
      const sessionId = toUuid(bytes.subarray(KEY_ID, KEY_ID + SESSION_ID))
      const presented = await store.sessions.presented(sessionId, bytes.subarray(0, KEY_ID).toString('base64url'))
      if (presented === null) return null
      const { session, key } = presented
      const content = bytes.subarray(KEY_ID, KEY_ID + SESSION_ID + COUNTER)
      const given = bytes.subarray(KEY_ID + SESSION_ID + COUNTER)
      if (!timingSafeEqual(given, mac(open(key), content, session.salt))) return null
      return { ...presented, counter: content.readUInt32BE(SESSION_ID) }
    }
  }
}

export type RefreshTokens = ReturnType<typeof createRefreshTokens>
