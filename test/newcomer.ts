import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Test } from 'tap'
import { freePort, fresh, serve } from './cli/process.ts'
import { plant, search } from './secrets.ts'

/** Returns the code blocks of a Markdown file in one language. */
export const blocks = (file: string, language: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].flatMap(([, tag, code = '']) =>
    tag === language ? [code] : []
  )

/** Returns the only code block that holds a text. @throws Error when there is none, or more than one */
export function block(file: string, language: string, holds: string): string {
  const [found, ...more] = blocks(file, language).filter((code) => code.includes(holds))
  if (found === undefined || more.length > 0) throw new Error(`${file} does not have exactly one block with ${holds}`)
  return found
}

/** The secret with which the host app of the guide signs its own tokens. */
export const COOKIE_SECRET = 'only for tests: cookies'

/** The source of the service in README.md. */
export const SERVICE = block('README.md', 'js', "'latchkey-guard'")

/** The part of the environment that programs share with the tests. */
const SHARED = { PATH: process.env.PATH, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE }

interface Circumstances {
  cwd?: string
  env?: Record<string, string | undefined>
  /** The complete standard input. */
  input?: string
}

/**
 * Runs a program to its end, without the environment of tap, and returns everything that it printed.
 * @throws Error with the output when the exit code is not 0
 */
export async function run(file: string, args: string[], { cwd, env, input = '' }: Circumstances = {}): Promise<string> {
  const child = spawn(file, args, { cwd, env: { ...SHARED, ...env } })
  const ended = new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
  child.stdin.on('error', () => {}) // the program may exit before it reads
  child.stdin.end(input)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  if ((await ended) !== 0) throw new Error(`${args.at(-1)}\n${output}`)
  return output
}

/** Arguments of Node.js that resolve the names of the published packages to this clone. */
const PUBLISHED = ['--import', resolve('test/published.ts')]

/** Runs a program that imports the published packages, see `run`. @throws Error */
export const runPublished = (args: string[], circumstances?: Circumstances): Promise<string> =>
  run(process.execPath, [...PUBLISHED, ...args], circumstances)

export interface Program {
  output(): string
  /** The exit code, once the program has ended. */
  ended: Promise<number | null>
  /** Ends the program with SIGTERM and returns its exit code. */
  stop(): Promise<number | null>
}

/**
 * Starts a program that imports the published packages, and waits until its output holds all texts. The end of the test kills it.
 * @throws Error with the output when the program exits before
 */
export async function startPublished(
  t: Test,
  args: string[],
  { env, awaited }: { env: Record<string, string>; awaited: string[] }
): Promise<Program> {
  const child = spawn(process.execPath, [...PUBLISHED, ...args], { env: { ...SHARED, ...env } })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  let output = ''
  const ready = new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        output += chunk
        if (awaited.every((text) => output.includes(text))) resolve()
      })
  })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
    search('outputs', args.join(' ').slice(0, 80), output)
  })
  await Promise.race([ready, ended.then(() => Promise.reject(new Error(output)))])
  return {
    output: () => output,
    ended,
    stop() {
      child.kill('SIGTERM')
      return ended
    }
  }
}

/** A Latchkey that was prepared as README.md says under "Protect a service", with other ports. */
export interface Newcomer {
  latchkey: string
  /** The URL at which the service must listen. */
  service: string
  /** The password of the admin. */
  password: string
  /** The secret of the client `orders-api`. */
  secret: string
  /** Replaces the ports in a text of the documentation. */
  atPorts(text: string): string
  /** Runs commands of the documentation in a shell and returns the output. @param input the complete standard input */
  type(lines: string, input?: string): Promise<string>
  /** Starts a service of the documentation and waits until it has read the revocation log. @param source its code */
  start(source: string): Promise<Program>
}

/** Starts Latchkey and runs the commands of README.md that come before the service. */
export async function followReadme(t: Test): Promise<Newcomer> {
  const { dir, env } = await fresh(t)
  const { origin: latchkey } = await serve(t, env)
  const password = readFileSync(join(dir, 'admin-password'), 'utf8').trim()
  plant(password)
  const service = `http://localhost:${await freePort()}`
  const atPorts = (text: string) =>
    text
      .replaceAll('http://localhost:3000', latchkey)
      .replaceAll('http://localhost:4000', service)
      .replaceAll('port: 4000', `port: ${new URL(service).port}`)
  const settings = { ...env, LATCHKEY_ISSUER: latchkey }
  const npx = `npx() { shift; "${process.execPath}" "${resolve('src/cli.ts')}" "$@"; }`
  const type: Newcomer['type'] = (lines, input = '') =>
    run('sh', ['-ec', `${npx}\n${atPorts(lines)}`], { cwd: dirname(dir), env: settings, input })

  const [secret = ''] = /lks_\S+/.exec(await type(block('README.md', 'sh', 'latchkey resource add'))) ?? []
  plant(secret)
  const start = (source: string) =>
    startPublished(t, ['--input-type=module', '--eval', atPorts(source)], {
      env: { SECRET: secret, COOKIE_SECRET },
      awaited: ['Server listening', 'the revocation log is being read']
    })
  return { latchkey, service, password, secret, atPorts, type, start }
}
