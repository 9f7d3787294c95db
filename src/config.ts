import { existsSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { FormatRegistry, type Static, type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { SetupError } from './domain/errors.ts'
import { parseUsername } from './domain/usernames.ts'
import { isIssuer } from './guard/metadata.ts'

const PREFIX = 'LATCHKEY_'

const url = (text: string): URL | null => (URL.canParse(text) ? new URL(text) : null)

function isNetwork(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/')
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  return bits > 0 && more.length === 0 && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
}

FormatRegistry.Set('issuer', isIssuer)
FormatRegistry.Set('network', isNetwork)
FormatRegistry.Set('origin', (text) => /^https?:/.test(text) && url(text)?.origin === text)
FormatRegistry.Set(
  'database',
  (text) => /^sqlite:.+/.test(text) || (/^postgres(ql)?:\/\/./.test(text) && URL.canParse(text))
)
FormatRegistry.Set('password', (text) => [...text].length >= 8 && Buffer.byteLength(text.normalize('NFC')) <= 1024)
FormatRegistry.Set('username', (text) => parseUsername(text) !== null)
FormatRegistry.Set('key', (text) => /^[\w+/-]{43}=?$/.test(text))

/** Every setting. `allowed` says in words what the schema alone does not; a `secret` value is never repeated in a message. */
const Settings = Type.Object({
  host: Type.String({
    minLength: 1,
    default: '127.0.0.1',
    description: 'Address to listen on',
    allowed: 'an address or a host name'
  }),
  port: Type.Integer({
    minimum: 0,
    maximum: 65535,
    default: 3000,
    description: 'Port to listen on; 0 takes a free one'
  }),
  issuer: Type.String({
    format: 'issuer',
    description: 'Where the service is reached from outside: the `iss` of every token and the base of every link',
    allowed: 'an https URL without query, fragment and trailing slash (http on a loopback host only)',
    shown: '`http://localhost:<port>`'
  }),
  dataDir: Type.String({
    minLength: 1,
    default: './data',
    description: 'Directory of the embedded database and of the files made at the first start',
    allowed: 'a path'
  }),
  databaseUrl: Type.String({
    format: 'database',
    secret: true,
    description: 'The database',
    allowed: 'sqlite:<file> or postgres://<user>:<password>@<host>/<database>',
    shown: '`sqlite:<data dir>/latchkey.db`'
  }),
  sealingKey: Type.Optional(
    Type.String({
      format: 'key',
      secret: true,
      description: 'The key that private keys are sealed with',
      allowed: '32 bytes in base64 (openssl rand -base64 32)',
      shown: 'from the file'
    })
  ),
  sealingKeyFile: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'File that holds the sealing key; made at the first start on the embedded database, must be there on PostgreSQL',
      allowed: 'a path',
      shown: '`<data dir>/sealing-key` on the embedded database'
    })
  ),
  sealingKeyPrevious: Type.Optional(
    Type.String({
      format: 'key',
      secret: true,
      description:
        'The sealing key before, while it is changed: it still opens what it has sealed, and seals nothing more',
      allowed: '32 bytes in base64',
      shown: 'none'
    })
  ),
  sealingKeyPreviousFile: Type.Optional(
    Type.String({
      minLength: 1,
      description: 'File that holds it; in place of `LATCHKEY_SEALING_KEY_PREVIOUS`',
      allowed: 'a path',
      shown: 'none'
    })
  ),
  accessTokenTtl: Type.Integer({
    minimum: 1,
    maximum: 3600,
    default: 300,
    unit: 's',
    description: 'Lifetime of an access token'
  }),
  refreshLeeway: Type.Integer({
    minimum: 0,
    maximum: 60,
    default: 10,
    unit: 's',
    description: 'How long a refresh token that was just used gets the same successor again, for answers that were lost'
  }),
  signingAlg: Type.Union([Type.Literal('ES256'), Type.Literal('EdDSA'), Type.Literal('RS256')], {
    default: 'ES256',
    description: 'Signature algorithm of new keys'
  }),
  keyRotation: Type.Integer({
    minimum: 0,
    maximum: 365,
    default: 30,
    unit: 'days',
    description: 'After how long the keys that tokens are made with rotate by themselves; 0 for never'
  }),
  jwksMaxAge: Type.Integer({
    minimum: 1,
    maximum: 86_400,
    default: 300,
    unit: 's',
    description: 'How long others may keep the JWKS; a key is published at least that long before it signs'
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
    description: 'Passes over that memory (argon2id `t`)'
  }),
  argon2Lanes: Type.Integer({ minimum: 1, maximum: 16, default: 1, description: 'Lanes (argon2id `p`)' }),
  adminUsername: Type.String({
    format: 'username',
    default: 'admin',
    description: 'Name of the first admin',
    allowed: '1 to 64 letters, digits and signs, no spaces (RFC 8265)'
  }),
  adminPassword: Type.Optional(
    Type.String({
      format: 'password',
      secret: true,
      description: 'Password of the first admin',
      allowed: 'at least LATCHKEY_PASSWORD_MIN_LENGTH characters, at most 1024 bytes',
      shown: 'generated on the embedded database; on PostgreSQL no admin is made'
    })
  ),
  passwordMinLength: Type.Integer({
    minimum: 8,
    maximum: 64,
    default: 15,
    description: 'Characters (code points) that a new password has at least'
  }),
  throttle: Type.Boolean({
    default: true,
    description: 'Whether guesses of passwords are limited; off is for tests only',
    allowed: 'on or off',
    shown: '`on`'
  }),
  trustedProxies: Type.Array(Type.String({ format: 'network' }), {
    default: [],
    description: 'Reverse proxies whose `X-Forwarded-For` is believed',
    allowed: 'addresses or networks (10.0.0.0/8), separated by commas'
  }),
  corsOrigins: Type.Array(Type.String({ format: 'origin' }), {
    default: [],
    description:
      'Origins of browser apps that may call `/token`, `/revoke`, the JWKS and the metadata; if the issuer is on a loopback host, every `http` origin on one may too',
    allowed: 'origins (https://app.example.com), separated by commas'
  }),
  docs: Type.Boolean({
    default: true,
    description: 'Whether `/docs` and its client are there; without the client nobody can log in yet',
    allowed: 'true or false'
  }),
  logLevel: Type.Union(
    (['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const).map((level) => Type.Literal(level)),
    { default: 'info', description: 'What is logged at least' }
  )
})

export type Config = Static<typeof Settings>

const properties = Object.entries(Settings.properties) as [keyof Config, TSchema][]
const variable = (name: string): string => PREFIX + name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

function parse(schema: TSchema, text: string): unknown {
  if (schema.type === 'integer') return /^\d{1,15}$/.test(text) ? Number(text) : text
  if (schema.type === 'boolean')
    return ({ true: true, on: true, false: false, off: false } as Record<string, boolean>)[text] ?? text
  if (schema.type === 'array') return text.split(',').map((item) => item.trim())
  return text
}

function allowed(schema: TSchema): string {
  if (schema.allowed !== undefined) return schema.allowed
  if (schema.anyOf !== undefined) return `one of ${schema.anyOf.map((literal: TSchema) => literal.const).join(', ')}`
  return `an integer from ${schema.minimum} to ${schema.maximum}${schema.unit === undefined ? '' : ` ${schema.unit}`}`
}

/**
 * The settings from variables, complete and checked. An empty variable is as good as none.
 * @throws SetupError with one line for each problem: the variable, what is wrong, what is allowed
 */
export function loadConfig(env: Record<string, string | undefined>): Config {
  const given = Object.entries(env).filter(
    ([name, value]) => name.startsWith(PREFIX) && value !== undefined && value !== ''
  )
  const known = new Map(properties.map(([name, schema]) => [variable(name), { name, schema }]))
  const problems = given
    .filter(([name]) => !known.has(name))
    .map(([name]) => `${name} is no setting; the settings are listed in docs/operations.md`)

  const values: Record<string, unknown> = {}
  for (const [name, text] of given as [string, string][]) {
    const setting = known.get(name)
    if (setting !== undefined) values[setting.name] = parse(setting.schema, text)
  }
  const config = Value.Default(Settings, values) as Config
  config.issuer ??= config.port === 80 ? 'http://localhost' : `http://localhost:${config.port}`
  config.databaseUrl ??= `sqlite:${join(config.dataDir, 'latchkey.db')}`
  const embedded = config.databaseUrl.startsWith('sqlite:')
  if (embedded && config.sealingKey === undefined) config.sealingKeyFile ??= join(config.dataDir, 'sealing-key')

  const refused = new Set([...Value.Errors(Settings, config)].map(({ path }) => path.split('/')[1]))
  for (const [name, schema] of properties.filter(([each]) => refused.has(each) && env[variable(each)])) {
    const what = schema.secret ? 'the value' : JSON.stringify(env[variable(name)])
    problems.push(`${variable(name)}: ${what} is not allowed; allowed: ${allowed(schema)}`)
  }
  for (const name of ['sealingKey', 'sealingKeyPrevious'] as const) {
    if (env[variable(name)] && env[variable(`${name}File`)])
      problems.push(`${variable(name)} and ${variable(`${name}File`)} are both set; allowed: one of them`)
  }
  if (
    !embedded &&
    !refused.has('databaseUrl') &&
    config.sealingKey === undefined &&
    config.sealingKeyFile === undefined
  ) {
    problems.push(
      `${variable('sealingKey')} is missing; on PostgreSQL it or ${variable('sealingKeyFile')} is needed: ${allowed(Settings.properties.sealingKey)}`
    )
  }
  if (problems.length > 0) throw new SetupError(problems.join('\n'))
  return config
}

/** The variables for settings that are given by their names in `Config`; what is wrong with them `loadConfig` says. */
export function toEnvironment(settings: object): Record<string, string | undefined> {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined && value !== null)
  return Object.fromEntries(given.map(([name, value]) => [variable(name), String(value)]))
}

/** The variables of the process and, below them, of a file `.env` in the working directory. */
export function readEnvironment(): Record<string, string | undefined> {
  return { ...(existsSync('.env') ? parseEnv(readFileSync('.env', 'utf8')) : {}), ...process.env }
}

/** More threads than hashes that run at once (cores − 1), so that files and DNS never wait behind them. For the start of a process. */
export function sizeThreadPool(): void {
  process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, availableParallelism()))
}

/** The table of docs/operations.md. */
export function settingsTable(): string {
  const rows = properties.map(([name, schema]) => {
    const fallback =
      schema.shown ??
      (Array.isArray(schema.default)
        ? 'none'
        : `\`${schema.default}\`${schema.unit === undefined ? '' : ` ${schema.unit}`}`)
    return `| \`${variable(name)}\` | ${schema.description} | ${allowed(schema).replaceAll('|', '\\|')} | ${fallback} |`
  })
  return ['| Variable | What it is | Allowed | Default |', '| --- | --- | --- | --- |', ...rows].join('\n')
}
