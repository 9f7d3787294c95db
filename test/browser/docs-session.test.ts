import { setTimeout as sleep } from 'node:timers/promises'
import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { build, PASSWORD } from '../helper.ts'
import { launch } from './browser.ts'
import { close, execute, fillIn, form, NARROW, open, picture, WIDE } from './docs.ts'

const HOST = 'latchkey.test'
/** What Chromium says of such a host, beside its line for 401. */
const INSECURE =
  /^(Failed to load|The Cross-Origin-Opener-Policy header|The page requested an origin-keyed agent cluster)/
const TTL = Number(process.env.LATCHKEY_ROUNDS ?? 10) > 10 ? 10 : 3

const browser = launch(t, `--host-resolver-rules=MAP ${HOST} 127.0.0.1`)

interface World {
  origin: string
  context: BrowserContext
  /** The statuses of the refreshes that were answered. */
  refreshes: number[]
  /** The status of `/users/me` with that token, asked for by no browser. */
  me: (token: string) => Promise<number>
}

async function serve(t: Test, env: Record<string, string> = {}): Promise<World> {
  const clock = { now: Date.now, sleep: (span: number) => sleep(span) }
  const { app } = await build(t, { clock, env: { LATCHKEY_ACCESS_TOKEN_TTL: String(TTL), ...env } })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const context = await (await browser).newContext()
  const refreshes: number[] = []
  context.on('response', (response) => {
    if (/grant_type=refresh_token/.test(response.request().postData() ?? '')) refreshes.push(response.status())
  })
  t.teardown(() => context.close())
  const me = async (token: string) =>
    (await fetch(`${origin}/users/me`, { headers: { authorization: `Bearer ${token}` } })).status
  return { origin, context, refreshes, me }
}

/** The access token that the login got. */
async function login(page: Page, username = 'alice', clientId = ''): Promise<string> {
  await page.locator('.btn.authorize').click()
  if (clientId !== '') await page.locator('#client_id_password').fill(clientId)
  const answer = page.waitForResponse((response) => response.url().endsWith('/token'))
  const dialog = await fillIn(page, username, PASSWORD, ['profile'])
  await dialog.getByRole('button', { name: 'Remove authorization' }).waitFor()
  await close(page)
  return (await (await answer).json()).access_token
}

async function logout(page: Page): Promise<void> {
  await page.locator('.btn.authorize').click()
  await form(page, 'password').getByRole('button', { name: 'Remove authorization' }).click()
}

const shows = (page: Page, state: 'locked' | 'unlocked'): Promise<void> =>
  page.locator(`.btn.authorize.${state}`).waitFor({ timeout: 10_000 })

/** Everything that the pages of this origin have stored, in all the places that there are. */
const stored = (page: Page) =>
  page.evaluate(async () => {
    const { localStorage, sessionStorage, document, indexedDB } = globalThis as unknown as {
      localStorage: Record<string, string>
      sessionStorage: Record<string, string>
      document: { cookie: string }
      indexedDB: { databases(): Promise<unknown[]> }
    }
    return {
      local: Object.entries({ ...localStorage }),
      others: [Object.entries({ ...sessionStorage }), document.cookie, await indexedDB.databases()].flat()
    }
  })

for (const [path, viewport] of [
  ['/docs', WIDE],
  ['/docs/', NARROW]
] as const) {
  t.test(`a login at ${path} outlives its access token by far (${viewport.width} wide)`, async (t) => {
    const { origin, context, refreshes, me } = await serve(t)
    const page = await open(t, context, origin, path, viewport)
    const first = await login(page)
    await sleep(3 * TTL * 1000)
    t.equal(await me(first), 401)
    t.equal(await execute(page, 'getMe'), '200')
    t.ok(refreshes.length >= 3 && refreshes.length <= 12, `${refreshes.length} refreshes`)
    t.strictSame([...new Set(refreshes)], [200])
    await picture(page, `session-kept-${viewport.width}`)
    t.equal(await execute(page, 'listUsers'), '403', 'with the scopes that were granted')
  })

  t.test(`a reload of ${path} stays logged in, and only one entry is stored (${viewport.width} wide)`, async (t) => {
    const { origin, context } = await serve(t)
    const page = await open(t, context, origin, path, viewport)
    await login(page)
    await page.reload()
    await shows(page, 'locked')
    t.equal(await execute(page, 'getMe'), '200')
    await page.locator('.btn.authorize').click()
    await form(page, 'password').getByRole('button', { name: 'Remove authorization' }).waitFor()
    await picture(page, `session-reloaded-${viewport.width}`)

    const { local, others } = await stored(page)
    t.match(local, [['latchkey:/', /^\{"id":"[\d-]+","username":"alice","refreshToken":"lkr_[\w-]{80}"\}$/]])
    t.equal(local.length, 1)
    t.strictSame(others, [''])
    t.strictSame(await context.cookies(), [])
    t.notMatch(JSON.stringify(await context.storageState()), PASSWORD)
  })
}

t.test('two tabs at once keep one session over many refreshes', async (t) => {
  const { origin, context, refreshes } = await serve(t, { LATCHKEY_REFRESH_LEEWAY: '0' })
  const one = await open(t, context, origin, '/docs')
  await login(one)
  const two = await open(t, context, origin, '/docs/')
  await shows(two, 'locked')
  for (let round = 0; round < 3; round++) {
    await sleep(TTL * 1000)
    t.strictSame(await Promise.all([execute(one, 'getMe'), execute(two, 'getMe')]), ['200', '200'])
  }
  t.equal(await execute(two, 'listMySessions'), '200')
  const answer = await two.locator('[id$="-listMySessions"] .live-responses-table .microlight').first().innerText()
  t.equal(JSON.parse(answer).items.length, 1)
  t.ok(refreshes.length >= 6, `${refreshes.length} refreshes`)
  t.strictSame([...new Set(refreshes)], [200], 'no token was used twice')
})

t.test('a logout ends the session and logs out the other tabs', async (t) => {
  const { origin, context, me } = await serve(t, { LATCHKEY_ACCESS_TOKEN_TTL: '300' })
  const one = await open(t, context, origin, '/docs')
  const token = await login(one)
  const two = await open(t, context, origin, '/docs')
  await shows(two, 'locked')
  t.equal(await me(token), 200)
  const revoked = one.waitForResponse((response) => response.url().endsWith('/revoke'))
  await logout(one)
  t.equal((await revoked).status(), 200)
  t.equal(await me(token), 401)
  await shows(two, 'unlocked')
  await picture(two, 'session-other-tab')
  t.strictSame((await stored(two)).local, [])
  t.equal(await execute(two, 'getMe'), '401')
})

t.test('a logout counts also if the page is closed right away', async (t) => {
  const { origin, context, me } = await serve(t, { LATCHKEY_ACCESS_TOKEN_TTL: '300' })
  const page = await open(t, context, origin, '/docs')
  const token = await login(page)
  await logout(page)
  await page.close()
  const deadline = Date.now() + 5000
  while ((await me(token)) === 200 && Date.now() < deadline) await sleep(50)
  t.equal(await me(token), 401)
})

t.test('a login as somebody else ends the one before, in every tab', async (t) => {
  const { origin, context, me } = await serve(t, { LATCHKEY_ACCESS_TOKEN_TTL: '300' })
  const one = await open(t, context, origin, '/docs')
  // The second tab does not hear of the first one's login, so that its form stays open.
  await context.addInitScript(
    'const listen = addEventListener; window.addEventListener = (type, ...rest) => /storage|vis/.test(type) || listen(type, ...rest)'
  )
  const two = await open(t, context, origin, '/docs')
  await two.locator('.btn.authorize').click()
  const alice = await login(one)
  t.equal(await me(alice), 200)

  const revoked = two.waitForResponse((response) => response.url().endsWith('/revoke'))
  await fillIn(two, 'admin', PASSWORD, ['profile'])
  await revoked
  t.equal(await me(alice), 401)
  t.equal(await execute(one, 'getMe'), '200')
  t.match(await one.locator('[id$="-getMe"] .live-responses-table .microlight').first().innerText(), '"admin"')
  t.match((await stored(one)).local, [['latchkey:/', '"username":"admin"']])
})

t.test('a refused refresh shows the page logged out, and is not repeated', async (t) => {
  const { origin, context, refreshes } = await serve(t)
  const page = await open(t, context, origin, '/docs')
  await login(page)
  const entry = (await stored(page)).local[0]?.[1] as string
  await fetch(`${origin}/revoke`, {
    method: 'POST',
    body: new URLSearchParams({ token: JSON.parse(entry).refreshToken })
  })
  await shows(page, 'unlocked')
  await picture(page, 'session-refused')
  t.strictSame((await stored(page)).local, [])
  await sleep(2 * TTL * 1000)
  t.equal(refreshes.filter((status) => status !== 200).length, 1)
  t.equal(await execute(page, 'getMe'), '401')
})

t.test('a server that is away or busy logs nobody out', async (t) => {
  const { origin, context, refreshes } = await serve(t)
  const page = await open(t, context, origin, '/docs')
  page.removeAllListeners('console')
  await login(page)
  for (const trouble of ['abort', 503, 429, 500] as const) {
    let met = 0
    await page.route('**/token', async (route) => {
      met++
      await (trouble === 'abort' ? route.abort() : route.fulfill({ status: trouble, body: 'not JSON' }))
    })
    while (met === 0) await sleep(50)
    await sleep(500)
    t.equal((await stored(page)).local.length, 1)
    t.equal(met, 1, 'it is not asked again at once')
    await page.unroute('**/token')
    const before = refreshes.length
    while (refreshes.length === before) await sleep(50)
    await shows(page, 'locked')
  }
  t.equal(await execute(page, 'getMe'), '200')
})

t.test('a tab whose timers slept refreshes before its next request', async (t) => {
  const { origin, context, refreshes } = await serve(t)
  const page = await open(t, context, origin, '/docs')
  await page.evaluate(
    'globalThis.setTimeout = new Proxy(setTimeout, { apply: (f, me, [run, span]) => (span > 1000 ? 0 : f(run, span)) })'
  )
  await login(page)
  await sleep(2 * TTL * 1000)
  t.strictSame(refreshes, [])
  t.equal(await execute(page, 'getMe'), '200')
  t.strictSame(refreshes, [200])
})

t.test('where there are no locks nothing is stored, and the tab stays logged in all the same', async (t) => {
  const { origin, context } = await serve(t)
  const plain = origin.replace('127.0.0.1', HOST)
  const page = await open(t, context, plain, '/docs', WIDE, INSECURE)
  t.equal(await page.evaluate('typeof navigator.locks'), 'undefined')
  await login(page)
  await sleep(2 * TTL * 1000)
  t.equal(await execute(page, 'getMe'), '200')
  t.strictSame((await page.evaluate('Object.keys(localStorage)')) as string[], [])
  await page.reload()
  await shows(page, 'unlocked')
})

t.test('a login with a client of one’s own is not kept', async (t) => {
  const { origin, context } = await serve(t, { LATCHKEY_ACCESS_TOKEN_TTL: '300' })
  const page = await open(t, context, origin, '/docs')
  await login(page, 'alice', 'docs')
  t.equal(await execute(page, 'getMe'), '200')
  t.strictSame((await stored(page)).local, [])
})

t.test('with a path in the issuer the login is kept under that path', async (t) => {
  const { origin, context } = await serve(t, { LATCHKEY_ISSUER: 'http://localhost:3000/id' })
  // What a proxy does that takes the path off.
  await context.route(`${origin}/id/**`, async (route) =>
    route.fulfill({ response: await route.fetch({ url: route.request().url().replace('/id/', '/') }) })
  )
  for (const path of ['/id/docs', '/id/docs/']) {
    const page = await open(t, context, origin, path)
    if (path === '/id/docs') await login(page)
    await shows(page, 'locked')
    await sleep(2 * TTL * 1000)
    t.equal(await execute(page, 'getMe'), '200', path)
    t.strictSame(
      (await stored(page)).local.map(([key]) => key),
      ['latchkey:/id/']
    )
  }
})
