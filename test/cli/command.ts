import { PassThrough, Readable } from 'node:stream'
import { run } from '../../src/cli.ts'
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
