/**
 * The limits of the service, and the patterns that the documented schemas (`src/wire`) and the domain share. A pattern is the source of a regular
 * expression with the flag `u`. Lengths of text are in characters (code points) unless the name says otherwise; `_TTL_` is a
 * lifetime in seconds.
 */

/**
 * Bytes in UTF-8 of one text of a request: a parameter, a member, the name of a member, a part of the path. Checked before anything
 * reads the text. It is four bytes for each character of `USERNAME_MAX`, the largest limit in characters of a text that is not ASCII.
 */
export const TEXT_BYTES_MAX = 1024
/** Bytes of an access token (RFC 9068). No token within the limits of scopes, roles and ids is longer. */
export const TOKEN_BYTES_MAX = 10_240
/** Bytes of a client assertion (RFC 7523). */
export const ASSERTION_BYTES_MAX = 8192
/** Bytes of an `Authorization` header with Basic credentials. */
export const BASIC_BYTES_MAX = 4096
/** Bytes of an `X-Forwarded-For` header: about ten proxies. The work of reading it grows with the number of trusted addresses. */
export const FORWARDED_BYTES_MAX = 512
/** Parameters of one form. */
export const FORM_PARAMETERS_MAX = 100

/**
 * Bytes of the parameters of an authorization request in a query. The form of the sign-in carries them in its URL, so they must fit into
 * the header of a request (16 KiB) together with cookies.
 */
export const AUTHORIZATION_REQUEST_BYTES_MAX = 10_240
/** Resources of one authorization request. */
export const AUTHORIZATION_RESOURCES_MAX = 20
/** Bytes of `state` and of `id_token_hint` in an authorization request. */
export const STATE_BYTES_MAX = 4096
export const ID_TOKEN_BYTES_MAX = 8192

/** Milliseconds in which the headers and the body of a request must have arrived. */
export const ARRIVAL_MS = 8000
/** Milliseconds without traffic after which a connection is closed, except while it waits for its next request. */
export const CONNECTION_SILENT_MS = 8000
/** Milliseconds from the arrival of a request to its response, without the time of its password hashes. */
export const REQUEST_MS = 5000
/** Milliseconds of one password hash. A longer one is warned of: its request may end after its connection was closed. */
export const HASH_MS = 2000
/** Milliseconds that a login may wait for its password hash. */
export const HASH_WAIT_MS = 1500
/** Milliseconds that an attempt may wait for a place to count in the database. */
export const COUNT_WAIT_MS = 1000
/** Milliseconds that a client may take to respond to a logout token. */
export const LOGOUT_RESPONSE_MS = 5000
/** Maximum number of identities of one user at providers. */
export const IDENTITIES_MAX = 20
/** Milliseconds that a provider may take to respond, and the size of its response in bytes. */
export const PROVIDER_RESPONSE_MS = 5000
export const PROVIDER_RESPONSE_BYTES = 262_144
/** Milliseconds that a write may wait while another process writes to the embedded database. */
export const SQLITE_WAIT_MS = 2000
/** Milliseconds that PostgreSQL may take for a connection and for a statement, and that Latchkey waits for a response. */
export const POSTGRES_CONNECT_MS = 1000
export const POSTGRES_STATEMENT_MS = 1800
export const POSTGRES_RESPONSE_MS = 2000

/** A display name or a description: one line without control characters. */
export const LINE_PATTERN = '^[^\\p{Cc}]*$'
/** Length of a display name or a description. */
export const LINE_MAX = 200

/** Length of a username as it is sent: one character of the canonical form decomposes into at most four. */
export const USERNAME_MAX = 256
/** Length of a username in its canonical form (RFC 8265). */
export const USERNAME_CODE_POINTS_MAX = 64
/** Length of an e-mail address (RFC 5321 §4.5.3.1.3, without the angle brackets). */
export const EMAIL_MAX = 254
/** An e-mail address. The domain also refuses format characters (`\p{Cf}`). */
export const EMAIL_PATTERN = '^[^\\s@\\p{Cc}]+@[^\\s@\\p{Cc}]+$'
/** Bytes of a password in UTF-8. */
export const PASSWORD_BYTES_MAX = 1024
/** Roles of one user. */
export const ROLES_MAX = 50

/** Names of roles and ids of resources. */
export const NAME_PATTERN = '^[a-z][a-z0-9_.-]{0,63}$'
export const NAME_MAX = 64

/** A scope-token (RFC 6749 §3.3). */
export const SCOPE_TOKEN_PATTERN = '^[\\x21\\x23-\\x5b\\x5d-\\x7e]+$'
/** The name of a registered scope: one word, or words joined by colons (usually `noun:verb`). */
export const SCOPE_NAME_PATTERN = '^[a-z][a-z0-9_.-]*(:[a-z][a-z0-9_.-]*)*$'
export const SCOPE_NAME_MAX = 128
/** Length and items of the `scope` parameter of a token request (RFC 6749 §3.3). */
export const SCOPE_PARAMETER_MAX = 1024
export const SCOPE_ITEMS_MAX = 50
/** Scopes of one role. */
export const ROLE_SCOPES_MAX = 200

/** An id, a name or a URI by which a request refers to an object. */
export const IDENTIFIER_MAX = 255
/** An id that is a UUID. */
export const UUID_PATTERN = '^[0-9a-f-]{36}$'
/** The `kid` of a signing key: its thumbprint (RFC 7638). */
export const KID_PATTERN = '^[\\w-]{43}$'
export const RESOURCE_SCOPES_MAX = 100
export const INTROSPECTION_CLIENTS_MAX = 100

/** A client id: RFC 6749 §A.1 without spaces. The domain also refuses `.` and `..`, which URL parsers remove from a path. */
export const CLIENT_ID_PATTERN = '^[\\x21-\\x7e]{1,255}$'
/** Items of each list of one client: scopes, resources, redirect URIs. */
export const CLIENT_LIST_MAX = 100
/** Length of the scopes of one client, separated by spaces. */
export const CLIENT_SCOPE_TEXT_MAX = 4096
export const GRANT_TYPES_MAX = 20
export const REDIRECT_URI_MAX = 2000
/** A logo of a client: the name of a file in the data directory, or an image as `data:` URI. */
export const LOGO_FILE_PATTERN = '^[\\w\\-][\\w.\\-]{0,99}$'
export const LOGO_DATA_PATTERN = '^data:image/(png|jpeg|webp|gif|svg\\+xml)[;,][\\x21-\\x7e]+$'
export const LOGO_URI_MAX = 12_288
export const CLIENT_KEYS_MAX = 10
/** Secrets of one client that have not expired. */
export const CLIENT_SECRETS_MAX = 10

/** Audiences that a request for the revocation log may name, and that one guard has. */
export const LOG_AUDIENCES_MAX = 10

/** Bytes of one member of a JWK. */
export const JWK_MEMBER_BYTES_MAX = 4096

/** Bytes of the texts of a request that may be longer than `TEXT_BYTES_MAX`, by name. It holds for all texts inside the named value. */
export const LONG_TEXT_BYTES: ReadonlyMap<string, number> = new Map([
  ['token', TOKEN_BYTES_MAX],
  ['access_token', TOKEN_BYTES_MAX],
  ['client_assertion', ASSERTION_BYTES_MAX],
  ['scope', CLIENT_SCOPE_TEXT_MAX],
  ['state', STATE_BYTES_MAX],
  ['id_token_hint', ID_TOKEN_BYTES_MAX],
  ['redirect_uri', REDIRECT_URI_MAX],
  ['redirect_uris', REDIRECT_URI_MAX],
  ['post_logout_redirect_uri', REDIRECT_URI_MAX],
  ['post_logout_redirect_uris', REDIRECT_URI_MAX],
  ['client_uri', REDIRECT_URI_MAX],
  ['policy_uri', REDIRECT_URI_MAX],
  ['tos_uri', REDIRECT_URI_MAX],
  ['backchannel_logout_uri', REDIRECT_URI_MAX],
  ['logo_uri', LOGO_URI_MAX],
  ['audience', LOG_AUDIENCES_MAX * (IDENTIFIER_MAX + 1)],
  ['jwks', JWK_MEMBER_BYTES_MAX]
])

/** Bytes of the body of a request. */
export const BODY_BYTES_MAX = 16_384

/**
 * Like `LONG_TEXT_BYTES`, for the forms of pages. The fields that users fill in have no limit of their own here: the domain refuses a text
 * that is too long before it works on it, and the page says so at the field.
 */
export const PAGE_TEXT_BYTES: ReadonlyMap<string, number> = new Map([
  ...LONG_TEXT_BYTES,
  ...['username', 'password', 'current_password', 'new_password', 'full_name', 'email'].map(
    (field): [string, number] => [field, BODY_BYTES_MAX]
  )
])

/** Seconds: 1 hour. */
export const ACCESS_TOKEN_TTL_MAX = 3600
/** Active sessions of one user. A login beyond it ends the session that was not used for the longest time. */
export const SESSIONS_MAX = 100
/** Active logins of one user in browsers. A login beyond it ends the login that was not used for the longest time. */
export const LOGINS_MAX = 50
/** Logins that one browser keeps, of several users. */
export const BROWSER_LOGINS_MAX = 5
/** Authorization requests of one login that wait for consent or for the redemption of their code. A new one removes the oldest. */
export const AUTHORIZATIONS_MAX = 50
/** Milliseconds from the sign-in to the consent. */
export const CONSENT_MS = 30 * 60_000
/** Milliseconds for which a code is valid (RFC 6749 §4.1.2 recommends at most 10 minutes). */
export const CODE_MS = 60_000
/** Seconds: 365 days. */
export const SESSION_TTL_MAX = 31_536_000
/** Seconds: 3650 days. */
export const SECRET_TTL_MAX = 315_360_000

/** Items of one page of a list. */
export const PAGE_MAX = 100
export const PAGE_DEFAULT = 50
/** The cursor of a list whose items have no UUID. */
export const CURSOR_PATTERN = '^[\\x20-\\x7e]{1,255}$'

/** Entries of one response of the revocation log. */
export const REVOCATIONS_MAX = 1000
/** Requests for the revocation log that wait in one process at the same time, in total and of one client. Others do not wait. */
export const LOG_WAITING_MAX = 1000
export const LOG_WAITING_OF_CLIENT_MAX = 250
/** Seconds that a request for the revocation log may wait. */
export const REVOCATIONS_WAIT_MAX = 30
/** Revoked access tokens of one session that have an entry of their own. The next one replaces them by one entry for the session. */
export const SESSION_TOKEN_ENTRIES_MAX = 8
/** Sessions of one user that one change ends with an entry for each. If it ends more, one entry for the user stands for all. */
export const SESSION_ENTRIES_MAX = 20
/** Access tokens of one user, and own tokens of one client, that may be revoked: at once, and one more after each interval. */
export const REVOCATION_QUOTA = {
  user: { burst: 30, intervalMs: 10_000 },
  client: { burst: 300, intervalMs: 1000 }
}
/** The highest number of an entry that a request for the revocation log may name. */
export const REVOCATIONS_AFTER_MAX = 999_999_999_999_999

/** Characters of the issuer: it is the identifier of Latchkey's own resource. */
export const ISSUER_MAX = IDENTIFIER_MAX
/** Keys in the JWKS. A rotation that would publish more is refused until the tokens of an earlier key have expired. */
export const SIGNING_KEYS_MAX = 200

/**
 * Bytes of the responses of Latchkey that guards and token clients accept. `test/guard/limits.test.ts` proves that no response within the
 * limits above is longer.
 */
export const METADATA_BYTES_MAX = 65_536
export const JWKS_BYTES_MAX = SIGNING_KEYS_MAX * 1024
export const LOG_PAGE_BYTES_MAX = REVOCATIONS_MAX * 1024
export const TOKEN_RESPONSE_BYTES_MAX = 65_536
export const INTROSPECTION_BYTES_MAX = 65_536

/** Entries of the revocation log that a guard keeps in memory. */
export const GUARD_ENTRIES_MAX = 250_000

/** Bytes of the image file of a logo. */
export const LOGO_BYTES_MAX = 262_144
/** Characters of the name of the service. */
export const SERVICE_NAME_MAX = 60
