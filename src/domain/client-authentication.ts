import { hash, timingSafeEqual } from 'node:crypto'
import { defined } from '../defined.ts'
import { CLIENT_ID_PATTERN } from '../limits.ts'
import type { Config } from '../settings.ts'
import { completed, isSwitchedOff } from './built-in.ts'
import type { Caller } from './caller.ts'
import { clientRefused, DomainError, OAuthError } from './errors.ts'
import type { Events } from './events.ts'
import {
  type Client,
  type ClientSecret,
  DOCS_CLIENT,
  type Millis,
  type ScopeTarget,
  type Seconds,
  type SigningTimes
} from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Signer } from './ports/signer.ts'
import type { Store } from './ports/store.ts'

const CLIENT_ID = new RegExp(CLIENT_ID_PATTERN, 'u')
/** Returns whether a text may be a client id. Refuses `.` and `..`, which URL parsers remove from a path. */
export const isClientId = (text: string): boolean => CLIENT_ID.test(text) && text !== '.' && text !== '..'
/** Returns the SHA-256 hash of a text in base64url. Sufficient for secrets of 256 random bits, which need no slow hash. */
export const sha256 = (text: string): string => hash('sha256', text, 'base64url')
/** The longest time to the `exp` of an assertion (RFC 7523 §3). */
const ASSERTION_TTL: Seconds = 300
/** The time by which the clock of a client may be ahead. */
const SKEW: Seconds = 5
/** The precision of `lastUsedAt` of a secret. */
const USE_RECORDED_EVERY: Millis = 3_600_000

/** Compared in place of a hash when no secret matches, so that there is always one comparison. */
const NO_HASH = Buffer.alloc(43, '-')
/** Number of characters of a hash that select the secret to compare. */
const SELECTOR_LENGTH = 8

/** RFC 6749 §2.3.1, RFC 7523 §2.2. `none` is a public client that only names itself (RFC 7591 §2). */
export type ClientAuthMethod = 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'

export type ClientCredentials =
  | {
      method: 'none' | 'client_secret_basic' | 'client_secret_post'
      /** The possible ids: Basic credentials may be form-encoded or raw. */
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
  /** The registered scopes of the client. */
  registered: ScopeTarget[]
  /** The signing keys when the client was read. */
  signing: SigningTimes[]
  /** The number of the last entry of the revocation log when the client was read. */
  rev: number
}

const authenticated = (
  { client, registered, signing, rev }: Omit<AuthenticatedClient, 'method'>,
  method: ClientAuthMethod
): AuthenticatedClient => ({ client, registered, signing, rev, method })

/** Records a failed attempt and returns its refusal. @param client the client that the request names, if it exists */
type Refuse = (client: Client | undefined, refusal?: OAuthError) => OAuthError

/** Authenticates clients, for every endpoint. */
export function createClientAuthentication(deps: {
  store: Store
  signer: Signer
  events: Events
  clock: Clock
  settings: Config
}) {
  const { store, signer, events, clock, settings } = deps

  async function lookUp(ids: string[]) {
    const found = await store.clients.credentials(ids, clock.now())
    return found.map((each) => ({ ...each, client: completed(each.client, settings) }))
  }
  const isEnabled = ({ client }: { client: Client }) =>
    client.disabledAt === null && !isSwitchedOff(client.id, settings)

  /** Records the use of a secret, precise to the hour. Ignores an unavailable database, so that the client is still accepted. */
  async function recordUse({ id, lastUsedAt }: ClientSecret): Promise<void> {
    const now = clock.now()
    if (lastUsedAt !== null && now - lastUsedAt < USE_RECORDED_EVERY) return
    try {
      await store.clients.recordSecretUse(id, now)
    } catch (error) {
      if (!(error instanceof DomainError && error.code === 'unavailable')) throw error
    }
  }

  /**
   * Authenticates a client by its secret, or a public client by its id. Every refusal takes one query and one comparison, so the time
   * does not show whether the client exists or how many secrets it has.
   */
  async function bySecret(
    { ids, secret, method }: Exclude<ClientCredentials, { method: 'private_key_jwt' }>,
    refuse: Refuse
  ): Promise<AuthenticatedClient> {
    const known = await lookUp(ids)
    const candidates = known.filter(isEnabled)
    const publicClient = candidates.find(({ client }) => client.kind === 'public')
    if (secret === null && publicClient !== undefined) return authenticated(publicClient, method)
    const hashed = sha256(secret ?? '')
    const match = candidates
      .flatMap(({ secrets, ...each }) => secrets.map((stored) => ({ ...each, stored })))
      .find(({ stored }) => stored.hash.startsWith(hashed.slice(0, SELECTOR_LENGTH)))
    const isEqual = timingSafeEqual(Buffer.from(hashed), match === undefined ? NO_HASH : Buffer.from(match.stored.hash))
    if (match === undefined || !isEqual) throw refuse(known[0]?.client)
    await recordUse(match.stored)
    return authenticated(match, method)
  }

  /** Verifies an assertion (RFC 7523 §3), with the stricter rule of RFC 7523bis: `aud` must be the issuer. */
  async function byAssertion(
    { assertion, id }: Extract<ClientCredentials, { method: 'private_key_jwt' }>,
    refuse: Refuse
  ): Promise<AuthenticatedClient> {
    let candidate: Awaited<ReturnType<typeof lookUp>>[number] | undefined
    const claims = await signer.verifyAssertion(assertion, async ({ sub }) => {
      if (typeof sub !== 'string' || !isClientId(sub)) return []
      candidate = (await lookUp([sub]))[0]
      return candidate !== undefined && isEnabled(candidate) ? (candidate.client.jwks ?? []) : []
    })
    if (claims === null || candidate === undefined) throw refuse(candidate?.client)
    const { client } = candidate
    if (id !== null && id !== client.id)
      throw refuse(client, new OAuthError('invalid_request', 'The client_id differs from the client_assertion'))

    const { iss, sub, aud, exp, iat = 0, nbf = 0, jti } = claims
    const now = clock.now() / 1000
    const isInTime =
      typeof exp === 'number' &&
      Number.isFinite(exp) &&
      now < exp &&
      exp <= now + ASSERTION_TTL + SKEW &&
      [iat, nbf].every((at) => typeof at === 'number' && at <= now + SKEW)
    const hasExpectedParties = iss === client.id && sub === client.id && aud === settings.issuer
    if (!hasExpectedParties || !isInTime || typeof jti !== 'string' || jti === '' || jti.length > 255)
      throw refuse(client)
    if (!(await store.clients.useAssertion(client.id, sha256(jti), Math.ceil(exp * 1000)))) throw refuse(client)
    return authenticated(candidate, 'private_key_jwt')
  }

  return {
    /** Returns the client of /docs, for a request without a client. @throws OAuthError invalid_client when it is switched off */
    async docsClient(): Promise<AuthenticatedClient> {
      const [known] = await lookUp([DOCS_CLIENT])
      if (known === undefined || !isEnabled(known)) throw clientRefused()
      return authenticated(known, 'none')
    },

    /**
     * Authenticates a client (RFC 6749 §2.3, RFC 7523 §2.2). Records a failure.
     * @throws OAuthError invalid_client, the same for an unknown client and a wrong secret; invalid_request when the assertion
     *   belongs to another client than `client_id`
     */
    async authenticate(caller: Caller, credentials: ClientCredentials): Promise<AuthenticatedClient> {
      const refuse: Refuse = (client, refusal = clientRefused()) => {
        events.record({
          type: 'client.authentication_failed',
          caller,
          subject: defined({ client: client?.id }),
          outcome: 'failure',
          reason: credentials.method
        })
        return refusal
      }
      return credentials.method === 'private_key_jwt' ? byAssertion(credentials, refuse) : bySecret(credentials, refuse)
    }
  }
}

export type ClientAuthentication = ReturnType<typeof createClientAuthentication>
