import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import t from 'tap'
import { withSettings } from '../../docs/settings.ts'
import { command } from './command.ts'
import { fresh, serve } from './process.ts'

const ONLY_LINUX = { skip: process.platform !== 'linux' && 'other systems have one priority for all threads' }

t.test('port 0 selects a free port, the issuer contains it, and the log names ignored variables', async (t) => {
  const { env } = await fresh(t)
  const { output } = await serve(t, { ...env, LATCHKEY_PORT: '0', LATCHKEY_SERVICE_HOST: '10.0.0.1' })
  const [, address] = /address +(http:\/\/localhost:\d+)\n/.exec(output().stderr) ?? []
  const metadata = await (await fetch(`${address}/.well-known/oauth-authorization-server`)).json()
  t.match(metadata, { issuer: address, token_endpoint: `${address}/token` })
  t.match(output().stdout, 'LATCHKEY_SERVICE_HOST: ignored, because Kubernetes or Docker')
})

t.test('a start on the embedded database loads neither pg nor undici', async (t) => {
  const { env } = await fresh(t)
  const report = `import { _cache } from 'node:module'
    import { isMainThread } from 'node:worker_threads'
    const loaded = () => [...process.moduleLoadList, ...Object.keys(_cache)].filter((name) => /undici\\/undici|\\/pg\\//.test(name))
    if (isMainThread) process.on('exit', () => console.error('loaded', loaded()))`
  const server = await serve(t, { ...env, NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(report)}` })
  server.process.kill('SIGTERM')
  t.match((await server.exited).stderr, /\nloaded \[\]\n/)
})

t.test('the threads that hash passwords have a lower priority than the main thread', ONLY_LINUX, async (t) => {
  const { env } = await fresh(t)
  const { process: child } = await serve(t, env)
  const tasks = `/proc/${child.pid}/task`
  const nice = (thread: string) =>
    Number(readFileSync(`${tasks}/${thread}/stat`, 'utf8').split(') ')[1]?.split(' ')[16])
  const workers = readdirSync(tasks).filter((thread) =>
    /^libuv-worker/.test(readFileSync(`${tasks}/${thread}/comm`, 'utf8'))
  )
  t.ok(workers.length >= 4)
  t.strictSame([nice(String(child.pid)), ...new Set(workers.map(nice))], [0, 10])
})

t.test('a used port is an error of one line, and the next start still says where the password is', async (t) => {
  const { dir, env } = await fresh(t)
  const holder = createServer().listen(0)
  t.teardown(() => holder.close())
  await once(holder, 'listening')
  const { port } = holder.address() as AddressInfo
  const { code, stderr } = await command({ ...env, LATCHKEY_PORT: String(port) }, ['serve'])
  t.strictSame([code, stderr.split('\n').length], [1, 2])
  t.match(stderr, 'EADDRINUSE')
  t.match(stderr, 'LATCHKEY_PORT to a port that no other process uses')

  const again = await serve(t, env)
  t.match(again.output().stderr, `password  in ${dir}/admin-password`)
})

t.test('invalid settings stop the command, with one line for each', async (t) => {
  const { code, stdout, stderr } = await command({ LATCHKEY_PORT: 'http', LATCHKEY_ISSUR: 'x' }, ['serve'])
  t.strictSame(
    [code, stdout, stderr],
    [
      1,
      '',
      'LATCHKEY_ISSUR is not a setting, did you mean "LATCHKEY_ISSUER"?\n' +
        'LATCHKEY_PORT must be an integer from 0 to 65535; got "http"\n'
    ]
  )
})

t.test('a start with an https issuer and without LATCHKEY_TRUSTED_PROXIES is an error of one line [UA3]', async (t) => {
  const { env } = await fresh(t)
  for (const LATCHKEY_PORT of ['0', '3000']) {
    const proxied = { ...env, LATCHKEY_PORT, LATCHKEY_ISSUER: 'https://id.example.com' }
    const { code, stderr } = await command(proxied, ['serve'])
    t.strictSame([code, stderr.split('\n').length], [1, 2])
    t.match(stderr, 'LATCHKEY_TRUSTED_PROXIES is missing; an https issuer has a proxy in front of this service')
  }
})

t.test('help and version need no setting', async (t) => {
  const [help, version, unknown] = await Promise.all([
    command({}, ['--help']),
    command({}, ['--version']),
    command({}, ['nonsense'])
  ])
  t.match(help, { code: 0, stderr: '' })
  for (const command of ['serve', 'migrate', 'openapi', 'settings', 'user', 'role']) t.match(help.stdout, command)
  t.match(help.stdout, 'Exit codes: 0 success, 1 refusal or failure, 2 wrong usage.')
  t.match(version, { code: 0, stdout: '0.1.0\n' })
  t.match(unknown, { code: 2, stderr: /^error: unknown command 'nonsense'; see "latchkey help"\n$/ })
})

t.test('"latchkey help" prints the help of every command, as --help does', async (t) => {
  for (const words of [[], ['user'], ['user', 'add'], ['client', 'secret', 'add']]) {
    const [help, option] = await Promise.all([command({}, ['help', ...words]), command({}, [...words, '--help'])])
    t.strictSame(help, option, words.join(' '))
    t.match(help, { code: 0, stdout: `Usage: ${['latchkey', ...words].join(' ')}`, stderr: '' })
  }
  for (const [words, line] of [
    [['usr'], 'there is no command "usr", did you mean "user"?; see "latchkey help"\n'],
    [['user', 'ad'], 'there is no command "user ad"; see "latchkey help user"\n'],
    [['user', 'shw'], 'there is no command "user shw", did you mean "show"?; see "latchkey help user"\n']
  ] as const)
    t.strictSame(await command({}, ['help', ...words]), { code: 2, stdout: '', stderr: line })
})

t.test('an error about wrong usage is one short line, also for a huge argument', async (t) => {
  for (const args of [
    ['x'.repeat(100_000)],
    ['user', 'x'.repeat(100_000)],
    ['user', 'list', `--${'x'.repeat(100_000)}`]
  ]) {
    const { code, stdout, stderr } = await command({}, args)
    t.strictSame([code, stdout, stderr.split('\n').length, stderr.length < 400], [2, '', 2, true])
  }
  t.match(await command({}, ['usr', 'list']), {
    code: 2,
    stderr: /^error: unknown command 'usr', did you mean user\?; see "latchkey help"\n$/
  })
})

t.test('openapi prints openapi.yaml for any settings', async (t) => {
  const { stdout } = await command({ LATCHKEY_ISSUER: 'https://id.example.com/auth', LATCHKEY_DOCS: 'false' }, [
    'openapi'
  ])
  t.equal(stdout, readFileSync('openapi.yaml', 'utf8'))
})

t.test('docs/reference/settings.md holds the table that npm run settings writes', async (t) => {
  const page = readFileSync('docs/reference/settings.md', 'utf8')
  t.equal(page, withSettings(page))
  const { stdout } = await command({}, ['settings'])
  t.ok(page.includes(stdout))
})
