import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Test } from 'tap'
import { freePort, fresh, serve } from './cli/process.ts'
import { plant, search } from './secrets.ts'

/** The code blocks in a language of a Markdown file. */
export const blocks = (file: string, language: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].flatMap(([, tag, code = '']) =>
    tag === language ? [code] : []
  )

/** The only one with that in it. @throws Error */
export function block(file: string, language: string, holds: string): string {
  const [found, ...more] = blocks(file, language).filter((code) => code.includes(holds))
  if (found === undefined || more.length > 0) throw new Error(`${file} has not one block with ${holds}`)
  return found
}

/** What a host signs its own tokens with. */
export const COOKIE_SECRET = 'only for tests: cookies'

/** The service that README.md shows. */
export const SERVICE = block('README.md', 'js', "'latchkey-guard'")

interface Circumstances {
  cwd?: string
  env?: Record<string, string | undefined>
  /** All of its standard input. */
  input?: string
}

/** Runs a program to its end, without what tap tells its children; what it printed. @throws Error when it fails */
export async function run(file: string, args: string[], { cwd, env, input = '' }: Circumstances = {}): Promise<string> {
  const child = spawn(file, args, { cwd, env: { PATH: process.env.PATH, ...env } })
  const ended = new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
  child.stdin.on('error', () => {}) // it may end before it has read
  child.stdin.end(input)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  if ((await ended) !== 0) throw new Error(`${args.at(-1)}\n${output}`)
  return output
}

/** For Node.js: the published names are known. */
const PUBLISHED = ['--import', resolve('test/published.ts')]

/** Runs a program that imports published names to its end. @throws Error when it fails */
export const runPublished = (args: string[], circumstances?: Circumstances): Promise<string> =>
  run(process.execPath, [...PUBLISHED, ...args], circumstances)

export interface Program {
  output(): string
  /** Ends it by SIGTERM; its exit code. */
  stop(): Promise<number | null>
}

/** Starts a program that imports published names, and waits until it has said that; it does not outlive the test. */
export async function startPublished(
  t: Test,
  args: string[],
  env: Record<string, string>,
  said: string
): Promise<Program> {
  const child = spawn(process.execPath, [...PUBLISHED, ...args], { env: { PATH: process.env.PATH, ...env } })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  let output = ''
  const ready = new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => (output += chunk).includes(said) && resolve())
  })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
    search('outputs', args.join(' ').slice(0, 80), output)
  })
  await Promise.race([ready, ended.then(() => Promise.reject(new Error(output)))])
  return {
    output: () => output,
    stop() {
      child.kill('SIGTERM')
      return ended
    }
  }
}

/** Somebody who does what README.md says under "Protect your own service", at ports of their own. */
export interface Newcomer {
  latchkey: string
  /** Where the service is to be. */
  service: string
  /** The admin's. */
  password: string
  /** The one of the client `orders-api`. */
  secret: string
  /** A text of the documentation at these ports. */
  atPorts(text: string): string
  /** Types that into a shell; what it printed. @param input all of its standard input */
  type(lines: string, input?: string): Promise<string>
  /** Starts a service of the documentation. */
  start(source: string): Promise<Program>
}

/** Starts Latchkey and types what README.md says before the service is started. */
export async function followReadme(t: Test): Promise<Newcomer> {
  const { dir, ...env } = await fresh(t)
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
    startPublished(
      t,
      ['--input-type=module', '--eval', atPorts(source)],
      { SECRET: secret, COOKIE_SECRET },
      'Server listening'
    )
  return { latchkey, service, password, secret, atPorts, type, start }
}
