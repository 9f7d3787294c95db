import { randomBytes, randomUUIDv7 } from 'node:crypto'
import { CLIENT_SECRETS_MAX, SECRET_TTL_MAX } from '../limits.ts'
import type { Caller } from './caller.ts'
import { sha256 } from './client-authentication.ts'
import { DomainError, invalid, noSuch } from './errors.ts'
import type { ClientSecret, Millis, Seconds } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Store } from './ports/store.ts'

/** A new secret. The text itself is shown once and not stored. */
export interface NewSecret {
  secret: string
  stored: ClientSecret
}

/** Generates a secret of 256 random bits. @param expiresAt null for a secret that never expires */
export function generateSecret(now: Millis, expiresAt: Millis | null): NewSecret {
  const secret = `lks_${randomBytes(32).toString('base64url')}`
  return { secret, stored: { id: randomUUIDv7(), hash: sha256(secret), createdAt: now, expiresAt, lastUsedAt: null } }
}

/** Manages the secrets of confidential clients. */
export function createClientSecrets({ store, clock }: { store: Store; clock: Clock }) {
  return {
    /** Returns the secrets that have not expired, oldest first. @throws DomainError not_found */
    async secrets(id: string): Promise<ClientSecret[]> {
      if ((await store.clients.get(id)) === null) throw noSuch('client', id)
      return store.clients.secrets(id, clock.now())
    },

    /**
     * Adds a secret beside the existing ones.
     * @param lifetimes `expiresIn` is the lifetime of the new secret. `othersExpireIn` limits the remaining lifetime of the other secrets,
     *   so that old and new secrets are valid until the client uses the new one
     * @throws DomainError not_found, invalid, forbidden when the caller lacks a scope of the client, conflict when the client
     *   has too many secrets or is public
     */
    async addSecret(
      caller: Caller,
      id: string,
      { expiresIn, othersExpireIn }: { expiresIn?: Seconds | undefined; othersExpireIn?: Seconds | undefined }
    ): Promise<NewSecret> {
      const client = await store.clients.get(id)
      if (client === null) throw noSuch('client', id)
      if (client.kind === 'public') throw new DomainError('conflict', 'A public client cannot keep a secret')
      const isWithin = (ttl: Seconds, least: Seconds) => Number.isInteger(ttl) && ttl >= least && ttl <= SECRET_TTL_MAX
      if (!isWithin(expiresIn ?? 1, 1) || !isWithin(othersExpireIn ?? 0, 0))
        throw invalid(
          `A new secret expires after 1 to ${SECRET_TTL_MAX} seconds, the other secrets after 0 to ${SECRET_TTL_MAX}`
        )
      const now = clock.now()
      const after = (ttl: Seconds | undefined) => (ttl === undefined ? null : now + ttl * 1000)
      const added = generateSecret(now, after(expiresIn))
      const addition = { id, secret: added.stored, othersEndAt: after(othersExpireIn), maxSecrets: CLIENT_SECRETS_MAX }
      if (!(await store.clients.addSecret(caller, addition))) throw noSuch('client', id)
      return added
    },

    /**
     * Deletes a secret. The next request with the secret is refused; tokens that were issued for it stay valid.
     * @throws DomainError not_found
     */
    async deleteSecret(caller: Caller, { id, secretId }: { id: string; secretId: string }): Promise<void> {
      if (!(await store.clients.deleteSecret(caller, { id, secretId })))
        throw new DomainError('not_found', 'The client has no such secret', {
          missing: { kind: 'secret', name: secretId }
        })
    }
  }
}
