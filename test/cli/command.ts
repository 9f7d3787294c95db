import { PassThrough, Readable } from 'node:stream'
import type { Test } from 'tap'
import { run } from '../../src/cli.ts'
import { createDatabase, type Database, environment } from '../helper.ts'
import { search } from '../secrets.ts'

/** `serve` listens for these, to end the process. */
const ENDS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'uncaughtException', 'unhandledRejection']

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

/** Runs a command line in this process. @param stdin a text is all of the standard input */
export async function command(
  env: Record<string, string>,
  args: string[],
  stdin: string | Buffer | Readable = ''
): Promise<Outcome> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const input = stdin instanceof Readable ? stdin : Readable.from([Buffer.from(stdin)])
  const before = ENDS.map((name) => process.listeners(name as NodeJS.Signals))
  const code = await run(args, { stdin: input, stdout, stderr, env: () => env })
  for (const [index, name] of ENDS.entries())
    for (const listener of process.listeners(name as NodeJS.Signals))
      if (!before[index]?.includes(listener)) process.off(name, listener)
  const text = (stream: PassThrough) => String(stream.read() ?? '')
  const outcome = { code, stdout: text(stdout), stderr: text(stderr) }
  search('outputs', args.join(' '), outcome.stdout + outcome.stderr)
  return outcome
}

/** The standard input of a terminal on which somebody types. */
export function keyboard(typed: string) {
  let raw = false
  const stream = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode(mode: boolean) {
      raw = mode
    }
  })
  stream.write(typed)
  return { stream, isRaw: () => raw }
}

/** The outcome of a command that did its work. */
export const done = (stdout: string): Outcome => ({ code: 0, stdout, stderr: '' })
/** The outcome of a command that the domain refused, with one line. */
export const refused = (line: string): Outcome => ({ code: 1, stdout: '', stderr: `${line}\n` })
/** The outcome of a command that was used wrongly. */
export const wrong = (stderr: string): Outcome => ({ code: 2, stdout: '', stderr })

/** A database with the client of /docs, and the commands `latchkey client …` on it. */
export async function clientTerminal(t: Test, database: Database = 'sqlite') {
  const at = await createDatabase(t, database, 'ready')
  const env = environment(at)
  const client = (args: string[], stdin?: Parameters<typeof command>[2]) => command(env, ['client', ...args], stdin)
  return {
    client,
    dataDir: at.dataDir,
    /** Runs a command that must succeed, and returns its JSON output. */
    json: async (...args: string[]) => {
      const { code, stdout, stderr } = await client([...args, '--json'])
      t.strictSame([code, stderr], [0, ''], args.join(' '))
      return JSON.parse(stdout)
    }
  }
}
