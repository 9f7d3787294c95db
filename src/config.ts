import { isUtf8 } from 'node:buffer'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { FormatRegistry, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { SetupError } from './domain/errors.ts'
import { normalPassword } from './domain/passwords.ts'
import { parseUsername } from './domain/usernames.ts'
import { parseDotEnv } from './dotenv.ts'
import { faultOfIssuer, isIssuer } from './guard/metadata.ts'
import { isServiceLink } from './service-links.ts'
import { type Config, Settings } from './settings.ts'
import { didYouMean } from './similar.ts'

const PREFIX = 'LATCHKEY_'
/** Maximum number of names in one notice. */
const NAMES_SHOWN = 10

const url = (text: string): URL | null => (URL.canParse(text) ? new URL(text) : null)

/** Refuses /0, with which every caller could choose its own address. */
function isNetwork(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/')
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  return (
    bits > 0 &&
    more.length === 0 &&
    (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) > 0 && Number(prefix) <= bits))
  )
}

/**
 * Returns whether pg can read the URL. Refuses a URL with an "@" in the path, the fragment or the name of a parameter: there a character
 * of the password was not encoded, and parts of the password would be read, and printed, as the names of a host and a database.
 */
function isPostgresUrl(text: string): boolean {
  if (!/^postgres(ql)?:\/\/./.test(text)) return false
  // Without a host, the parameter `host` names the directory of a Unix socket.
  const read = url(text) ?? url(text.replace('@/', '@socket/'))
  return read !== null && ![read.pathname, read.hash, ...read.searchParams.keys()].some((part) => part.includes('@'))
}

/** Returns the URL of a database without a username, a password and options, for messages. */
export const withoutCredentials = (databaseUrl: string): string =>
  databaseUrl.startsWith('sqlite:') ? databaseUrl : databaseUrl.replace(/[?#].*$/s, '').replace(/\/\/.*@/s, '//')

/** Refuses brackets, a scheme, a port and a path. */
const isHost = (text: string): boolean => isIP(text) !== 0 || /^[^[\]:/]+$/.test(text)

/** Refuses `//` and options, which would be parts of the name of the file, and `file:`, which SQLite reads as a URI. */
const isSqliteUrl = (text: string): boolean => /^sqlite:(?!\/\/|file:)[^?]+$/.test(text)

FormatRegistry.Set('host', isHost)
FormatRegistry.Set('issuer', (text) => isIssuer(text, { insecureHttp: true }))
FormatRegistry.Set('network', isNetwork)
FormatRegistry.Set('origin', (text) => /^https?:/.test(text) && url(text)?.origin === text)
FormatRegistry.Set('database', (text) => isSqliteUrl(text) || isPostgresUrl(text))
FormatRegistry.Set('password', (text) => normalPassword(text) !== null && [...text].length >= 8)
FormatRegistry.Set('username', (text) => parseUsername(text) !== null)
FormatRegistry.Set('key', (text) => /^[\w+/-]{43}=?$/.test(text))

const properties = Object.entries(Settings.properties) as [keyof Config, TSchema][]
const variable = (name: string): string => PREFIX + name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

function parse(schema: TSchema, text: string): unknown {
  if (schema.type === 'integer') return /^\d{1,15}$/.test(text) ? Number(text) : text
  if (schema.type === 'boolean') return ({ true: true, false: false } as Record<string, boolean>)[text] ?? text
  if (schema.none && text === 'none') return []
  if (schema.type === 'array') return text.split(',').map((item) => item.trim())
  return text
}

function allowed(schema: TSchema): string {
  if (schema.allowed !== undefined) return schema.allowed
  if (schema.type === 'boolean') return 'true or false'
  if (schema.anyOf !== undefined) return `one of ${schema.anyOf.map((literal: TSchema) => literal.const).join(', ')}`
  if (schema.type !== 'integer') throw new Error(`the setting "${schema.description}" has no text of allowed values`)
  return `an integer from ${schema.minimum} to ${schema.maximum}${schema.unit === undefined ? '' : ` ${schema.unit}`}`
}

type Environment = Record<string, string | undefined>

const known = new Map(properties.map(([name, schema]) => [variable(name), { name, schema }]))
const names = [...known.keys()]

/** Returns the error about a variable that is meant as a setting but is none; null for a setting and for a variable of another program. */
function unknownSetting(name: string): string | null {
  if (known.has(name)) return null
  const proposal = didYouMean(name.toUpperCase(), names)
  if (!/^latchkey_/i.test(name) && proposal === '') return null
  return `${name} is not a setting${proposal || '; "latchkey settings" lists the settings'}`
}

/** Returns the variables that may be settings: not those of other programs, of Kubernetes and of Docker. */
function givenIn(env: Environment): [name: string, text: string][] {
  const given = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return given.filter(
    ([name, text]) => (known.has(name) || unknownSetting(name) !== null) && !isServiceLink(name, text, env)
  )
}

/** Returns why a text is probably a mistake, although the schema of its setting accepts it; null for every other text. */
function misreading(text: string): string | null {
  if (/\p{Cc}/u.test(text)) return 'holds a control character, for example from a file with the line endings of Windows'
  if (/\$(\{\w[^}]*\}|\(\w[\w./ -]*\))/.test(text))
    return 'holds a reference to a variable, which nothing replaces; write the value itself'
  if (/^(["'`]).*\1$/.test(text)) return 'is in quotes, and the quotes are part of the value; remove them'
  return null
}

/** Returns the names for one line. */
const listed = (some: string[]): string =>
  some.slice(0, NAMES_SHOWN).join(', ') + (some.length > NAMES_SHOWN ? ', …' : '')

/** Returns one line for each group of variables that are ignored although their names begin like those of settings. */
export function noticesOf(env: Environment): string[] {
  const links = Object.keys(env).filter((name) => name.startsWith(PREFIX) && isServiceLink(name, env[name] ?? '', env))
  const empty = names.filter((name) => env[name] === '')
  const notices: [string[], string][] = [
    [
      links,
      'ignored, because Kubernetes or Docker writes these variables for a service of this name; "enableServiceLinks: false" in the pod removes them'
    ],
    [empty, 'empty, so the default applies']
  ]
  return notices.filter(([some]) => some.length > 0).map(([some, reason]) => `${listed(some)}: ${reason}`)
}

/**
 * Reads the settings from variables, fills in the defaults and checks all values. An empty variable counts as missing.
 * @param options `listens` says that this process will serve requests on its own port: then an https issuer needs `LATCHKEY_TRUSTED_PROXIES`
 * @throws SetupError with one line for each problem: the variable, the expected value, and the given value unless it may be secret
 */
export function loadConfig(env: Environment, { listens = false }: { listens?: boolean } = {}): Config {
  const given = givenIn(env)
  const problems = given.map(([name]) => unknownSetting(name)).filter((problem) => problem !== null)

  const values: Record<string, unknown> = {}
  for (const [name, text] of given) {
    const setting = known.get(name)
    if (setting !== undefined && text !== '') values[setting.name] = parse(setting.schema, text)
  }
  const config = Value.Default(Settings, values) as Config
  config.issuer ??= config.port === 80 ? 'http://localhost' : `http://localhost:${config.port}`
  config.databaseUrl ??= `sqlite:${join(config.dataDir, 'latchkey.db')}`
  const embedded = config.databaseUrl.startsWith('sqlite:')
  if (embedded && config.sealingKey === undefined) config.sealingKeyFile ??= join(config.dataDir, 'sealing-key')

  const refused = new Set([...Value.Errors(Settings, config)].map(({ path }) => path.split('/')[1]))
  if (!isIssuer(config.issuer, config)) refused.add('issuer')
  for (const [name, schema] of properties.filter(([each]) => refused.has(each) && env[variable(each)])) {
    const text = env[variable(name)] as string
    // A text with an `@` may be a URL with a password.
    const value = schema.secret || text.includes('@') ? 'another value' : JSON.stringify(text)
    const fault = name === 'issuer' ? faultOfIssuer(text, config) : null
    problems.push(`${variable(name)} must be ${allowed(schema)}; got ${value}${fault === null ? '' : `: ${fault}`}`)
  }
  for (const [name, text] of given) {
    const setting = known.get(name)
    const reason = setting === undefined || refused.has(setting.name) ? null : misreading(text)
    if (reason !== null) problems.push(`${name} ${reason}`)
  }
  for (const name of ['sealingKey', 'sealingKeyPrevious'] as const) {
    if (env[variable(name)] && env[variable(`${name}File`)])
      problems.push(`${variable(name)} and ${variable(`${name}File`)} are both set; set only one of them`)
  }
  if (
    !embedded &&
    !refused.has('databaseUrl') &&
    config.sealingKey === undefined &&
    config.sealingKeyFile === undefined
  ) {
    problems.push(
      `${variable('sealingKey')} is missing; PostgreSQL needs it or ${variable('sealingKeyFile')}: ${allowed(Settings.properties.sealingKey)}`
    )
  }
  if (listens && config.issuer.startsWith('https:') && !env[variable('trustedProxies')]) {
    problems.push(
      `${variable('trustedProxies')} is missing; an https issuer has a proxy in front of this service: set the addresses or networks of the proxies (10.0.0.0/8, but no /0), separated by commas; or none, if the proxy keeps the address of each caller`
    )
  }
  if (problems.length > 0) throw new SetupError(problems.join('\n'))
  return config
}

/** Converts settings with the names of `Config` to variables. `loadConfig` checks them. */
export function toEnvironment(settings: object): Environment {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined && value !== null)
  return Object.fromEntries(given.map(([name, value]) => [variable(name), String(value)]))
}

/** Returns the bytes of the file `.env`; null when there is none. @throws SetupError */
function readDotEnv(): Buffer | null {
  try {
    return readFileSync('.env')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    throw new SetupError(`the file .env cannot be read (${code})`, { cause: error })
  }
}

/**
 * Returns the variables of the process and of the file `.env` in the working directory. The process has priority.
 * @throws SetupError with one line for each part of the file that is not understood
 */
export function readEnvironment(): Environment {
  const bytes = readDotEnv()
  if (bytes === null) return process.env
  if (!isUtf8(bytes)) throw new SetupError('the file .env is not UTF-8: save it as UTF-8')
  const { variables, problems } = parseDotEnv(bytes.toString())
  for (const [name, { line }] of variables) {
    const unknown = unknownSetting(name)
    if (unknown !== null) problems.push(`.env, line ${line}: ${unknown}`)
  }
  const byLine = problems.toSorted(new Intl.Collator('en', { numeric: true }).compare)
  if (problems.length > 0) throw new SetupError(byLine.join('\n'))
  const ofFile = Object.fromEntries([...variables].map(([name, { value }]) => [name, value]))
  // A variable that Kubernetes or Docker wrote does not replace a line of the file.
  const own = Object.entries(process.env).filter(
    ([name, value = '']) => !(name in ofFile && isServiceLink(name, value, process.env))
  )
  return { ...ofFile, ...Object.fromEntries(own) }
}

/** Gives the thread pool more threads than there are hashes at once (cores − 1), so that files and DNS do not wait. Called at the start of a process. */
export function sizeThreadPool(): void {
  process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, availableParallelism()))
}

/** Returns the table of settings in Markdown, for the documentation. */
export function settingsTable(): string {
  const rows = properties.map(([name, schema]) => {
    const fallback =
      schema.shown ??
      (Array.isArray(schema.default)
        ? 'none'
        : `\`${schema.default}\`${schema.unit === undefined ? '' : ` ${schema.unit}`}`)
    return `| \`${variable(name)}\` | ${schema.description} | ${allowed(schema).replaceAll('|', '\\|')} | ${fallback} |`
  })
  return ['| Variable | Meaning | Allowed | Default |', '| --- | --- | --- | --- |', ...rows].join('\n')
}
