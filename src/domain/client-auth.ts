import { createHash, timingSafeEqual } from 'node:crypto'
import { clientRefused, DomainError, OAuthError } from './errors.ts'
import { type Client, type ClientSecret, DOCS_CLIENT, type Millis, type Seconds } from './model.ts'
import type { Clock, Signer, Store } from './ports.ts'

/** RFC 6749 §A.1, without what nobody can type or a path does not keep. */
export const CLIENT_ID = /^(?!\.{1,2}$)[\x21-\x7e]{1,255}$/
/** 256 random bits need no slow hash. */
export const hashed = (text: string): string => createHash('sha256').update(text).digest('base64url')
/** How far ahead an assertion may end, and how far clocks may differ (RFC 7523 §3). */
const ASSERTION_TTL: Seconds = 300
const SKEW: Seconds = 5
/** How exactly the last use of a secret is known. */
const USE_NOTED_EVERY: Millis = 3_600_000

/** Of no secret; as long as all others. */
const NO_HASH = Buffer.alloc(43, '-')
/** By so much of its hash a secret is picked out, to be compared as a whole. */
const SELECTOR_LENGTH = 8

/** RFC 6749 §2.3.1, RFC 7523 §2.2. `none` is a public client that only names itself (RFC 7591 §2). */
export type ClientAuthMethod = 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'

export type ClientCredentials =
  | {
      method: 'none' | 'client_secret_basic' | 'client_secret_post'
      /** Every way in which the id can be read: Basic credentials come form-encoded or raw. */
      ids: string[]
      /** Null for a client that only names itself. */
      secret: string | null
    }
  | {
      method: 'private_key_jwt'
      assertion: string
      /** The `client_id` that came beside it, if one did. */
      id: string | null
    }

export interface AuthenticatedClient {
  client: Client
  method: ClientAuthMethod
  /** How far the revocation log had come when the client was read. */
  rev: number
}

/** How clients say who they are. */
export function createClientAuth(deps: {
  store: Store
  signer: Signer
  clock: Clock
  issuer: string
  /** Whether a setting leaves the client on. */
  enabled: (id: string) => boolean
}) {
  const { store, signer, clock, issuer, enabled } = deps

  /** What those of the ids are authenticated against that may come in. */
  async function lookUp(ids: string[]) {
    const known = await store.clients.credentials(ids, clock.now())
    return known.filter(({ client }) => client.disabledAt === null && enabled(client.id))
  }

  /** To the hour. Where nothing can be written the client is let in all the same. */
  async function noteUse({ id, lastUsedAt }: ClientSecret): Promise<void> {
    const now = clock.now()
    if (lastUsedAt !== null && now - lastUsedAt < USE_NOTED_EVERY) return
    try {
      await store.clients.secretUsed(id, now)
    } catch (error) {
      if (!(error instanceof DomainError && error.code === 'unavailable')) throw error
    }
  }

  /** One query and one comparison, whether the client is known or not and however many secrets it has. */
  async function bySecret(ids: string[], secret: string | null, method: ClientAuthMethod) {
    const candidates = await lookUp(ids)
    const named = candidates.find(({ client }) => client.kind === 'public')
    if (secret === null && named !== undefined) return { ...named, method }
    const hash = hashed(secret ?? '')
    const match = candidates
      .flatMap(({ secrets, ...each }) => secrets.map((kept) => ({ ...each, kept })))
      .find(({ kept }) => kept.hash.startsWith(hash.slice(0, SELECTOR_LENGTH)))
    const same = timingSafeEqual(Buffer.from(hash), match === undefined ? NO_HASH : Buffer.from(match.kept.hash))
    if (match === undefined || !same) throw clientRefused()
    await noteUse(match.kept)
    return { client: match.client, rev: match.rev, method }
  }

  /** RFC 7523 §3; stricter where RFC 7523bis is: `aud` is the issuer and nothing else. */
  async function byAssertion(assertion: string, id: string | null) {
    let candidate: { client: Client; rev: number } | undefined
    const claims = await signer.verifyAssertion(assertion, async ({ sub }) => {
      if (typeof sub !== 'string' || !CLIENT_ID.test(sub)) return []
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
    const named = iss === client.id && sub === client.id && aud === issuer
    if (!named || !inTime || typeof jti !== 'string' || jti === '' || jti.length > 255) throw clientRefused()
    if (!(await store.clients.useAssertion(client.id, hashed(jti), Math.ceil(exp * 1000)))) throw clientRefused()
    return { client, rev, method: 'private_key_jwt' as const }
  }

  return {
    /** The client that is meant by a request of /docs, which names none. @throws OAuthError invalid_client when it is switched off */
    async docs(): Promise<AuthenticatedClient> {
      const [known] = await lookUp([DOCS_CLIENT])
      if (known === undefined) throw clientRefused()
      return { client: known.client, rev: known.rev, method: 'none' }
    },

    /**
     * Who the client is, for every endpoint that asks (RFC 6749 §2.3, RFC 7523 §2.2).
     * @throws OAuthError invalid_client, the same for an unknown client and a wrong secret; invalid_request when an
     *   assertion is not that of the client that is named beside it
     */
    authenticate: (credentials: ClientCredentials): Promise<AuthenticatedClient> =>
      credentials.method === 'private_key_jwt'
        ? byAssertion(credentials.assertion, credentials.id)
        : bySecret(credentials.ids, credentials.secret, credentials.method)
  }
}
