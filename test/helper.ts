import { createPrivateKey, randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import pg from 'pg'
import type { Test } from 'tap'
import { buildApp, type Overrides } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { OPERATOR } from '../src/domain/caller.ts'
import { createSealer } from '../src/domain/sealing.ts'

import { runFirstStart } from '../src/first-start.ts'
import { TestClock } from './clock.ts'

import { assertDocumented, DOCUMENT } from './documented.ts'
import { plant, plantForAll, plantRandom, search } from './secrets.ts'

export { TestClock } from './clock.ts'
export type Database = 'sqlite' | 'postgres'
/** The databases that tests run on: without a PostgreSQL server (`npm run test:fast`) SQLite only. */
export const databases: readonly Database[] =
  process.env.TEST_POSTGRES === undefined ? ['sqlite'] : ['sqlite', 'postgres']

export const PASSWORD = 'correct horse battery staple'
export const ISSUER = 'http://localhost:3000'
const SEALING_KEY = Buffer.from('the tests seal with these bytes.')
/** An id that no user has. */
export const NOBODY = '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10'
/** A kid that no key has. */
export const NO_KEY = 'x'.repeat(43)
const ALICE = { username: 'alice', password: PASSWORD, roles: ['user'] }

/** Where the tests find what `test/run.ts` has made for them. */
function given(name: 'TEST_POSTGRES' | 'TEST_READY'): string {
  const value = process.env[name]
  if (value === undefined) throw new Error('the tests need databases that "npm test" creates: run "npm test"')
  return value
}

let server: pg.Pool | undefined

/** Makes and drops databases, over one connection of this process. */
async function admin(sql: string): Promise<void> {
  server ??= new pg.Pool({ connectionString: `${given('TEST_POSTGRES')}/postgres`, max: 1, allowExitOnIdle: true })
  await server.query(sql)
}

/** Everything in a database, as text. */
async function dump(url: string): Promise<string> {
  if (url.startsWith('sqlite:')) {
    const files = ['', '-wal'].map((suffix) => url.slice('sqlite:'.length) + suffix).filter((file) => existsSync(file))
    return files.map((file) => readFileSync(file, 'latin1')).join('')
  }
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const query = async (text: string) => (await client.query<{ line: string }>(text)).rows.map(({ line }) => line)
  const tables = await query(`select quote_ident(tablename) as line from pg_tables where schemaname = 'public'`)
  const selects = tables.map((table) => `select x::text as line from ${table} x`)
  const lines = selects.length === 0 ? [] : await query(selects.join(' union all '))
  await client.end()
  return lines.join('\n')
}

/** A new database that is gone with the test: empty, or a copy of what `makeReady` made. */
export async function createDatabase(
  t: Test,
  database: Database,
  from: 'empty' | 'ready' = 'empty'
): Promise<{ url: string; dataDir: string }> {
  const dataDir = mkdtempSync(join(tmpdir(), 'latchkey-'))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  if (database === 'sqlite') {
    const file = join(dataDir, 'latchkey.db')
    if (from === 'ready') copyFileSync(join(given('TEST_READY'), 'latchkey.db'), file)
    const url = `sqlite:${file}`
    t.teardown(async () => search('databases', t.name, await dump(url)))
    return { url, dataDir }
  }
  const name = `test_${randomBytes(8).toString('hex')}`
  await admin(`create database ${name} ${from === 'ready' ? 'template ready' : ''} strategy = file_copy`)
  t.teardown(() => admin(`drop database ${name} with (force)`))
  const url = `${given('TEST_POSTGRES')}/${name}`
  t.teardown(async () => search('databases', t.name, await dump(url)))
  return { url, dataDir }
}

/** Makes the databases that most tests begin with, once: set up, with the users `admin` and `alice` (role `user`). */
export async function makeReady(): Promise<void> {
  const dataDir = given('TEST_READY')
  const { TEST_POSTGRES: postgres } = process.env
  if (postgres !== undefined) await admin('create database ready')
  const urls = [`sqlite:${join(dataDir, 'latchkey.db')}`, ...(postgres === undefined ? [] : [`${postgres}/ready`])]
  for (const url of urls) {
    const config = loadConfig(environment({ url, dataDir }))
    const app = await buildApp(config, { clock: new TestClock(), logger: false })
    await runFirstStart(app, config, { mayCreateDatabase: true })
    await app.auth.users.create(OPERATOR, ALICE)
    writeFileSync(join(dataDir, DOCUMENT), JSON.stringify(app.swagger()))
    const sealer = createSealer(() => SEALING_KEY)
    for (const { kid, sealedPrivateKey } of await app.store.keys.list()) {
      const pem = sealer.open(sealedPrivateKey as string, `signing_keys/${kid}/private_key`)
      plantForAll([...pem.split('\n').slice(1, -2), createPrivateKey(pem).export({ format: 'jwk' }).d as string])
    }
    await app.close()
  }
  plantForAll([PASSWORD, SEALING_KEY.toString('base64')])
  if (postgres !== undefined) plantForAll([new URL(postgres).href.split('@')[0] as string])
  await server?.end()
}

/** The cheapest hashes that are allowed. */
export const CHEAP_HASHES = { LATCHKEY_ARGON2_MEMORY: '7168', LATCHKEY_ARGON2_PASSES: '1' }

/** Variables for a server on that database. */
export function environment({ url, dataDir }: { url: string; dataDir: string }): Record<string, string> {
  return {
    LATCHKEY_DATABASE_URL: url,
    LATCHKEY_DATA_DIR: dataDir,
    LATCHKEY_SEALING_KEY: SEALING_KEY.toString('base64'),
    LATCHKEY_ADMIN_PASSWORD: PASSWORD,
    LATCHKEY_THROTTLE: 'false',
    ...CHEAP_HASHES
  }
}

export interface TestApp {
  app: FastifyInstance
  clock: TestClock
  env: Record<string, string>
  inject: (options: InjectOptions) => Promise<LightMyRequestResponse>
  /** `POST /token` with a form. */
  token: (form: Record<string, string> | string, headers?: Record<string, string>) => Promise<LightMyRequestResponse>
  /** An access token got by a login, by default with the scopes of one's own account. */
  login: (username: string, scope?: string, password?: string) => Promise<string>
  /** `GET url` with that token. */
  get: (url: string, token: string) => Promise<LightMyRequestResponse>
  /** `METHOD url` with that token and, if one is given, a JSON body. */
  send: (
    token: string,
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    url: string,
    body?: object
  ) => Promise<LightMyRequestResponse>
  createUser: (username: string, roles?: string[]) => Promise<string>
}

const LEVELS: Record<string, number> = { trace: 10, debug: 20, info: 30, warn: 40, error: 50 }

/** Logs everything and searches each line for secrets. Passes on only the lines that the test wants, to the stream that the test gives. */
function watchedLog(t: Test, wanted: Overrides['logger'] = { level: 'error', stream: process.stderr }) {
  const { level = 'info', stream } = wanted || {}
  const least = LEVELS[level] as number
  return {
    level: 'trace',
    stream: {
      write(line: string) {
        search('log lines', t.name, line)
        if (wanted !== false && JSON.parse(line).level >= least) stream?.write(line)
      }
    }
  }
}

/** The fields of a request in which secrets are. */
function secretsOf({ payload, headers }: InjectOptions): unknown[] {
  const form = typeof payload === 'string' ? Object.fromEntries(new URLSearchParams(payload)) : payload
  const { password, client_secret, current_password, new_password } = (form ?? {}) as Record<string, unknown>
  const [, credentials] =
    /^(?:Basic |Bearer [\w-]+\.[\w-]+\.)([\w+/=-]{40,})$/.exec(String(headers?.authorization)) ?? []
  return [password, client_secret, current_password, new_password, credentials]
}

/** The random secrets of a sign-in, in the form of a request. */
function randomSecretsOf({ payload }: InjectOptions): unknown[] {
  const { code, code_verifier } = typeof payload === 'string' ? Object.fromEntries(new URLSearchParams(payload)) : {}
  return [code, code_verifier]
}

/**
 * Checks that no answer holds a secret, except the one that was requested. With the settings of `environment`
 * (`hasUsualSettings`) also checks that the OpenAPI document describes each answer.
 */
function watchAnswers(t: Test, app: FastifyInstance, hasUsualSettings: boolean): void {
  const inject = app.inject.bind(app) as (options: InjectOptions) => Promise<LightMyRequestResponse>
  const watched = async (options: InjectOptions): Promise<LightMyRequestResponse> => {
    plant(...secretsOf(options))
    plantRandom(...randomSecretsOf(options))
    const response = await inject(options)
    const { statusCode, headers, body } = response
    const { method = 'GET', url = '/' } = options
    const gives = [200, 201].includes(statusCode) && method === 'POST' && /^\/(token|clients)/.test(String(url))
    const given = gives ? response.json() : {}
    const { access_token: token = '', refresh_token: refreshToken = '', client_secret: secret = '' } = given
    // A cookie and a form token are given to the browser that has them.
    const { 'set-cookie': _, ...others } = headers
    const page = body.replaceAll(/name="form_token" value="[^"]*"/g, '')
    const text = JSON.stringify(others) + page.replace(token, '').replace(refreshToken, '').replace(secret, '')
    search('answers', `${t.name}: ${method} ${String(url).split('?')[0]}`, text)
    plant(token.split('.')[2], refreshToken, secret)
    if (hasUsualSettings) assertDocumented(method, String(url), response)
    return response
  }
  app.inject = watched as FastifyInstance['inject']
}

/** The real program on a database of its own, with the users `admin` and `alice` (role `user`), both with `PASSWORD`. */
export async function build(
  t: Test,
  {
    database = 'sqlite',
    env: extra = {},
    at,
    ...overrides
  }: Overrides & { database?: Database; env?: Record<string, string>; at?: { url: string; dataDir: string } } = {}
): Promise<TestApp> {
  const canCopy = Object.keys({ ...extra, ...overrides }).every((name) => name === 'logger')
  const env = { ...environment(at ?? (await createDatabase(t, database, canCopy ? 'ready' : 'empty'))), ...extra }
  const config = loadConfig(env)
  const clock = new TestClock()
  const app = await buildApp(config, { clock, ...overrides, logger: watchedLog(t, overrides.logger) })
  watchAnswers(t, app, Object.keys(extra).length === 0)
  t.teardown(() => app.close())
  const { seedStored } = await runFirstStart(app, config, { mayCreateDatabase: true })

  const token: TestApp['token'] = (form, headers = {}) =>
    app.inject({
      method: 'POST',
      url: '/token',
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      payload: typeof form === 'string' ? form : new URLSearchParams(form).toString()
    })
  const createUser: TestApp['createUser'] = async (username, roles = ['user']) =>
    (await app.auth.users.create(OPERATOR, { username, password: PASSWORD, roles })).id
  if (seedStored) await app.auth.users.create(OPERATOR, ALICE)

  return {
    app,
    clock,
    env,
    inject: (options) => app.inject(options),
    token,
    login: async (username, scope = 'profile email account', password = PASSWORD) =>
      (await token({ grant_type: 'password', username, password, scope })).json().access_token,
    get: (url, bearer) => app.inject({ method: 'GET', url, headers: { authorization: `Bearer ${bearer}` } }),
    send: (bearer, method, url, body) =>
      app.inject({
        method,
        url,
        headers: { authorization: `Bearer ${bearer}` },
        ...(body === undefined ? {} : { payload: body })
      }),
    createUser
  }
}

/** One test for each database. */
export function onEachDatabase(t: Test, name: string, run: (t: Test, database: Database) => Promise<void>): void {
  for (const database of databases) t.test(`${name} (${database})`, (sub) => run(sub, database))
}

/** One test, on SQLite. A route behaves the same on both databases: test/store promises that. */
export function onOneDatabase(t: Test, name: string, run: (t: Test, database: Database) => Promise<void>): void {
  t.test(name, (sub) => run(sub, 'sqlite'))
}

/** `METHOD /path` of every route, from the router's own tree. */
export function routesOf(app: FastifyInstance): string[] {
  const parents: string[] = []
  return app
    .printRoutes({ commonPrefix: false })
    .split('\n')
    .flatMap((line) => {
      const [, indent = '', part = '', methods = ''] = /^(.*?)[├└]── (\S+) \((.*)\)$/.exec(line) ?? []
      const depth = indent.length / 4
      const path = (parents[depth - 1] ?? '') + part
      parents[depth] = path
      return methods === '' ? [] : methods.split(', ').map((method) => `${method} ${path}`)
    })
}
