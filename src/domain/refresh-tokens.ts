import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { SetupError } from './errors.ts'
import type { RefreshKey, StoredSession } from './model.ts'
import type { Clock, Sealer, Store } from './ports.ts'

/** 8 bytes of key id, 16 of session id, 4 of counter, 32 of MAC. */
const FORM = /^lkr_([\w-]{80})$/
const KEY_ID = 8
const SESSION_ID = 16
const COUNTER = 4

/** What a refresh key is sealed for. */
export const refreshKeyContext = (id: string) => `refresh_keys/${id}/sealed_key`

const toUuid = (bytes: Buffer): string =>
  bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

/** A genuine refresh token. */
export interface PresentedToken {
  /** As it was when the token was read. */
  session: StoredSession
  counter: number
  /** What it was made with. */
  key: RefreshKey
}

/**
 * Refresh tokens, which callers take for opaque: they say which session they renew and how often it was renewed before, under
 * a MAC. Neither they nor hashes of them are stored.
 */
export function createRefreshTokens({ store, sealer, clock }: { store: Store; sealer: Sealer; clock: Clock }) {
  const unsealed = new Map<string, Buffer>()

  function open({ id, sealedKey }: RefreshKey): Buffer {
    const key = unsealed.get(id) ?? Buffer.from(sealer.open(sealedKey, refreshKeyContext(id)), 'base64url')
    unsealed.set(id, key)
    return key
  }

  const mac = (key: Buffer, content: Buffer, salt: string): Buffer =>
    createHmac('sha256', key).update(content).update(Buffer.from(salt, 'base64url')).digest()

  /** The one that new sessions are given tokens of. @throws SetupError when there is none */
  async function current(): Promise<RefreshKey> {
    const key = await store.refreshKeys.current()
    if (key === null) throw new SetupError('there is no refresh key: run "latchkey migrate"')
    return key
  }

  /** A new key, ready to be stored. */
  function generateKey(): RefreshKey {
    const id = randomBytes(KEY_ID).toString('base64url')
    const sealedKey = sealer.seal(randomBytes(32).toString('base64url'), refreshKeyContext(id))
    return { id, sealedKey, createdAt: clock.now() }
  }

  return {
    generateKey,
    current,

    /** Makes the key if there is none. May be called by many at once. */
    async ensureKey(): Promise<void> {
      if ((await store.refreshKeys.current()) === null) await store.refreshKeys.create(generateKey())
    },

    /** @throws SetupError when there is no key, or it cannot be unsealed */
    async assertKey(): Promise<void> {
      open(await current())
    },

    /**
     * The token that renews a session.
     * @param counter how often it was renewed before
     * @param key that of the session's token before, so that a repetition gets the same successor
     */
    make({ id, salt }: { id: string; salt: string }, counter: number, key: RefreshKey): string {
      const content = Buffer.alloc(KEY_ID + SESSION_ID + COUNTER)
      content.write(key.id, 0, 'base64url')
      content.write(id.replaceAll('-', ''), KEY_ID, 'hex')
      content.writeUInt32BE(counter, KEY_ID + SESSION_ID)
      return `lkr_${Buffer.concat([content, mac(open(key), content.subarray(KEY_ID), salt)]).toString('base64url')}`
    },

    /** The session of a genuine token, whatever its state is, with the token's counter and key; null for every other text. */
    async read(token: string): Promise<PresentedToken | null> {
      const [, text = ''] = FORM.exec(token) ?? []
      const bytes = Buffer.from(text, 'base64url')
      if (bytes.length === 0) return null
      const sessionId = toUuid(bytes.subarray(KEY_ID, KEY_ID + SESSION_ID))
      const [session, key] = await Promise.all([
        store.sessions.get(sessionId),
        store.refreshKeys.find(bytes.subarray(0, KEY_ID).toString('base64url'))
      ])
      if (session === null || session.salt === null || key === null) return null
      const content = bytes.subarray(KEY_ID, KEY_ID + SESSION_ID + COUNTER)
      const given = bytes.subarray(KEY_ID + SESSION_ID + COUNTER)
      if (!timingSafeEqual(given, mac(open(key), content, session.salt))) return null
      return { session, counter: content.readUInt32BE(SESSION_ID), key }
    }
  }
}
