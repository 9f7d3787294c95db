import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, PASSWORD } from '../helper.ts'
import { authorizeUrl, createJar, formOf, responseOf } from '../jar.ts'
import { CALLBACK, openSignIn } from './sign-in-world.ts'

const url = (more: Record<string, string | undefined> = {}) =>
  authorizeUrl({ client_id: 'own', redirect_uri: CALLBACK, ...more })
const PATHS = ['/authorize', '/sign-in', '/sign-in/choose', '/consent']

t.test('no page of the sign-in allows another origin to read it, also one that may call /token [BR1]', async (t) => {
  const origin = 'https://app.example'
  const world = await openSignIn(t, { env: { LATCHKEY_CORS_ORIGINS: origin } })
  const jar = createJar(world)
  await jar.signIn('/sign-in')
  const named = ({ headers }: LightMyRequestResponse) =>
    Object.keys(headers).filter((name) => name.startsWith('access-control-'))
  for (const path of PATHS) {
    const preflight = { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x' }
    const { app } = world
    const options = await app.inject({ method: 'OPTIONS', url: path, headers: preflight })
    t.strictSame([options.statusCode >= 400, named(options)], [true, []], path)
    t.strictSame(named(await jar.get(path, { origin })), [], path)
    t.strictSame(named(await jar.post(path, {}, { origin })), [], path)
  }
  t.strictSame(named(await jar.get(url(), { origin })), [], 'nor a response with a code')
})

t.test(
  'every page has a strict policy, cannot be framed or stored, and sends Origin with its forms [BR2]',
  async (t) => {
    const world = await openSignIn(t)
    await world.createUser('bob')
    const jar = createJar(world)
    const signIn = await jar.get(url())
    const refused = await jar.submit(signIn, { username: 'alice', password: 'wrong' })
    const location = String((await jar.signIn(url({ client_id: 'spa' }))).headers.location)
    await jar.signIn('/sign-in', 'bob')
    const pages = {
      signIn,
      refused,
      consent: await jar.get(location),
      choice: await jar.get(url()),
      form: await jar.get(url({ login_hint: 'bob', response_mode: 'form_post' })),
      error: await jar.get('/authorize'),
      foreign: await jar.post('/sign-in', {}, { origin: 'https://evil.example' }),
      over: await jar.get('/consent?id=x')
    }
    for (const [name, { headers, body }] of Object.entries(pages)) {
      const policy = String(headers['content-security-policy'])
      t.match(policy, /default-src 'none'.*frame-ancestors 'none'/, name)
      t.notMatch(policy, /unsafe|\*/, name)
      t.match(headers, {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        // With `no-referrer` browsers would send `Origin: null` with a form.
        'referrer-policy': 'same-origin'
      })
      t.notMatch(body, /<script(?![^>]* src="\/assets\/)/, name)
      t.notMatch(body, /(src|href)="https?:/, name)
    }
    for (const page of [pages.signIn, pages.refused, pages.consent, pages.choice])
      t.match(page.headers['content-security-policy'], "form-action 'self';")
  }
)

t.test('a cookie is no access token: it opens no API and is no admin [BR5]', async (t) => {
  const world = await openSignIn(t)
  const jar = createJar(world)
  await jar.signIn('/sign-in', 'admin')
  for (const path of ['/users', '/users/me', '/clients', '/roles', '/keys', '/users/me/sessions']) {
    const answer = await jar.get(path)
    t.strictSame([answer.statusCode, answer.headers['set-cookie']], [401, undefined], path)
  }
  const token = jar.cookies.get('latchkey') as string
  t.equal((await world.get('/users', token)).statusCode, 401, 'also in the place of a token')
  const answer = await world.token({ grant_type: 'refresh_token', client_id: 'docs', refresh_token: token })
  t.match(answer.json(), { error: 'invalid_grant' })
})

t.test('the log holds no query, no code, no cookie and no form token of a sign-in [BR6]', async (t) => {
  const lines: string[] = []
  const world = await openSignIn(t, { logger: { level: 'trace', stream: { write: (line) => void lines.push(line) } } })
  const jar = createJar(world)
  const secrets = ['state-of-the-test', 'nonce-of-the-test']
  const page = await jar.get(
    url({ state: 'state-of-the-test', nonce: 'nonce-of-the-test', login_hint: 'hint-of-the-test' })
  )
  secrets.push('hint-of-the-test', formOf(page).fields.form_token as string, jar.cookies.get('latchkey-form') as string)
  const answer = await jar.submit(page, { username: 'alice', password: PASSWORD })
  secrets.push(responseOf(answer).params.code as string, jar.cookies.get('latchkey') as string)
  await jar.get(url({ state: 'state-of-the-test', client_id: 'nobody' }))
  await jar.post('/sign-in?state=state-of-the-test', { password: PASSWORD }, { origin: 'https://evil.example' })
  const log = lines.join('')
  for (const secret of secrets) t.notMatch(log, secret)
  t.match(log, '"path":"/authorize"')
  t.match(log, '"path":"/sign-in"')
})

t.test(
  'with an https issuer the cookies are Secure and have a prefix, and a plain name is ignored [BR5]',
  async (t) => {
    const issuer = 'https://id.example.com'
    const world = await build(t, { env: { LATCHKEY_ISSUER: issuer, LATCHKEY_TRUSTED_PROXIES: 'none' } })
    await world.app.auth.clients.create(OPERATOR, {
      id: 'own',
      name: 'own',
      method: 'none',
      firstParty: true,
      grantTypes: ['authorization_code'],
      scopes: ['profile'],
      redirectUris: [CALLBACK]
    })
    const jar = createJar(world, issuer)
    const answer = await jar.signIn(url())
    t.match(responseOf(answer), { to: CALLBACK, params: { iss: issuer } })
    t.strictSame([...jar.cookies.keys()].toSorted(), ['__Host-latchkey', '__Host-latchkey-form'])
    t.match(
      String(answer.headers['set-cookie']),
      /^__Host-latchkey=[\w-]{43}; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/
    )
    const other = createJar(world, issuer)
    other.cookies.set('latchkey', jar.cookies.get('__Host-latchkey') as string)
    t.match(responseOf(await other.get(url({ prompt: 'none' }))).params, { error: 'login_required' })
  }
)
