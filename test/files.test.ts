import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { loadConfig } from '../src/config.ts'
import { SetupError } from '../src/domain/errors.ts'
import {
  adminPasswordFile,
  createAdminPassword,
  createSealingKey,
  findSealingKey,
  getSealingKey,
  removeAdminPassword
} from '../src/files.ts'
import type { Config } from '../src/settings.ts'

const KEY = Buffer.alloc(32, 7)

function newDirectory(t: Test): { dataDir: string; config: Config } {
  const dataDir = join(mkdtempSync(join(tmpdir(), 'latchkey-')), 'deep', 'er')
  t.teardown(() => rmSync(join(dataDir, '../..'), { recursive: true, force: true }))
  return { dataDir, config: loadConfig({ LATCHKEY_DATA_DIR: dataDir }) }
}

const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8)

t.test('the sealing key is created once, readable for its owner only, with any umask [KS3]', async (t) => {
  const { dataDir, config } = newDirectory(t)
  const file = join(dataDir, 'sealing-key')
  const umask = process.umask(0)
  try {
    createSealingKey(file)
  } finally {
    process.umask(umask)
  }
  t.equal(mode(file), '600')
  t.equal(mode(dataDir), '700')
  t.strictSame(readdirSync(dataDir), ['sealing-key'])

  const content = readFileSync(file, 'utf8')
  t.match(content, /^[A-Za-z0-9+/]{43}=\n$/)
  t.strictSame(findSealingKey(config), Buffer.from(content, 'base64'))
  createSealingKey(file)
  t.equal(readFileSync(file, 'utf8'), content)
})

t.test('two created sealing keys differ', async (t) => {
  const { dataDir } = newDirectory(t)
  const [one, two] = [join(dataDir, 'one'), join(dataDir, 'two')]
  createSealingKey(one)
  createSealingKey(two)
  t.not(readFileSync(one, 'utf8'), readFileSync(two, 'utf8'))
})

t.test('of 20 concurrent threads one creates the file, and all get its content', async (t) => {
  const { dataDir, config } = newDirectory(t)
  const script = `
    const { parentPort, workerData: { url, dataDir, waiting, go } } = require('node:worker_threads')
    import(url).then(({ createAdminPassword, createSealingKey, findSealingKey }) => {
      const sealingKeyFile = dataDir + '/sealing-key'
      Atomics.add(waiting, 0, 1)
      while (Atomics.load(go, 0) === 0) Atomics.wait(go, 0, 0, 1000)
      createSealingKey(sealingKeyFile)
      const password = createAdminPassword({ dataDir })
      parentPort.postMessage([password, Buffer.from(findSealingKey({ sealingKeyFile })).toString('base64')])
    })`
  const shared = () => new Int32Array(new SharedArrayBuffer(4))
  const [waiting, go] = [shared(), shared()]
  const workerData = { url: new URL('../src/files.ts', import.meta.url).href, dataDir, waiting, go }
  const workers = Array.from({ length: 20 }, () => new Worker(script, { eval: true, workerData }))
  const answers = workers.map((worker) => once(worker, 'message'))
  while (Atomics.load(waiting, 0) < workers.length) await sleep(5)
  Atomics.store(go, 0, 1)
  Atomics.notify(go, 0)

  const results = await Promise.all(answers)
  const [password, key] = (results[0] as [[string, string]])[0]
  for (const [result] of results) t.strictSame(result, [password, key])
  t.match(password, /^[\w-]{24}$/)
  t.equal(key, getSealingKey(config).toString('base64'))
  t.equal(readFileSync(adminPasswordFile(config), 'utf8'), `${password}\n`)
  t.strictSame(readdirSync(dataDir).toSorted(), ['admin-password', 'sealing-key'])
  for (const name of readdirSync(dataDir)) t.equal(mode(join(dataDir, name)), '600')
})

t.test('the admin’s password is kept until it is removed', async (t) => {
  const { config } = newDirectory(t)
  const file = adminPasswordFile(config)
  removeAdminPassword(config)
  const password = createAdminPassword(config)
  t.equal(createAdminPassword(config), password)
  t.equal(mode(file), '600')
  removeAdminPassword(config)
  t.equal(existsSync(file), false)
  removeAdminPassword(config)
  t.not(createAdminPassword(config), password)
})

t.test('the sealing key comes from the settings or from its file', async (t) => {
  const { dataDir } = newDirectory(t)
  const file = join(dataDir, 'key')
  const at = (env: Record<string, string>) => loadConfig({ LATCHKEY_DATA_DIR: dataDir, ...env })
  const fromFile = at({ LATCHKEY_SEALING_KEY_FILE: file })
  t.strictSame(getSealingKey(at({ LATCHKEY_SEALING_KEY: KEY.toString('base64') })), KEY)
  t.strictSame(getSealingKey(at({ LATCHKEY_SEALING_KEY: KEY.toString('base64url') })), KEY)

  t.equal(findSealingKey(fromFile), null)
  t.throws(() => getSealingKey(fromFile), {
    constructor: SetupError,
    message: `the sealing key file ${file} is missing: restore it from your backup`
  })
  t.equal(existsSync(dataDir), false, 'the search for a key creates no directory')

  mkdirSync(dataDir, { recursive: true })
  for (const content of [KEY.toString('base64'), ` ${KEY.toString('base64')}\r\n`, KEY.toString('base64url')]) {
    writeFileSync(file, content)
    t.strictSame(getSealingKey(fromFile), KEY)
  }
})

t.test('a file without a valid key is refused, and the error does not contain its content', async (t) => {
  const { dataDir } = newDirectory(t)
  mkdirSync(dataDir, { recursive: true })
  const file = join(dataDir, 'key')
  const config = loadConfig({ LATCHKEY_SEALING_KEY_FILE: file })
  for (const content of [
    '',
    '\n',
    'hunter2',
    KEY.toString('hex'),
    KEY.toString('base64').slice(4),
    Buffer.alloc(33).toString('base64'),
    `${KEY.toString('base64')}\n${KEY.toString('base64')}`,
    `key: ${KEY.toString('base64').slice(4)}`,
    KEY.toString('base64').replace('BwcH', 'Bw cH!')
  ]) {
    writeFileSync(file, content)
    const refused = { constructor: SetupError, message: /^(?!.*hunter2)/s }
    t.throws(() => findSealingKey(config), refused, JSON.stringify(content))
    if (content.trim() === '')
      t.throws(() => createSealingKey(file), {
        constructor: SetupError,
        message: `the file ${file} is empty: delete it`
      })
    else createSealingKey(file)
    t.equal(readFileSync(file, 'utf8'), content, 'and left as it is')
  }
})

t.test('an error for an unreadable file names the file', async (t) => {
  const { dataDir, config } = newDirectory(t)
  mkdirSync(join(dataDir, 'sealing-key'), { recursive: true })
  t.throws(() => findSealingKey(config), {
    constructor: SetupError,
    message: new RegExp(`^the user .+ cannot read the file ${join(dataDir, 'sealing-key')} \\(EISDIR\\)$`)
  })
})

t.test('no file is left when the data directory cannot be created', async (t) => {
  const { dataDir, config } = newDirectory(t)
  mkdirSync(join(dataDir, '..'), { recursive: true })
  writeFileSync(dataDir, 'a file in place of the directory')
  t.throws(() => createAdminPassword(config))
  t.throws(() => createSealingKey(join(dataDir, 'sealing-key')))
  chmodSync(dataDir, 0o600)
  t.strictSame(readdirSync(join(dataDir, '..')), ['er'])
})
