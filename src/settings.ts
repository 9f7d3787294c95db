import { type Static, Type } from '@sinclair/typebox'
import {
  ACCESS_TOKEN_TTL_MAX,
  ISSUER_MAX,
  LOGO_BYTES_MAX,
  PASSWORD_BYTES_MAX,
  SERVICE_NAME_MAX,
  SESSION_TTL_MAX
} from './limits.ts'

/**
 * Every setting, with its default, its unit and its description. `allowed` describes the allowed values if the schema alone does not.
 * `secret` keeps the value out of messages. With `none` the text `none` is an empty list. `shown` is the default as the documentation shows it.
 */
export const Settings = Type.Object({
  host: Type.String({
    format: 'host',
    default: '127.0.0.1',
    description: 'Address to listen on',
    allowed: 'an address or a host name, without brackets, scheme and port'
  }),
  port: Type.Integer({
    minimum: 0,
    maximum: 65535,
    default: 3000,
    description: 'Port to listen on; 0 selects a free port'
  }),
  issuer: Type.String({
    format: 'issuer',
    maxLength: ISSUER_MAX,
    description: 'URL of the service as clients see it: the `iss` of every token and the beginning of every link',
    allowed:
      'an https URL of at most 255 characters without query, fragment and trailing slash (http on a loopback host, or with LATCHKEY_INSECURE_HTTP=true)',
    shown: '`http://localhost:<port>`'
  }),
  insecureHttp: Type.Boolean({
    default: false,
    description:
      'Whether an issuer with plain http may be on another host than loopback. Everyone on the network can then read passwords and tokens, so every start warns'
  }),
  dataDir: Type.String({
    minLength: 1,
    default: './data',
    description: 'Directory of the embedded database and of the files that the first start creates',
    allowed: 'a path'
  }),
  databaseUrl: Type.String({
    format: 'database',
    secret: true,
    description: 'URL of the database',
    allowed:
      'sqlite:<file> (without // before the file and ? after it) or postgres://<user>:<password>@<host>/<database> (with @ / ? # and % of user and password percent-encoded)',
    shown: '`sqlite:<data dir>/latchkey.db`'
  }),
  sealingKey: Type.Optional(
    Type.String({
      format: 'key',
      secret: true,
      description: 'Key that encrypts private keys in the database',
      allowed: '32 bytes in base64 (openssl rand -base64 32)',
      shown: 'from `LATCHKEY_SEALING_KEY_FILE`'
    })
  ),
  sealingKeyFile: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'File that holds the sealing key. The first start on the embedded database creates it; on PostgreSQL it must exist',
      allowed: 'a path',
      shown: '`<data dir>/sealing-key` on the embedded database'
    })
  ),
  sealingKeyPrevious: Type.Optional(
    Type.String({
      format: 'key',
      secret: true,
      description: 'Previous sealing key, while the sealing key is being replaced. It only decrypts',
      allowed: '32 bytes in base64',
      shown: 'none'
    })
  ),
  sealingKeyPreviousFile: Type.Optional(
    Type.String({
      minLength: 1,
      description: 'File that holds the previous sealing key, instead of `LATCHKEY_SEALING_KEY_PREVIOUS`',
      allowed: 'a path',
      shown: 'none'
    })
  ),
  accessTokenTtl: Type.Integer({
    minimum: 1,
    maximum: ACCESS_TOKEN_TTL_MAX,
    default: 300,
    unit: 's',
    description: 'Lifetime of an access token'
  }),
  refreshLeeway: Type.Integer({
    minimum: 0,
    maximum: 86_400,
    default: 60,
    unit: 's',
    description:
      'Time for which the previous refresh token returns the same successor again, while the successor is unused, in case a response was lost'
  }),
  loginIdleTtl: Type.Integer({
    minimum: 60,
    maximum: SESSION_TTL_MAX,
    default: 43_200,
    unit: 's',
    description: 'Time after which a sign-in in a browser ends when the browser does not use it'
  }),
  loginAbsoluteTtl: Type.Integer({
    minimum: 60,
    maximum: SESSION_TTL_MAX,
    default: 2_592_000,
    unit: 's',
    description: 'Time after which a sign-in in a browser ends in any case'
  }),
  signingAlg: Type.Union([Type.Literal('ES256'), Type.Literal('EdDSA'), Type.Literal('RS256')], {
    default: 'ES256',
    description:
      'Signature algorithm of access tokens, and of ID tokens whose client names no other. A change takes effect when every verifier knows the new keys'
  }),
  keyRotation: Type.Integer({
    minimum: 0,
    maximum: 365,
    default: 30,
    unit: 'days',
    description: 'Age at which signing keys and refresh keys rotate automatically; 0 for never'
  }),
  jwksMaxAge: Type.Integer({
    minimum: 1,
    maximum: 86_400,
    default: 300,
    unit: 's',
    description: 'Time for which verifiers may cache the JWKS. A key is published at least this long before it signs'
  }),
  argon2Memory: Type.Integer({
    minimum: 7168,
    maximum: 4_194_304,
    default: 19456,
    unit: 'KiB',
    description: 'Memory of one password hash (argon2id `m`)'
  }),
  argon2Passes: Type.Integer({
    minimum: 1,
    maximum: 20,
    default: 2,
    description: 'Passes over the memory (argon2id `t`)'
  }),
  argon2Lanes: Type.Integer({ minimum: 1, maximum: 16, default: 1, description: 'Lanes (argon2id `p`)' }),
  adminUsername: Type.String({
    format: 'username',
    default: 'admin',
    description: 'Name of the first admin',
    allowed: 'a name of 1 to 64 letters, digits and punctuation characters without spaces (RFC 8265)'
  }),
  adminPassword: Type.Optional(
    Type.String({
      format: 'password',
      secret: true,
      description: 'Password of the first admin. It has no effect when there is an admin',
      allowed: `a text of at least LATCHKEY_PASSWORD_MIN_LENGTH characters and at most ${PASSWORD_BYTES_MAX} bytes`,
      shown: 'generated on the embedded database; on PostgreSQL no admin is created'
    })
  ),
  passwordMinLength: Type.Integer({
    minimum: 8,
    maximum: 64,
    default: 15,
    description: 'Minimum length of a new password in characters (code points)'
  }),
  throttle: Type.Boolean({
    default: true,
    description: 'Whether password guessing is limited; `false` is for tests only'
  }),
  trustedProxies: Type.Array(Type.String({ format: 'network' }), {
    default: [],
    none: true,
    description:
      'Reverse proxies whose `X-Forwarded-For` header is trusted. With an https issuer it must be set: `none` is for a proxy that keeps the address of each caller (a proxy for TCP), so that there is no header',
    allowed: 'addresses or networks (10.0.0.0/8, but no /0), separated by commas, or none'
  }),
  logoutNetworks: Type.Array(Type.String({ format: 'network' }), {
    default: [],
    description:
      'Internal networks that logout tokens may be sent to. Other addresses of the machine and of private networks are refused, so that nobody who may register a client reaches them; link-local addresses always are. If the issuer is on a loopback host, loopback is allowed',
    allowed: 'addresses or networks (10.0.0.0/8, but no /0), separated by commas'
  }),
  corsOrigins: Type.Array(Type.String({ format: 'origin' }), {
    default: [],
    description:
      'Origins of browser apps that may call `/token`, `/revoke`, `/userinfo`, `GET /users/me`, the JWKS and the metadata. If the issuer is on a loopback host, every `http` origin on a loopback host may call them too',
    allowed: 'origins (https://app.example.com), separated by commas'
  }),
  name: Type.String({
    minLength: 1,
    maxLength: SERVICE_NAME_MAX,
    default: 'Latchkey',
    description: 'Name of the service on the pages that people see',
    allowed: `a text of at most ${SERVICE_NAME_MAX} characters`
  }),
  logoFile: Type.Optional(
    Type.String({
      minLength: 1,
      description: `Image file (PNG, JPEG, WebP or SVG, at most ${LOGO_BYTES_MAX / 1024} KiB) that stands before the name on the pages`,
      allowed: 'a path',
      shown: 'none'
    })
  ),
  accent: Type.String({
    pattern: '^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$',
    default: '#2b4c9b',
    description:
      'Colour of links and buttons on the pages. It is made darker or lighter if its contrast would be lower than WCAG 2.2 AA requires',
    allowed: 'a colour as #rgb or #rrggbb'
  }),
  docs: Type.Boolean({
    default: true,
    description: 'Whether `/docs` and its built-in client exist'
  }),
  logLevel: Type.Union(
    (['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const).map((level) => Type.Literal(level)),
    { default: 'info', description: 'Least severe level that is logged' }
  )
})

export type Config = Static<typeof Settings>
