import { isUtf8 } from 'node:buffer'
import { createInterface } from 'node:readline'
import { type Readable, Writable } from 'node:stream'
import { loadConfig, withoutCredentials } from '../config.ts'
import { openCore } from '../core.ts'
import { SetupError } from '../domain/errors.ts'
import type { Auth } from '../domain/index.ts'
import type { Paged } from '../domain/pages.ts'
import type { Page } from '../domain/ports/page.ts'
import { explainAccess } from '../files.ts'
import { printable, printableLine } from '../printable.ts'

/** The streams and the environment of a process. Tests replace them. */
export interface Streams {
  readonly stdin: Readable & { isTTY?: boolean }
  readonly stdout: Writable
  readonly stderr: Writable
  readonly env: () => Record<string, string | undefined>
}

/** Receives text, in which it escapes what a terminal would execute. */
export interface Output {
  write(text: string): void
}

/** The streams of a command. */
export interface Terminal {
  readonly stdin: Streams['stdin']
  /** For the result only. */
  readonly stdout: Output
  readonly stderr: Output
  /** Receives what `readline` echoes, with the sequences that move the cursor. */
  readonly echo: Writable
  readonly env: Streams['env']
}

const escaping = (stream: Writable): Output => ({ write: (text) => void stream.write(printable(text)) })

/** Returns the streams of a command. Every text for a person passes through them, so no command can print an unescaped one. */
export const createTerminal = (streams: Streams): Terminal => ({
  // A getter, so that standard input is opened only by commands that read it.
  get stdin() {
    return streams.stdin
  },
  stdout: escaping(streams.stdout),
  stderr: escaping(streams.stderr),
  echo: streams.stderr,
  env: streams.env
})

/** The option of the commands that can print their result as JSON. */
export interface Json {
  json?: true
}

/** An error that ends a command without a stack trace. The message is one line for the operator. */
export class Refusal extends Error {
  readonly exitCode: 1 | 2

  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message)
    this.name = 'Refusal'
    this.exitCode = exitCode
  }
}

/**
 * Opens the database of the settings and runs a function on the domain. Servers may use the database at the same time.
 * @throws SetupError when the database is not ready
 */
export async function withAuth<T>({ env }: Terminal, run: (auth: Auth) => Promise<T>): Promise<T> {
  const config = loadConfig(env())
  const app = await openCore(config)
  try {
    if ((await app.store.schema()) === null) {
      const where = withoutCredentials(config.databaseUrl)
      throw new SetupError(
        `the database ${where} is not set up: give the settings of the service (LATCHKEY_DATA_DIR, LATCHKEY_DATABASE_URL), or run "latchkey migrate" to create a new database`
      )
    }
    await app.auth.assertReady()
    return await run(app.auth)
  } catch (error) {
    throw explainAccess(error, config)
  } finally {
    await app.close()
  }
}

/** Returns the items of all pages of a list. */
export async function everyPage<T>(list: (page: Page) => Promise<Paged<T>>): Promise<T[]> {
  const all: T[] = []
  let after: string | null = null
  do {
    const { items, next } = await list({ after, limit: 200 })
    all.push(...items)
    after = next
  } while (after !== null)
  return all
}

/**
 * Asks questions on the terminal and returns one line for each question.
 * @param echo whether the terminal shows the answers
 * @throws Refusal on Ctrl-C and Ctrl-D
 */
async function ask({ stdin, stderr, echo: visible }: Terminal, questions: string[], echo: boolean): Promise<string[]> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: stdin, output: echo ? visible : silent, terminal: true, historySize: 0 })
  // One iterator for all questions keeps a second line that was pasted together with the first line.
  const typed = lines[Symbol.asyncIterator]()
  const answers: string[] = []
  try {
    for (const question of questions) {
      stderr.write(question)
      const { value, done } = await typed.next()
      if (!echo || done) stderr.write('\n')
      if (done) throw new Refusal('interrupted, nothing was changed')
      answers.push(value)
    }
  } finally {
    lines.close()
  }
  return answers
}

/** Reading stops after this number of bytes. A line cut there is still longer than every password, so it is refused. */
const LINE_BYTES_MAX = 4096

async function firstLine(stdin: Readable): Promise<string> {
  let bytes = Buffer.alloc(0)
  for await (const chunk of stdin) {
    bytes = Buffer.concat([bytes, Buffer.from(chunk)])
    if (bytes.includes('\n') || bytes.length > LINE_BYTES_MAX) break
  }
  const end = bytes.indexOf('\n')
  const line = end < 0 ? bytes : bytes.subarray(0, end)
  if (!isUtf8(line)) throw new Refusal('the password is not UTF-8')
  return line.toString().replace(/^\u{feff}|\r$/gu, '')
}

/** Reads a new password. On a terminal it asks twice and does not show the input. Otherwise it reads the first line of standard input. */
export async function readPassword(terminal: Terminal, minLength: number): Promise<string> {
  const typed = terminal.stdin.isTTY
    ? await ask(terminal, [`New password (at least ${minLength} characters): `, 'Repeat the password: '], false)
    : [await firstLine(terminal.stdin)]
  const [password = '', again = password] = typed
  if (again !== password) throw new Refusal('the two passwords differ, nothing was changed')
  if (password === '') throw new Refusal('the password is empty, nothing was changed')
  return password
}

/** Asks the operator to type a name before something is deleted or revoked. @param yes skips the question @throws Refusal for another name */
export async function confirm(terminal: Terminal, name: string, yes: true | undefined): Promise<void> {
  if (yes) return
  if (!terminal.stdin.isTTY) throw new Refusal('there is no terminal to ask on: add --yes to confirm', 2)
  const [answer] = await ask(terminal, [`Type ${name} again to confirm: `], true)
  if (answer !== name) throw new Refusal('the names differ, nothing was changed')
}

/** Returns the rows as lines, with aligned columns. */
export function table(lines: string[][]): string {
  const rows = lines.map((cells) => cells.map(printableLine))
  const width = (text: string) => [...text].length
  const widths: number[] = []
  for (const row of rows)
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, width(cell))
  return rows
    .map((row) => row.map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - width(cell))).join('  '))
    .map((line) => line.trimEnd())
    .join('\n')
}

/** Prints the result of a command: with `--json` the value as one JSON document, else the text. */
export function print({ stdout }: Terminal, json: true | undefined, value: unknown, text: string): void {
  stdout.write(`${json ? JSON.stringify(value, null, 2) : text}\n`)
}
