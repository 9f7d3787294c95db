import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { prepare } from '../../src/first-start.ts'
import { openStore } from '../../src/store/index.ts'
import { build, createDatabase, environment } from '../helper.ts'
import { command } from './command.ts'
import { fresh, serve } from './process.ts'

/** A user without a name and without rights, as in many containers. */
const NOBODY_UID = 54_321

/** Runs a function as a user who may not write what others own. */
async function unprivileged<T>(run: () => Promise<T>): Promise<T> {
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(NOBODY_UID)
  try {
    return await run()
  } finally {
    if (isRoot) process.seteuid?.(0)
  }
}

function newDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-'))
  t.teardown(() => {
    chmodSync(directory, 0o700)
    rmSync(directory, { recursive: true, force: true })
  })
  chmodSync(directory, 0o755)
  return directory
}

const USER = /^the user (\S+ \(uid \d+\)|with the uid \d+) cannot write /

t.test('a directory that the user may not write is an error of one line with the user and the path', async (t) => {
  const directory = newDirectory(t)
  chmodSync(directory, 0o555)
  const dataDir = join(directory, 'data')
  for (const args of [['migrate'], ['serve']]) {
    const { code, stdout, stderr } = await unprivileged(() =>
      command({ LATCHKEY_DATA_DIR: dataDir, LATCHKEY_PORT: '0' }, args)
    )
    t.strictSame([code, stdout, stderr.split('\n').length], [1, '', 2], stderr)
    t.match(stderr, USER)
    t.match(
      stderr,
      ` cannot write ${dataDir} (EACCES): give the directory ${dataDir} to this user, or set LATCHKEY_DATA_DIR to another directory\n`
    )
  }
})

t.test('a data directory that is a file is an error of one line with the user and the path', async (t) => {
  const file = join(newDirectory(t), 'file')
  writeFileSync(file, '')
  for (const dataDir of [file, join(file, 'data')]) {
    const { code, stderr } = await command({ LATCHKEY_DATA_DIR: dataDir, LATCHKEY_PORT: '0' }, ['migrate'])
    t.strictSame([code, stderr.split('\n').length], [1, 2], stderr)
    t.match(stderr, /^the user .+ cannot read the file /)
    t.match(stderr, `${dataDir}/sealing-key (ENOTDIR)\n`)
  }
})

t.test('a data directory that the system cannot create is an error of one line, and the start ends', async (t) => {
  for (const dataDir of ['/proc/latchkey', '/proc/latchkey/data']) {
    const { code, stderr } = await command({ LATCHKEY_DATA_DIR: dataDir, LATCHKEY_PORT: '0' }, ['serve'])
    t.strictSame([code, stderr.split('\n').length], [1, 2], stderr)
    t.match(stderr, USER)
    t.match(stderr, ' cannot write /proc/latchkey (')
  }
})

t.test('a database of another user is an error of one line with the user and the path', async (t) => {
  const directory = newDirectory(t)
  const env = { LATCHKEY_DATA_DIR: join(directory, 'data'), LATCHKEY_SEALING_KEY: Buffer.alloc(32).toString('base64') }
  await command(env, ['migrate'])
  chmodSync(env.LATCHKEY_DATA_DIR, 0o555)
  chmodSync(join(env.LATCHKEY_DATA_DIR, 'latchkey.db'), 0o444)
  const { code, stderr } = await unprivileged(() => command(env, ['role', 'add', 'x']))
  t.strictSame([code, stderr.split('\n').length], [1, 2], stderr)
  t.match(stderr, USER)
  t.match(stderr, `cannot write ${env.LATCHKEY_DATA_DIR} (`)
  chmodSync(env.LATCHKEY_DATA_DIR, 0o755)
})

t.test('a data directory that the user may not enter is not a missing database', async (t) => {
  const env = {
    LATCHKEY_DATA_DIR: newDirectory(t),
    LATCHKEY_SEALING_KEY: Buffer.alloc(32).toString('base64'),
    LATCHKEY_PORT: '0'
  }
  await command(env, ['migrate'])
  chmodSync(env.LATCHKEY_DATA_DIR, 0o600)
  for (const args of [['user', 'list'], ['migrate'], ['serve']]) {
    const { code, stderr } = await unprivileged(() => command(env, args))
    t.strictSame([code, stderr.split('\n').length], [1, 2], stderr)
    t.match(stderr, USER)
    t.match(stderr, `cannot write ${env.LATCHKEY_DATA_DIR}/latchkey.db (EACCES): give the directory`)
  }
})

t.test('a second server on one database is warned of, and commands are not', async (t) => {
  const at = await createDatabase(t, 'sqlite', 'ready')
  const config = loadConfig(environment(at))
  const start = async () => {
    const lines: string[] = []
    const { app } = await build(t, {
      at,
      logger: { level: 'warn', stream: { write: (line) => void lines.push(JSON.parse(line).msg) } }
    })
    await prepare(app, config)
    return { app, warnings: lines.filter((line) => line.startsWith('another server')) }
  }
  const first = await start()
  t.strictSame(first.warnings, [])
  const file = config.databaseUrl.slice('sqlite:'.length)
  const warning = `another server uses the database ${file}: both wait for each other at every write. Several servers need PostgreSQL`
  const second = await start()
  t.strictSame(second.warnings, [warning])
  t.match(await command(environment(at), ['role', 'add', 'support']), { code: 0, stderr: '' })
  t.equal(statSync(`${file}-server`).mode & 0o777, 0o600)
  await first.app.close()
  const third = await start()
  t.strictSame(third.warnings, [warning], 'the second one still runs')
  await Promise.all([second.app.close(), third.app.close()])
  t.strictSame((await start()).warnings, [])
})

t.test('the mark of a server ends with its process, also after SIGKILL', async (t) => {
  const { dir, env } = await fresh(t)
  const server = await serve(t, env)
  const claim = async () => {
    const store = await openStore(`sqlite:${dir}/latchkey.db`, { record: () => {} })
    const isOnly = await store.claimServer()
    await store.close()
    return isOnly
  }
  t.equal(await claim(), false)
  server.process.kill('SIGKILL')
  await server.exited
  t.ok(existsSync(`${dir}/latchkey.db-server`))
  t.equal(await claim(), true)
})
