import Fastify from 'fastify'
import fp from 'fastify-plugin'
import t, { type Test } from 'tap'
import browser from '../../plugins/browser.ts'
import formbody from '../../plugins/formbody.ts'
import { NoReturn } from '../../src/domain/authorization-errors.ts'
import type { Login } from '../../src/domain/ports/logins.ts'
import guard from '../../src/guard/core.ts'

const FORM = 'application/x-www-form-urlencoded'
const secretOf = (name: string) => name.padEnd(43, '-')
const END = Date.UTC(2027, 0, 1)

/** Opens an app with pages. A login is active when its token is `secretOf` of its id, and its id is in `active`. */
async function open(t: Test, issuer = 'https://id.example.com', base = '') {
  const active = new Map<string, Login>()
  const activate = (id: string, userId = 'alice') => active.set(secretOf(id), { id, userId, expiresAt: END } as Login)
  const app = Fastify()
  t.teardown(() => app.close())
  const lookedUp: string[] = []
  const use = async (token: string) => {
    lookedUp.push(token)
    return active.get(token) ?? null
  }
  await app.register(fp(async (each) => void each.decorate('auth', { logins: { use } } as never), { name: 'auth' }))
  await app.register(fp(async () => {}, { name: 'input' }))
  await app.register(guard, { verify: () => Promise.reject(new Error('no tokens')), flows: { user: [], client: [] } })
  await app.register(fp(async () => {}, { name: 'guard' }))
  app.setErrorHandler((error, _request, reply) =>
    reply
      .code(error instanceof NoReturn ? 403 : 500)
      .send({ reason: error instanceof NoReturn ? error.reason : String(error) })
  )
  await app.register(formbody, { fromPages: true })
  await app.register(browser, { issuer, base })
  app.get(`${base}/form`, { preHandler: app.publicAccess }, async ({ browser, query }) => {
    const { target = '/act', of } = query as { target?: string; of?: string }
    return browser.form(target, (await browser.logins()).find(({ id }) => id === of) ?? null)
  })
  const answer = async ({ browser }: { browser: { sender: Login | null } }) => ({ sender: browser.sender?.id ?? null })
  app.post(`${base}/act`, { preHandler: app.browserForm }, answer)
  app.post(`${base}/act-as`, { preHandler: app.loginForm }, answer)
  app.post(`${base}/sign-in`, { preHandler: app.foreignForm }, async ({ browser, body }) => {
    const { id, replaces = null, as } = body as { id: string; replaces?: string; as: 'in' | 'use' | 'out' }
    const login = active.get(secretOf(id)) as Login
    if (as === 'in') await browser.signIn({ login, token: secretOf(id) }, replaces)
    if (as === 'use') await browser.use(login)
    if (as === 'out') await browser.signOut(login)
    return (await browser.logins()).map((each) => each.id)
  })
  const post = (url: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
    app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': FORM, ...headers },
      payload: new URLSearchParams(form).toString()
    })
  /** Returns the answer to a form of this browser: the login that it acts for, else the reason of the refusal. */
  const act = async (url: string, form: Record<string, string>, headers: Record<string, string> = {}) => {
    const { sender, reason } = (await post(url, form, headers)).json()
    return reason ?? sender
  }
  const cookieName = issuer === 'https://id.example.com' ? '__Host-latchkey' : 'latchkey'
  const cookie = (ids: string[], secret?: string) =>
    [
      `${cookieName}=${ids.map(secretOf).join('.')}`,
      ...(secret === undefined ? [] : [`${cookieName}-form=${secret}`])
    ].join('; ')
  /** Opens a page with a form. Returns its token and the cookie of the browser. */
  async function page(ids: string[] = [], query = '') {
    const response = await app.inject({ url: `${base}/form${query}`, headers: { cookie: cookie(ids) } })
    const secret = response.cookies.find(({ name }) => name === `${cookieName}-form`)?.value
    return { ...response.json(), response, cookie: cookie(ids, secret) } as {
      action: string
      token: string
      cookie: string
      response: typeof response
    }
  }
  return { app, active, activate, lookedUp, post, act, page, cookie }
}

t.test('the names and attributes of cookies keep other hosts and plain connections out [BR5]', async (t) => {
  const cases = [
    ['https://id.example.com', '__Host-latchkey-form', 'Path=/; HttpOnly; Secure; SameSite=Lax'],
    ['https://example.com/id', '__Secure-latchkey-form', 'Path=/id; HttpOnly; Secure; SameSite=Lax'],
    ['http://localhost:3000', 'latchkey-form', 'Path=/; HttpOnly; SameSite=Lax'],
    ['http://localhost:3000/id', 'latchkey-form', 'Path=/id; HttpOnly; SameSite=Lax']
  ]
  for (const [issuer, name, attributes] of cases) {
    const { app } = await open(t, issuer)
    const { headers } = await app.inject({ url: '/form' })
    const [given = '', ...rest] = String(headers['set-cookie']).split('; ')
    t.match(given, new RegExp(`^${name}=[\\w-]{43}$`))
    t.equal(rest.join('; '), attributes)
  }
})

t.test('an app in which a form of a page has no guard does not start [BR3]', async (t) => {
  const { app } = await open(t)
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const)
    t.throws(
      () => app.route({ method, url: `/unguarded-${method}`, preHandler: app.publicAccess, handler: async () => '' }),
      new Error(
        `${method} /unguarded-${method} is a form of a page: put browserForm, loginForm or foreignForm into its preHandler`
      )
    )
})

t.test('a form acts only in the browser, for the target and for the login that it was made for [BR3]', async (t) => {
  const { activate, act, page, cookie } = await open(t)
  activate('a')
  activate('b', 'bob')
  const anonymous = await page()
  t.equal(anonymous.action, '/act')
  const own = { form_token: anonymous.token }
  t.equal(await act('/act', own, { cookie: anonymous.cookie }), null)
  const withoutLogin = await page([], '?target=/act-as')
  const asNobody = { form_token: withoutLogin.token }
  t.equal(await act('/act-as', asNobody, { cookie: withoutLogin.cookie }), 'form_over', 'a form that needs a login')

  const ofLogin = await page(['a', 'b'], '?of=b')
  t.equal(ofLogin.response.cookies.length, 0, 'a form of a login needs no other cookie')
  t.equal(await act('/act', { form_token: ofLogin.token }, { cookie: cookie(['a', 'b']) }), 'b')
  t.equal(
    await act('/act', { form_token: ofLogin.token }, { cookie: cookie(['a']) }),
    'form_over',
    'the login has left'
  )
  const signed = await page(['a'], '?of=a&target=/act-as%3Fid=1')
  t.equal(await act('/act-as?id=1', { form_token: signed.token }, { cookie: cookie(['a']) }), 'a')
  t.equal(await act('/act-as?id=%31', { form_token: signed.token }, { cookie: cookie(['a']) }), 'a', 'another spelling')
  for (const target of ['/act-as', '/act-as?id=2', '/act-as?id=1&id=1', '/act?id=1'])
    t.equal(await act(target, { form_token: signed.token }, { cookie: cookie(['a']) }), 'form_over', target)

  const other = await page()
  t.equal(await act('/act', own, { cookie: other.cookie }), 'form_over', 'the token of another browser')
  t.equal(await act('/act', own), 'cookies_off')
  t.equal(await act('/act', {}, { cookie: anonymous.cookie }), 'form_over')
  t.equal(await act('/act', { form_token: `${anonymous.token}x` }, { cookie: anonymous.cookie }), 'form_over')
})

t.test('a form that another site sent is refused, also with the right token [BR3]', async (t) => {
  const { act, page } = await open(t)
  const { token, cookie } = await page()
  const headers: [Record<string, string>, string | null][] = [
    [{}, null],
    [{ origin: 'https://id.example.com', 'sec-fetch-site': 'same-origin' }, null],
    [{ 'sec-fetch-site': 'none' }, null],
    [{ origin: 'null' }, 'cross_site'],
    [{ origin: 'https://evil.example' }, 'cross_site'],
    [{ origin: 'http://id.example.com' }, 'cross_site'],
    [{ origin: 'https://id.example.com:8443' }, 'cross_site'],
    [{ origin: 'https://www.id.example.com' }, 'cross_site'],
    [{ origin: 'https://id.example.com.evil.example' }, 'cross_site'],
    [{ origin: '' }, 'cross_site'],
    [{ 'sec-fetch-site': 'cross-site' }, 'cross_site'],
    [{ 'sec-fetch-site': 'same-site' }, 'cross_site'],
    [{ origin: 'https://id.example.com', 'sec-fetch-site': 'cross-site' }, 'cross_site']
  ]
  for (const [more, answer] of headers)
    t.equal(await act('/act', { form_token: token }, { cookie, ...more }), answer, JSON.stringify(more))
})

t.test('the cookie holds up to five logins, the one used last first', async (t) => {
  const { active, activate, post, cookie } = await open(t)
  for (const id of 'abcdefg') activate(id)
  const valueAfter = async (ids: string[], form: Record<string, string>) => {
    const { cookies } = await post('/sign-in', form, { cookie: cookie(ids) })
    t.equal(cookies[0]?.expires?.getTime() ?? END, cookies[0]?.value === '' ? 0 : END)
    return cookies[0]?.value.split('.').map((token) => token.replaceAll('-', ''))
  }
  t.strictSame(await valueAfter([], { as: 'in', id: 'a' }), ['a'])
  t.strictSame(await valueAfter(['a', 'b', 'c', 'd', 'e'], { as: 'in', id: 'f' }), ['f', 'a', 'b', 'c', 'd'])
  t.strictSame(await valueAfter(['a', 'b'], { as: 'in', id: 'f', replaces: 'a' }), ['f', 'b'])
  t.strictSame(await valueAfter(['a', 'b', 'c'], { as: 'use', id: 'c' }), ['c', 'a', 'b'])
  t.strictSame(await valueAfter(['a', 'b'], { as: 'out', id: 'a' }), ['b'])
  t.strictSame(await valueAfter(['a'], { as: 'out', id: 'a' }), [''])
  active.delete(secretOf('b'))
  t.strictSame(await valueAfter(['a', 'b', 'c'], { as: 'in', id: 'f' }), ['f', 'a', 'c'], 'an ended login leaves')
  t.strictSame(await valueAfter(['a', 'a', 'a'], { as: 'in', id: 'f' }), ['f', 'a'])
})

t.test('at most five tokens of a cookie are looked up', async (t) => {
  const { activate, lookedUp, post, cookie } = await open(t)
  for (const id of 'abcdefgh') activate(id)
  const { body } = await post('/sign-in', { as: '', id: 'a' }, { cookie: cookie([...'abcdefgh']) })
  t.strictSame(JSON.parse(body), [...'abcde'])
  t.strictSame(lookedUp, [...'abcde'].map(secretOf))
  for (const value of ['', '.', 'short', `${'x'.repeat(44)}`, `${secretOf('a')}=`, '%2e', '😀', 'x'.repeat(5000)]) {
    const { statusCode, body: none } = await post(
      '/sign-in',
      { as: '', id: 'a' },
      { cookie: `__Host-latchkey=${value}` }
    )
    t.strictSame([statusCode, JSON.parse(none)], [200, []], value.slice(0, 50))
  }
})

t.test('forms work below the path of the issuer, with and without a proxy that removes it', async (t) => {
  for (const base of ['', '/id']) {
    const { page, act } = await open(t, 'http://localhost:3000/id', base)
    const { action, token, cookie } = await page()
    t.equal(action, '/id/act')
    t.equal(await act(`${base}/act`, { form_token: token }, { cookie, origin: 'http://localhost:3000' }), null)
  }
})
