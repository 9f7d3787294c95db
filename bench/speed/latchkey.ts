import { type ChildProcess, spawn } from 'node:child_process'
import { freePort } from '../../test/cli/process.ts'
import { ask, request } from './load.ts'
import type { Ready } from './shared.ts'

export interface Latchkey extends Ready {
  child: ChildProcess
  clientSecret: string
  /** Starts a second process on the same database. Returns it with its port. */
  startBeside(): Promise<{ child: ChildProcess; port: number }>
}

export const PASSWORD = 'a password for a bench only'
export const CLIENT_ID = 'bench'
const REFRESH_TOKENS = 64
/** Scopes of the user's tokens for Latchkey's own API. */
const SCOPES = ['profile', 'email']

interface Place {
  databaseUrl: string
  dataDir: string
  /** Command and arguments that run Latchkey with pinned CPUs. */
  command: string[]
}

/** Runs a command of Latchkey and returns its standard output. @throws Error with its standard error */
function run(
  [file = '', ...fixed]: string[],
  args: string[],
  env: Record<string, string>,
  input = ''
): Promise<string> {
  const child = spawn(file, [...fixed, ...args], { env: { ...process.env, ...env } })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  child.stdin.end(input)
  return new Promise((resolve, reject) =>
    child.once('close', (code) => (code === 0 ? resolve(stdout) : reject(new Error(`${args.join(' ')}: ${stderr}`))))
  )
}

/** Starts a server and waits for its greeting. */
export async function serve([file = '', ...fixed]: string[], env: Record<string, string>): Promise<ChildProcess> {
  const child = spawn(file, [...fixed, 'serve'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe']
  })
  process.once('exit', () => child.kill('SIGKILL'))
  let stderr = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (chunk) => (stderr += chunk).endsWith('\n\n') && resolve())
    child.once('close', () => reject(new Error(stderr)))
  })
  return child
}

/** The settings of a server in its own directory. */
function settings({ databaseUrl, dataDir }: Place, port: number): Record<string, string> {
  return {
    LATCHKEY_PORT: String(port),
    LATCHKEY_DATABASE_URL: databaseUrl,
    LATCHKEY_DATA_DIR: dataDir,
    LATCHKEY_ADMIN_PASSWORD: PASSWORD,
    LATCHKEY_SEALING_KEY: Buffer.alloc(32, 7).toString('base64'),
    LATCHKEY_ACCESS_TOKEN_TTL: '3600',
    MALLOC_ARENA_MAX: '1'
  }
}

export const basicOf = (secret: string) => `Basic ${Buffer.from(`${CLIENT_ID}:${secret}`, 'latin1').toString('base64')}`

/** Logs alice in and returns the parsed token response. */
export async function logIn(port: number, secret: string, scope?: string): Promise<Record<string, string>> {
  const form = {
    grant_type: 'password',
    username: 'alice',
    password: PASSWORD,
    ...(scope === undefined ? {} : { scope })
  }
  return JSON.parse(
    await ask(port, request('/token', { method: 'POST', headers: { authorization: basicOf(secret) }, form }))
  )
}

/** Sets Latchkey up with a service, a client and a user, starts it, and logs the user in once for each connection. */
export async function startLatchkey(place: Place): Promise<Latchkey> {
  const port = await freePort()
  const env = settings(place, port)
  const command = (args: string[], input = '') => run(place.command, args, env, input)
  await command(['migrate'])
  const added = await command([
    ...['client', 'add', 'Bench', '--id', CLIENT_ID, '--first-party', '--json'],
    ...['--grant', 'password', 'refresh_token', 'client_credentials'],
    ...['--scope', ...SCOPES, 'tokens:introspect']
  ])
  await command([
    'resource',
    'add',
    'orders',
    'http://localhost:4000',
    '--scope',
    'orders:read=See orders',
    '--introspect',
    CLIENT_ID
  ])
  await command(['client', 'set', CLIENT_ID, '--scope', ...SCOPES, 'tokens:introspect', 'orders:read'])
  await command(['role', 'add', 'clerk', '--scope', 'orders:read', 'profile', 'email'])
  for (const name of ['alice', 'bob'])
    await command(['user', 'add', name, '--email', `${name}@example.com`, '--role', 'clerk'], PASSWORD)
  const { client_secret: clientSecret } = JSON.parse(added)
  const child = await serve(place.command, env)
  const tokens = []
  for (let count = 0; count < REFRESH_TOKENS; count++) tokens.push(await logIn(port, clientSecret, SCOPES.join(' ')))
  return {
    port,
    child,
    clientSecret,
    async startBeside() {
      const other = await freePort()
      const beside = { ...settings(place, other), LATCHKEY_ISSUER: `http://localhost:${port}` }
      return { child: await serve(place.command, beside), port: other }
    },
    accessToken: tokens[0]?.access_token as string,
    refreshTokens: tokens.map((token) => token.refresh_token as string)
  }
}
