import { createHash, timingSafeEqual } from 'node:crypto'
import { CLIENT_ID_PATTERN } from '../limits.ts'
import type { Config } from '../settings.ts'
import { isSwitchedOff } from './built-in.ts'
import type { Caller } from './caller.ts'
import { clientRefused, DomainError, OAuthError } from './errors.ts'
import type { Events } from './events.ts'
import { type Client, type ClientSecret, DOCS_CLIENT, type Millis, type Seconds } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Signer } from './ports/signer.ts'
import type { Store } from './ports/store.ts'

const CLIENT_ID = new RegExp(CLIENT_ID_PATTERN, 'u')
/** Returns whether a text may be a client id. Refuses `.` and `..`, which a URL does not keep as a segment of its path. */
export const isClientId = (text: string): boolean => CLIENT_ID.test(text) && text !== '.' && text !== '..'
/** Hashes a secret of 256 random bits, which needs no slow hash. Base64url of SHA-256. */
export const hashed = (text: string): string => createHash('sha256').update(text).digest('base64url')
/** The longest time to the `exp` of an assertion, and the difference of clocks that is accepted (RFC 7523 §3). */
const ASSERTION_TTL: Seconds = 300
const SKEW: Seconds = 5
/** The precision of `lastUsedAt` of a secret. */
const USE_RECORDED_EVERY: Millis = 3_600_000

/** Stands for a hash where no secret matches, so that there is always one comparison. */
const NO_HASH = Buffer.alloc(43, '-')
/** Length of the beginning of a hash that selects the one secret to compare completely. */
const SELECTOR_LENGTH = 8

/** RFC 6749 §2.3.1, RFC 7523 §2.2. `none` is a public client that only names itself (RFC 7591 §2). */
export type ClientAuthMethod = 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'

export type ClientCredentials =
  | {
      method: 'none' | 'client_secret_basic' | 'client_secret_post'
      /** Every way to read the id: Basic credentials are form-encoded or raw. */
      ids: string[]
      /** Null for a client that only names itself. */
      secret: string | null
    }
  | {
      method: 'private_key_jwt'
      assertion: string
      /** The `client_id` beside the assertion; null when there is none. */
      id: string | null
    }

export interface AuthenticatedClient {
  client: Client
  method: ClientAuthMethod
  /** The number of the revocation log when the client was read. */
  rev: number
}

/** Client authentication for every endpoint that needs it. */
export function createClientAuthentication(deps: {
  store: Store
  signer: Signer
  events: Events
  clock: Clock
  settings: Config
}) {
  const { store, signer, events, clock, settings } = deps

  /** Reads the credentials of the enabled clients among the ids. */
  async function lookUp(ids: string[]) {
    const known = await store.clients.credentials(ids, clock.now())
    return known.filter(({ client }) => client.disabledAt === null && !isSwitchedOff(client.id, settings))
  }

  /** Records the use of a secret, to the hour. A client is admitted also when nothing can be written. */
  async function recordUse({ id, lastUsedAt }: ClientSecret): Promise<void> {
    const now = clock.now()
    if (lastUsedAt !== null && now - lastUsedAt < USE_RECORDED_EVERY) return
    try {
      await store.clients.secretUsed(id, now)
    } catch (error) {
      if (!(error instanceof DomainError && error.code === 'unavailable')) throw error
    }
  }

  /** Makes one query and one comparison, whether the client exists or not and however many secrets it has. */
  async function bySecret({
    ids,
    secret,
    method
  }: Exclude<ClientCredentials, { method: 'private_key_jwt' }>): Promise<AuthenticatedClient> {
    const candidates = await lookUp(ids)
    const named = candidates.find(({ client }) => client.kind === 'public')
    if (secret === null && named !== undefined) return { client: named.client, rev: named.rev, method }
    const hash = hashed(secret ?? '')
    const match = candidates
      .flatMap(({ secrets, ...each }) => secrets.map((stored) => ({ ...each, stored })))
      .find(({ stored }) => stored.hash.startsWith(hash.slice(0, SELECTOR_LENGTH)))
    const same = timingSafeEqual(Buffer.from(hash), match === undefined ? NO_HASH : Buffer.from(match.stored.hash))
    if (match === undefined || !same) throw clientRefused()
    await recordUse(match.stored)
    return { client: match.client, rev: match.rev, method }
  }

  /** RFC 7523 §3, with the stricter rule of RFC 7523bis: `aud` is the issuer and nothing else. */
  async function byAssertion({
    assertion,
    id
  }: Extract<ClientCredentials, { method: 'private_key_jwt' }>): Promise<AuthenticatedClient> {
    let candidate: { client: Client; rev: number } | undefined
    const claims = await signer.verifyAssertion(assertion, async ({ sub }) => {
      if (typeof sub !== 'string' || !isClientId(sub)) return []
      candidate = (await lookUp([sub]))[0]
      return candidate?.client.jwks ?? []
    })
    if (claims === null || candidate === undefined) throw clientRefused()
    const { client, rev } = candidate
    if (id !== null && id !== client.id)
      throw new OAuthError('invalid_request', 'The client_id is not the one of the client_assertion')

    const { iss, sub, aud, exp, iat = 0, nbf = 0, jti } = claims
    const now = clock.now() / 1000
    const inTime =
      typeof exp === 'number' &&
      Number.isFinite(exp) &&
      now < exp &&
      exp <= now + ASSERTION_TTL + SKEW &&
      [iat, nbf].every((at) => typeof at === 'number' && at <= now + SKEW)
    const isNamed = iss === client.id && sub === client.id && aud === settings.issuer
    if (!isNamed || !inTime || typeof jti !== 'string' || jti === '' || jti.length > 255) throw clientRefused()
    if (!(await store.clients.useAssertion(client.id, hashed(jti), Math.ceil(exp * 1000)))) throw clientRefused()
    return { client, rev, method: 'private_key_jwt' }
  }

  return {
    /** Returns the client of /docs, for a request that names none. @throws OAuthError invalid_client when it is switched off */
    async docs(): Promise<AuthenticatedClient> {
      const [known] = await lookUp([DOCS_CLIENT])
      if (known === undefined) throw clientRefused()
      return { client: known.client, rev: known.rev, method: 'none' }
    },

    /**
     * Authenticates a client (RFC 6749 §2.3, RFC 7523 §2.2). Records a failure.
     * @throws OAuthError invalid_client, the same for an unknown client and a wrong secret; invalid_request when the assertion is
     *   not that of the client named beside it
     */
    async authenticate(caller: Caller, credentials: ClientCredentials): Promise<AuthenticatedClient> {
      try {
        return await (credentials.method === 'private_key_jwt' ? byAssertion(credentials) : bySecret(credentials))
      } catch (error) {
        if (error instanceof OAuthError) {
          const type = 'client.authentication_failed'
          events.record({ type, caller, subject: {}, outcome: 'failure', reason: credentials.method })
        }
        throw error
      }
    }
  }
}

export type ClientAuthentication = ReturnType<typeof createClientAuthentication>
