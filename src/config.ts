import { existsSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { FormatRegistry, type TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { SetupError } from './domain/errors.ts'
import { parseUsername } from './domain/usernames.ts'
import { isIssuer } from './guard/metadata.ts'
import { PASSWORD_BYTES_MAX } from './limits.ts'
import { type Config, Settings } from './settings.ts'

const PREFIX = 'LATCHKEY_'

const url = (text: string): URL | null => (URL.canParse(text) ? new URL(text) : null)

function isNetwork(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/')
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  return bits > 0 && more.length === 0 && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
}

FormatRegistry.Set('issuer', (text) => isIssuer(text, { insecureHttp: true }))
FormatRegistry.Set('network', isNetwork)
FormatRegistry.Set('origin', (text) => /^https?:/.test(text) && url(text)?.origin === text)
FormatRegistry.Set(
  'database',
  (text) => /^sqlite:.+/.test(text) || (/^postgres(ql)?:\/\/./.test(text) && URL.canParse(text))
)
FormatRegistry.Set(
  'password',
  (text) => [...text].length >= 8 && Buffer.byteLength(text.normalize('NFC')) <= PASSWORD_BYTES_MAX
)
FormatRegistry.Set('username', (text) => parseUsername(text) !== null)
FormatRegistry.Set('key', (text) => /^[\w+/-]{43}=?$/.test(text))

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
  if (schema.type !== 'integer') throw new Error(`the setting "${schema.description}" has no text of allowed values`)
  return `an integer from ${schema.minimum} to ${schema.maximum}${schema.unit === undefined ? '' : ` ${schema.unit}`}`
}

/**
 * Reads the settings from variables, fills in the defaults and checks all values. An empty variable counts as missing.
 * @throws SetupError with one line for each problem: the variable, the expected value and the given value
 */
export function loadConfig(env: Record<string, string | undefined>): Config {
  const given = Object.entries(env).filter(
    ([name, value]) => name.startsWith(PREFIX) && value !== undefined && value !== ''
  )
  const known = new Map(properties.map(([name, schema]) => [variable(name), { name, schema }]))
  const problems = given
    .filter(([name]) => !known.has(name))
    .map(([name]) => `${name} is not a setting; "latchkey settings" lists the settings`)

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
  if (!isIssuer(config.issuer, config)) refused.add('issuer')
  for (const [name, schema] of properties.filter(([each]) => refused.has(each) && env[variable(each)])) {
    const value = schema.secret ? 'another value' : JSON.stringify(env[variable(name)])
    problems.push(`${variable(name)} must be ${allowed(schema)}; got ${value}`)
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
  if (problems.length > 0) throw new SetupError(problems.join('\n'))
  return config
}

/** Converts settings with the names of `Config` to variables. `loadConfig` checks them. */
export function toEnvironment(settings: object): Record<string, string | undefined> {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined && value !== null)
  return Object.fromEntries(given.map(([name, value]) => [variable(name), String(value)]))
}

/** Returns the variables of the process and of the file `.env` in the working directory. The process has priority. */
export function readEnvironment(): Record<string, string | undefined> {
  return { ...(existsSync('.env') ? parseEnv(readFileSync('.env', 'utf8')) : {}), ...process.env }
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
