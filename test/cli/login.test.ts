import { PassThrough, Readable } from 'node:stream'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { run } from '../../src/cli.ts'
import { browserCommand } from '../../src/commands/login.ts'
import { createJar, formOf } from '../jar.ts'
import { openSignIn } from '../routes/sign-in-world.ts'
import { plant } from '../secrets.ts'
import { command } from './command.ts'
import { freePort } from './process.ts'

const port = await freePort()
const issuer = `http://localhost:${port}`
const world = await openSignIn(t, {
  env: { LATCHKEY_ISSUER: issuer, LATCHKEY_PORT: String(port) },
  clock: { now: Date.now, sleep: async () => {} }
})
await world.app.listen({ host: '127.0.0.1', port })
await world.register('terminal', {
  applicationType: 'native',
  redirectUris: ['http://127.0.0.1/callback'],
  scopes: ['openid', 'profile']
})

/** Types `latchkey login …`, and signs alice in at the printed address. @param decision the button of the consent page */
async function login(t: Test, args: string[], { env = world.env, decision = 'allow' } = {}) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const ended = run(['login', ...args], { stdin: Readable.from([]), stdout, stderr, env: () => env })
  let printed = ''
  while (!/^http.*\n/m.test(printed)) printed += String((await stderr[Symbol.asyncIterator]().next()).value)
  const [url = ''] = /^http.*$/m.exec(printed) ?? []
  t.ok(url.startsWith(`${issuer}/authorize?`), 'the address is on a line of its own')
  const jar = createJar(world, issuer)
  const signedIn = await jar.signIn(url.slice(issuer.length))
  const question = await jar.get(String(signedIn.headers.location))
  t.match(formOf(question).action, /^\/consent/)
  const { headers } = await jar.submit(question, { decision })
  const page = await fetch(String(headers.location))
  t.match(await page.text(), 'go back to the program')
  return { code: await ended, stdout: String(stdout.read() ?? ''), stderr: String(stderr.read() ?? '') }
}

t.test('latchkey login prints the access token of the user who signed in, and nothing else', async (t) => {
  const { code, stdout } = await login(t, ['terminal', '--scope', 'openid', 'profile'])
  t.equal(code, 0)
  const token = stdout.trimEnd()
  plant(token.split('.')[2])
  t.match(decodeJwt(token), { iss: issuer, client_id: 'terminal', scope: 'openid profile' })
  t.equal((await world.get('/userinfo', token)).json().preferred_username, 'alice')
})

t.test('with --issuer it reads no settings; with --json it prints the whole token response', async (t) => {
  const { code, stdout } = await login(t, ['terminal', '--issuer', issuer, '--json'], { env: { LATCHKEY_PORT: 'x' } })
  t.equal(code, 0)
  const tokens = JSON.parse(stdout)
  plant(tokens.access_token.split('.')[2], tokens.refresh_token)
  t.match(tokens, { token_type: 'Bearer', expires_in: 300, refresh_token: String, scope: 'openid profile' })
  t.equal(decodeJwt(tokens.id_token).aud, 'terminal')
})

t.test('a refusal of the user is one line and exit code 1', async (t) => {
  const { code, stdout, stderr } = await login(t, ['terminal'], { decision: 'deny' })
  t.strictSame(
    { code, stdout, stderr },
    { code: 1, stdout: '', stderr: `no token for terminal from ${issuer}: access_denied: The user refused\n` }
  )
})

t.test('a service that does not run, and an issuer that is not valid, are one line', async (t) => {
  const nobody = `http://localhost:${await freePort()}`
  const away = await command(world.env, ['login', 'terminal', '--issuer', nobody])
  t.match(away, {
    code: 1,
    stdout: '',
    stderr: /^no token for terminal from http:\/\/localhost:\d+: .*ECONNREFUSED\)\n$/
  })
  const invalid = await command(world.env, ['login', 'terminal', '--issuer', 'localhost:3000'])
  t.match(invalid, { code: 2, stderr: /^issuer must be an https URL .*; it has no scheme\n$/ })
})

t.test('the browser is opened without a shell, so no character of the URL has a meaning', async (t) => {
  const url = 'https://id.example.com/authorize?a=b&c=d'
  t.strictSame(browserCommand('linux', url), ['xdg-open', url])
  t.strictSame(browserCommand('darwin', url), ['open', url])
  t.strictSame(browserCommand('win32', url), ['rundll32', 'url.dll,FileProtocolHandler', url])
})
