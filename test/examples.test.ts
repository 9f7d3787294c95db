import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { decodeJwt, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { login } from './cli/process.ts'
import { PASSWORD } from './helper.ts'
import { block, COOKIE_SECRET, followReadme, type Newcomer, run, runPublished, SERVICE } from './newcomer.ts'
import { plant } from './secrets.ts'

const GUIDE = 'docs/guides/protect-your-service.md'

/** Commands of a shell that wait until the service of the guide refuses the token. */
const UNTIL_REFUSED =
  'until curl -s -H "Authorization: Bearer $TOKEN" http://localhost:4000/orders | grep -q Unauthorized; do sleep 0.1; done'

async function get(url: string, token?: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(url, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })
  const text = await response.text()
  return { status: response.status, body: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : text }
}

const hasCurl = await run('curl', ['--version']).then(
  () => true,
  () => false
)

/** A directory with these files that is gone with the test. */
function directoryOf(t: Test, files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  return directory
}

const refusal = (statusCode: number, error: string, message: string) => ({
  status: statusCode,
  body: { statusCode, error, message }
})

t.test('the examples import what they depend on, and nothing else', async (t) => {
  for (const example of ['orders', 'worker', 'spa', 'web', 'cli']) {
    const { dependencies, devDependencies, scripts } = JSON.parse(
      readFileSync(`examples/${example}/package.json`, 'utf8')
    )
    const [, file = ''] = /^node (\S+\.ts)$/.exec(scripts.start) ?? []
    t.ok(existsSync(`examples/${example}/${file}`), scripts.start)
    for (const file of globSync(`examples/${example}/*.ts`)) {
      const allowed = Object.keys({ ...dependencies, ...(file.endsWith('.test.ts') ? devDependencies : {}) })
      for (const [, name = ''] of readFileSync(file, 'utf8').matchAll(/from '([^'.][^']*)'/g)) {
        const [first = '', second] = name.split('/')
        t.ok(
          name.startsWith('node:') || allowed.includes(first.startsWith('@') ? `${first}/${second}` : first),
          `${file}: ${name}`
        )
      }
    }
  }
})

t.test('README.md and the guide show the same service, in ten lines', async (t) => {
  t.equal(SERVICE.split('\n').filter((line) => line !== '').length, 10)
  t.equal(block(GUIDE, 'js', 'swaggerUi'), SERVICE)
  t.equal(block(GUIDE, 'sh', 'latchkey resource add'), block('README.md', 'sh', 'latchkey resource add'))
})

t.test('the tests that the guide shows pass', async (t) => {
  const directory = directoryOf(t, {
    'app.mjs': block(GUIDE, 'js', '// app.mjs'),
    'app.test.mjs': block(GUIDE, 'js', '// app.test.mjs')
  })
  symlinkSync(resolve('node_modules'), join(directory, 'node_modules'))
  const output = await runPublished(['--test', '--test-reporter=tap', 'app.test.mjs'], { cwd: directory })
  t.match(output, /^# pass 2\n# fail 0$/m)
})

/** Follows the guide up to a service that is protected and a program that calls it. */
async function followGuide(t: Test, { latchkey, service, password, atPorts, type, start }: Newcomer): Promise<void> {
  const running = await start(SERVICE)
  if (hasCurl) {
    const commands = block(GUIDE, 'sh', 'PASSWORD=$(cat')
    t.match(commands, '\nsleep 1\n')
    // On a busy machine the revocation may take longer than a second.
    const output = await type(commands.replace('\nsleep 1\n', `\n${UNTIL_REFUSED}\n`))
    const answers = output.split('\n').filter((line) => /^[[{]/.test(line))
    t.strictSame(
      answers.map((line) => JSON.parse(line)),
      [
        { statusCode: 401, error: 'Unauthorized', message: 'Not authenticated' },
        ['a lamp'],
        { statusCode: 401, error: 'Unauthorized', message: 'Could not validate credentials' }
      ]
    )
  }

  const document = directoryOf(t, { 'openapi.json': JSON.stringify((await get(`${service}/docs/json`)).body) })
  const lint = [resolve('node_modules/@redocly/cli/bin/cli.js'), 'lint', '--extends=recommended', 'openapi.json']
  const env = { REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' }
  t.match(await run(process.execPath, lint, { cwd: document, env }), 'Your API description is valid')

  await type(block(GUIDE, 'sh', 'latchkey user add alice'), `${PASSWORD}\n`)
  const token = async (username: string, userPassword: string) => {
    const form = { client_id: 'orders-docs', grant_type: 'password', username, password: userPassword }
    const response = await fetch(`${latchkey}/token`, { method: 'POST', body: new URLSearchParams(form) })
    const { access_token, refresh_token } = (await response.json()) as Record<string, string>
    plant(access_token?.split('.')[2], refresh_token)
    return access_token as string
  }
  const [alice, admin] = [await token('alice', PASSWORD), await token('admin', password)]
  t.strictSame(await get(`${service}/orders`, alice), { status: 200, body: ['a lamp'] })
  t.match(running.output(), 'the revocation log is being read')
  t.strictSame(await get(`${service}/admin-only`, alice), refusal(403, 'Forbidden', 'The token lacks the role admin'))
  t.strictSame(await get(`${service}/admin-only`, admin), { status: 200, body: ['hello'] })
  t.strictSame(
    await get(`${service}/orders`, await login(latchkey, 'admin', password)),
    refusal(401, 'Unauthorized', 'Could not validate credentials'),
    'a token for Latchkey is invalid at the service'
  )

  const [workerSecret = ''] = /lks_\S+/.exec(await type(block(GUIDE, 'sh', '--id worker'))) ?? []
  plant(workerSecret)
  const worker = ['--input-type=module', '--eval', atPorts(block(GUIDE, 'js', '// worker.mjs'))]
  t.equal(await runPublished(worker, { env: { WORKER_SECRET: workerSecret } }), '200 ["a lamp"]\n')
  await running.stop()

  const host = await start(block(GUIDE, 'js', '// host.mjs'))
  t.strictSame(await get(`${service}/orders`), { status: 401, body: { problem: 'Not authenticated' } })
  t.match(await get(`${service}/orders`, alice), { status: 200, body: { for: decodeJwt(alice).sub as string } })
  const own = await new SignJWT({ from: 'before' })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .sign(Buffer.from(COOKIE_SECRET))
  t.match(await get(`${service}/before`, own), { status: 200, body: { from: 'before' } })
  t.match(await get(`${service}/before`), { status: 401 })
  t.match(await get(`${service}/orders`, own), { status: 401, body: { problem: 'Could not validate credentials' } })
  await host.stop()
}

t.test('a reader who follows the guide has a protected service', async (t) => {
  await followGuide(t, await followReadme(t))
})
