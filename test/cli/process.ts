import { type ChildProcess, spawn } from 'node:child_process'
import { type Agent, get as httpGet } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { CHEAP_HASHES, createDatabase } from '../helper.ts'
import { plant, search } from '../secrets.ts'

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface Running {
  process: ChildProcess
  /** The URL of the server. */
  origin: string
  /** Returns the output so far. */
  output: () => { stdout: string; stderr: string }
  exited: Promise<Exit>
}

/**
 * Starts a command. The end of the test process kills it.
 * @param input the complete standard input
 * @param setup a shell command that runs first, for example `ulimit -f 400`
 */
export function launch(args: string[], env: Record<string, string>, input = '', setup = ':') {
  const { PATH, NODE_COMPILE_CACHE } = process.env
  const child = spawn('sh', ['-c', `${setup} && exec "$0" "$@"`, process.execPath, 'src/cli.ts', ...args], {
    env: { PATH, NODE_COMPILE_CACHE, ...env }
  })
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  child.once('close', () => process.off('exit', kill))
  child.stdin.on('error', () => {}) // it may end before it has read
  child.stdin.end(input)
  const output = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk) => (output.stdout += chunk))
  child.stderr.on('data', (chunk) => (output.stderr += chunk))
  plant(env.LATCHKEY_SEALING_KEY, env.LATCHKEY_ADMIN_PASSWORD)
  const exited = new Promise<Exit>((resolve) =>
    child.on('close', (code, signal) => {
      search('outputs', args.join(' '), output.stdout + output.stderr)
      resolve({ code, signal, ...output })
    })
  )
  return { child, output, exited }
}

/** Waits until a server has printed its greeting. @throws Error with its standard error when it exits before */
export async function greeted({ child, output, exited }: ReturnType<typeof launch>): Promise<void> {
  const done = new Promise<void>((resolve) => {
    child.stderr.on('data', () => output.stderr.endsWith('\n\n') && resolve())
  })
  await Promise.race([done, exited.then(({ stderr }) => Promise.reject(new Error(stderr)))])
}

/** Runs a command to its end. */
export const run = (args: string[], env: Record<string, string> = {}, input = ''): Promise<Exit> =>
  launch(args, env, input).exited

/** A port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address() as { port: number }
  await new Promise((resolve) => probe.close(resolve))
  return port
}

/** Starts a server and waits for its greeting. The end of the test kills it. @param setup see `launch` */
export async function serve(t: Test, env: Record<string, string>, setup?: string): Promise<Running> {
  const port = env.LATCHKEY_PORT || String(await freePort())
  const { child, output, exited } = launch(
    ['serve'],
    { LATCHKEY_LOG_LEVEL: 'warn', ...env, LATCHKEY_PORT: port },
    '',
    setup
  )
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  await greeted({ child, output, exited })
  return { process: child, origin: `http://localhost:${port}`, output: () => ({ ...output }), exited }
}

/** Sends a request on a connection of the agent. Returns `ok` for 200, another status, or the code of the error. */
export const ask = (agent: Agent, url: string, headers: Record<string, string>) =>
  new Promise<string>((resolve) => {
    const request = httpGet(url, { agent, headers }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode === 200 ? 'ok' : String(response.statusCode)))
      response.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    })
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })

export async function login(
  origin: string,
  username: string,
  password: string,
  scope = 'profile account'
): Promise<string> {
  const body = new URLSearchParams({ grant_type: 'password', username, password, scope })
  const response = await fetch(`${origin}/token`, { method: 'POST', body })
  const answer = (await response.json()) as { access_token: string }
  plant(password, ...(answer.access_token ?? '').split('.').slice(2))
  search('answers', '/token', JSON.stringify({ ...answer, access_token: '' }))
  if (response.status !== 200) throw new Error(JSON.stringify(answer))
  return answer.access_token
}

export async function me(origin: string, token: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${origin}/users/me`, { headers: { authorization: `Bearer ${token}` } })
  const body = (await response.json()) as Record<string, unknown>
  search('answers', '/users/me', JSON.stringify(body))
  return { status: response.status, body }
}

/** Returns the settings of a first start: a data directory that does not exist yet, `dir`, and cheap hashes. */
export async function fresh(t: Test) {
  const dir = join((await createDatabase(t, 'sqlite')).dataDir, 'data')
  return { dir, env: { LATCHKEY_DATA_DIR: dir, ...CHEAP_HASHES } }
}
