import t from 'tap'
import { createClient } from '../../src/client/token-client.ts'
import { BUILT_IN_SCOPES, CLIENT_SCOPES } from '../../src/domain/built-in.ts'
import { createIntrospection } from '../../src/guard/introspection.ts'
import { createKeys } from '../../src/guard/keys.ts'
import { createMetadata } from '../../src/guard/metadata.ts'
import { createRevocations } from '../../src/guard/revocations.ts'
import { KINDS } from '../../src/guard/revoked.ts'
import {
  ID_TOKEN_BYTES_MAX,
  IDENTIFIER_MAX,
  ISSUER_MAX,
  LOG_AUDIENCES_MAX,
  NAME_MAX,
  REVOCATIONS_MAX,
  ROLES_MAX,
  SCOPE_PARAMETER_MAX,
  SIGNING_KEYS_MAX,
  TEXT_BYTES_MAX,
  TOKEN_BYTES_MAX,
  USERNAME_CODE_POINTS_MAX
} from '../../src/limits.ts'
import { toClaims } from '../../src/token/claims.ts'
import { toWire as metadataToWire } from '../../src/wire/discovery.ts'
import { toWire as logToWire } from '../../src/wire/revocations.ts'
import { introspectionToWire, toWire as tokenToWire } from '../../src/wire/tokens.ts'
import { jsonText } from '../fake-issuer.ts'
import { createFakeTimer } from '../fake-timer.ts'
import { encode, generateKeyPair } from '../jws.ts'

/** Node.js refuses a request whose headers, or first line, are longer. */
const HEADERS_BYTES_MAX = 16_384
/** Bytes of the headers of a request beside the token, and of a line beside the query. */
const OTHER_HEADERS = 2048

/** The longest values. A quotation mark takes two bytes in JSON, and three in a query. */
const ISSUER = `https://${'i'.repeat(ISSUER_MAX - 'https://'.length)}`
const AUDIENCE = `urn:${'"'.repeat(IDENTIFIER_MAX - 'urn:'.length)}`
const CLIENT_ID = '"'.repeat(IDENTIFIER_MAX)
const UUID = '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10'
const JTI = 'x'.repeat(22)
const KID = 'k'.repeat(43)
const SCOPES = ['s'.repeat(SCOPE_PARAMETER_MAX)]
const ROLES = Array.from({ length: ROLES_MAX }, (_, index) => `r${index}`.padEnd(NAME_MAX, 'r'))
const TIME = 9_999_999_999

const content = (subject: { sub: string; roles: string[]; sid: string | null }) =>
  toClaims({
    issuer: ISSUER,
    audience: AUDIENCE,
    clientId: CLIENT_ID,
    issuedAt: TIME,
    expiresAt: TIME,
    id: JTI,
    scopes: SCOPES,
    rev: Number.MAX_SAFE_INTEGER,
    ...subject
  })
const signed = (claims: object) =>
  `${encode({ alg: 'RS256', typ: 'at+jwt', kid: KID })}.${encode({ ...claims })}.${'s'.repeat(342)}`
/** The longest token of a user, and the longest own token of a client. */
const TOKENS = [
  signed(content({ sub: UUID, roles: ROLES, sid: UUID })),
  signed(content({ sub: CLIENT_ID, roles: [], sid: null }))
]
const LONGEST = TOKENS.toSorted((a, b) => b.length - a.length)[0] as string

const METADATA = metadataToWire({
  issuer: ISSUER,
  docs: true,
  scopes: [...BUILT_IN_SCOPES, ...CLIENT_SCOPES].map(({ name }) => name),
  grantTypes: ['client_credentials', 'password', 'refresh_token'],
  idTokenAlgs: ['ES256', 'EdDSA', 'RS256'],
  prompts: ['none', 'login', 'consent', 'select_account'],
  locales: ['en', 'de'],
  assertionAlgs: ['ES256', 'EdDSA', 'RS256', 'PS256']
})

/** Returns the metadata and the requests of an issuer that sends this body in every response except the metadata. */
function issuerWith(body: unknown) {
  const timer = createFakeTimer()
  const requests: string[] = []
  const fetch = async (input: string | URL | Request) => {
    requests.push(String(input))
    return jsonText(JSON.stringify(String(input).includes('.well-known/oauth') ? METADATA : body))
  }
  const options = { issuer: ISSUER, clientId: CLIENT_ID, clientSecret: 'x', fetch, timer }
  return { ...options, requests, metadata: createMetadata({ issuer: ISSUER, fetch, timer }) }
}

t.test('every token that the limits allow is accepted, and fits into the headers of a request [UA8]', async (t) => {
  for (const token of TOKENS) t.ok(token.length <= TOKEN_BYTES_MAX, `${token.length} bytes`)
  t.ok(TOKEN_BYTES_MAX + OTHER_HEADERS <= HEADERS_BYTES_MAX)
})

t.test('the guard reads the longest metadata [UA8]', async (t) => {
  t.match(await issuerWith(null).metadata.get(), { jwksUri: `${ISSUER}/.well-known/jwks.json` })
})

t.test('the guard reads as many keys as can exist [UA8]', async (t) => {
  const { n, e } = generateKeyPair('RS256').publicKey.export({ format: 'jwk' })
  const keys = Array.from({ length: SIGNING_KEYS_MAX }, (_, index) => ({
    kty: 'RSA',
    n,
    e,
    kid: `${index}`.padStart(43, '0'),
    alg: 'RS256',
    use: 'sig'
  }))
  const guardKeys = createKeys(issuerWith({ keys }))
  for (const kid of [keys[0]?.kid, keys.at(-1)?.kid] as string[]) t.match(await guardKeys.find(kid), { kid })
})

t.test(
  'the guard reads the longest page of the revocation log, and asks for it with the longest query [UA8]',
  async (t) => {
    const last = Number.MAX_SAFE_INTEGER
    const entries = Array.from({ length: REVOCATIONS_MAX }, (_, index) => ({
      seq: last - REVOCATIONS_MAX + 1 + index,
      kind: KINDS.toSorted((a, b) => b.length - a.length)[0] as 'session_tokens',
      id: CLIENT_ID.slice(4) + `${index}`.padStart(4, '0'),
      expiresIn: 3660
    }))
    const audiences = Array.from({ length: LOG_AUDIENCES_MAX }, () => AUDIENCE)
    const issuer = issuerWith(logToWire({ entries, next: last, seq: last, oldest: last - REVOCATIONS_MAX }))
    const callbacks = { onError: () => {}, onStale: () => {}, onFull: () => {}, onFresh: () => {} }
    const log = createRevocations({ ...issuer, audiences, staleAfterMs: 30_000, ...callbacks })
    t.teardown(() => log.stop())
    await log.start(0)
    await issuer.timer.advance(0)
    t.equal(log.status().entries, REVOCATIONS_MAX)
    const asked = issuer.requests.find((url) => url.includes('/revocations')) as string
    t.ok(asked.length + OTHER_HEADERS <= HEADERS_BYTES_MAX - 1024, `${asked.length} characters`)
  }
)

t.test('the guard reads the longest response of an introspection [UA8]', async (t) => {
  const response = introspectionToWire({
    kind: 'access',
    scopes: SCOPES,
    clientId: CLIENT_ID,
    sub: UUID,
    exp: TIME,
    iat: TIME,
    iss: ISSUER,
    username: '\u{1d11e}'.repeat(USERNAME_CODE_POINTS_MAX),
    sid: UUID,
    aud: AUDIENCE,
    jti: JTI,
    roles: ROLES
  })
  const introspect = createIntrospection({
    ...issuerWith(response),
    authenticate: () => ({ headers: {}, form: {} })
  })
  const claims = content({ sub: UUID, roles: ROLES, sid: UUID })
  const principal = {
    kind: 'user',
    sub: UUID,
    clientId: CLIENT_ID,
    sid: UUID,
    scopes: SCOPES,
    roles: ROLES,
    token: claims
  } as const
  t.match(await introspect(LONGEST, { ...principal, scopes: SCOPES, roles: ROLES }), { kind: 'user', roles: ROLES })
})

t.test('the token client reads the longest response of the token endpoint [UA8]', async (t) => {
  const response = tokenToWire({
    accessToken: LONGEST,
    expiresIn: 3600,
    scopes: SCOPES,
    refreshToken: 'r'.repeat(84),
    idToken: 'i'.repeat(2 * ID_TOKEN_BYTES_MAX)
  })
  const { timer, ...options } = issuerWith(response)
  const client = createClient(options, timer)
  t.teardown(() => client.close())
  t.equal(await client.token(), LONGEST)
  t.ok(TEXT_BYTES_MAX >= SCOPE_PARAMETER_MAX, 'a request can name the longest scope')
})
