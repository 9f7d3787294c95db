import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, PASSWORD } from '../helper.ts'
import { INSECURE_HOST, launch } from './browser.ts'
import { close, execute, fillIn, form, NARROW, open, picture, shorten, WIDE } from './docs.ts'

/** Matches the console messages of Chromium for a page that is not in a secure context, and its message for a 401. */
const INSECURE =
  /^(Failed to load|The Cross-Origin-Opener-Policy header|The page requested an origin-keyed agent cluster)/
/** Seconds after which a page renews its token: half of the token's life. */
const HALF_LIFE = 150

interface World {
  app: FastifyInstance
  origin: string
  context: BrowserContext
  /** The statuses of the refreshes that were answered. */
  refreshes: number[]
  /** Returns the status of `/users/me` with that token. Sends the request without the browser. */
  me: (token: string) => Promise<number>
  /** Moves the clocks of the service and of all pages; timers that became due run once. */
  advance: (seconds: number) => Promise<void>
}

async function serve(t: Test, env: Record<string, string> = {}): Promise<World> {
  const { app, clock } = await build(t, { env })
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const context = await (await launch()).newContext()
  t.teardown(() => context.close())
  await context.clock.install()
  await shorten(context, origin)
  const refreshes: number[] = []
  context.on('response', (response) => {
    if (/grant_type=refresh_token/.test(response.request().postData() ?? '')) refreshes.push(response.status())
  })
  return {
    app,
    origin,
    context,
    refreshes,
    me: async (token) => (await fetch(`${origin}/users/me`, { headers: { authorization: `Bearer ${token}` } })).status,
    async advance(seconds) {
      clock.advance(seconds)
      await context.clock.fastForward(seconds * 1000)
    }
  }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(10)
}

/** Runs `times` rounds. In each round every page renews its token once. */
async function outlive({ refreshes, advance }: World, times: number, pages = 1): Promise<void> {
  for (let time = 0; time < times; time++) {
    const before = refreshes.length
    await advance(HALF_LIFE)
    await until(() => refreshes.length >= before + pages)
  }
}

/** Logs in and returns the access token that the login got. */
async function login(page: Page, username = 'alice', clientId = ''): Promise<string> {
  await page.locator('.btn.authorize').click()
  if (clientId !== '') {
    await form(page, 'password').getByText('Another client').click()
    await page.locator('#client_id_password').fill(clientId)
  }
  const answer = page.waitForResponse((response) => response.url().endsWith('/token'))
  const dialog = await fillIn(page, username, PASSWORD, ['account'])
  await dialog.getByRole('button', { name: 'Logout' }).waitFor()
  await close(page)
  return (await (await answer).json()).access_token
}

async function logout(page: Page): Promise<void> {
  await page.locator('.btn.authorize').click()
  await form(page, 'password').getByRole('button', { name: 'Logout' }).click()
}

const shows = (page: Page, state: 'locked' | 'unlocked'): Promise<void> =>
  page.locator(`.btn.authorize.${state}`).waitFor()

/** Returns everything that the pages of this origin have stored, in all the places that there are. */
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
  const width = viewport.width
  t.test(
    `a login at ${path} survives the end of its access token and a reload, and stores one entry (${width} wide)`,
    async (t) => {
      const world = await serve(t)
      const { origin, context, refreshes, me } = world
      const page = await open(t, context, { origin, path, viewport })
      const first = await login(page)
      await outlive(world, 3)
      t.strictSame(refreshes, [200, 200, 200])
      t.equal(await me(first), 401)
      t.equal(await execute(page, 'getMe'), '200')
      await picture(page, `session-kept-${width}`)
      t.equal(await execute(page, 'listUsers'), '403', 'with the scopes that were granted')

      await page.reload()
      await shows(page, 'locked')
      t.equal(await execute(page, 'getMe'), '200')
      await page.locator('.btn.authorize').click()
      await form(page, 'password').getByRole('button', { name: 'Logout' }).waitFor()
      await picture(page, `session-reloaded-${width}`)

      const { local, others } = await stored(page)
      t.match(local, [
        ['latchkey:/', /^\{"id":"[\d-]+","scheme":"password","username":"alice","refreshToken":"lkr_[\w-]{80}"\}$/]
      ])
      t.equal(local.length, 1)
      t.strictSame(others, [''])
      t.strictSame(await context.cookies(), [])
      t.notMatch(JSON.stringify(await context.storageState()), PASSWORD)
    }
  )
}

t.test('two tabs share one session over many refreshes, and a logout in one ends it in both', async (t) => {
  const world = await serve(t, { LATCHKEY_REFRESH_LEEWAY: '0' })
  const { origin, context, refreshes, me } = world
  const one = await open(t, context, { origin })
  await login(one)
  const two = await open(t, context, { origin, path: '/docs/' })
  await shows(two, 'locked')
  for (let round = 0; round < 3; round++) {
    await outlive(world, 1, 2)
    t.strictSame(await Promise.all([execute(one, 'getMe'), execute(two, 'getMe')]), ['200', '200'])
  }
  t.equal(await execute(two, 'listMySessions'), '200')
  const answer = await two.locator('[id$="-listMySessions"] .live-responses-table .microlight').first().innerText()
  t.equal(JSON.parse(answer).items.length, 1)
  t.ok(refreshes.length >= 6, `${refreshes.length} refreshes`)
  t.strictSame([...new Set(refreshes)], [200], 'no token was used twice')

  const asked = one.waitForRequest((request) => request.url().endsWith('/users/me'))
  await execute(one, 'getMe')
  const token = ((await (await asked).allHeaders()).authorization as string).replace('Bearer ', '')
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

t.test('a logout is effective also when the page is closed at once', async (t) => {
  const { origin, context, me } = await serve(t)
  const page = await open(t, context, { origin })
  const token = await login(page)
  await logout(page)
  await page.close()
  const deadline = Date.now() + 30_000
  while ((await me(token)) === 200 && Date.now() < deadline) await sleep(20)
  t.equal(await me(token), 401)
})

t.test('a login as another user ends the previous one, in every tab', async (t) => {
  const { origin, context, me } = await serve(t)
  const one = await open(t, context, { origin })
  // The second tab does not hear of the first one's login, so that its form stays open.
  await context.addInitScript(
    'const listen = addEventListener; window.addEventListener = (type, ...rest) => /storage|vis/.test(type) || listen(type, ...rest)'
  )
  const two = await open(t, context, { origin })
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

t.test('an unavailable server does not end the login; a refused refresh does, and is not repeated', async (t) => {
  const world = await serve(t)
  const { origin, context, refreshes, advance } = world
  const page = await open(t, context, { origin })
  page.removeAllListeners('console')
  await login(page)
  for (const trouble of ['abort', 503, 429, 500] as const) {
    let met = 0
    await page.route('**/token', async (route) => {
      met++
      await (trouble === 'abort' ? route.abort() : route.fulfill({ status: trouble, body: 'not JSON' }))
    })
    await advance(HALF_LIFE)
    await until(() => met > 0)
    t.equal((await stored(page)).local.length, 1)
    await page.unroute('**/token')
    const before = refreshes.length
    // The first retry comes after 1 s; no later retry waits more than 30 s.
    await advance(30)
    await until(() => refreshes.length > before)
    await shows(page, 'locked')
  }
  t.equal(await execute(page, 'getMe'), '200')

  const entry = (await stored(page)).local[0]?.[1] as string
  const body = new URLSearchParams({ token: JSON.parse(entry).refreshToken })
  await fetch(`${origin}/revoke`, { method: 'POST', body })
  refreshes.length = 0
  await advance(HALF_LIFE)
  await shows(page, 'unlocked')
  await picture(page, 'session-refused')
  t.strictSame((await stored(page)).local, [])
  for (let time = 0; time < 4; time++) await advance(HALF_LIFE)
  t.equal(await execute(page, 'getMe'), '401')
  t.strictSame(refreshes, [400])
})

t.test('a failed refresh is retried after at least one second', async (t) => {
  const { origin, context, advance } = await serve(t)
  const page = await open(t, context, { origin })
  page.removeAllListeners('console')
  await login(page)
  await context.clock.pauseAt(Date.now() + 60_000)
  let met = 0
  await page.route('**/token', (route) => {
    met++
    return route.abort()
  })
  await advance(HALF_LIFE)
  await until(() => met > 0)
  for (const [milliseconds, times] of [
    [500, 1],
    [490, 1],
    [10, 2]
  ] as const) {
    await sleep(50) // the page has handled the answer
    await context.clock.runFor(milliseconds)
    await until(() => met >= times)
    t.equal(met, times)
  }
})

t.test('a tab whose timers slept refreshes before its next request', async (t) => {
  const { origin, context, refreshes, advance } = await serve(t)
  const page = await open(t, context, { origin })
  await page.evaluate(
    'globalThis.setTimeout = new Proxy(setTimeout, { apply: (f, me, [run, span]) => (span > 1000 ? 0 : f(run, span)) })'
  )
  await login(page)
  await advance(4 * HALF_LIFE)
  t.strictSame(refreshes, [])
  t.equal(await execute(page, 'getMe'), '200')
  t.strictSame(refreshes, [200])
})

t.test('without the Web Locks API nothing is stored, and the tab stays logged in', async (t) => {
  const world = await serve(t)
  const origin = world.origin.replace('127.0.0.1', INSECURE_HOST)
  const page = await open(t, world.context, { origin, expected: INSECURE })
  t.equal(await page.evaluate('typeof navigator.locks'), 'undefined')
  const first = await login(page)
  await outlive(world, 2)
  t.equal(await world.me(first), 401)
  t.equal(await execute(page, 'getMe'), '200')
  t.strictSame((await page.evaluate('Object.keys(localStorage)')) as string[], [])
  await page.reload()
  await shows(page, 'unlocked')
})

t.test('with a path in the issuer the login is stored for that path', async (t) => {
  const world = await serve(t, { LATCHKEY_ISSUER: 'http://localhost:3000/id' })
  const { origin, context } = world
  // Does what a proxy does that removes the path.
  await context.route(`${origin}/id/**`, async (route) => {
    const url = route.request().url()
    if (url.endsWith('/docs/json')) return route.fallback()
    await route.fulfill({ response: await route.fetch({ url: url.replace('/id/', '/') }) })
  })
  const page = await open(t, context, { origin, path: '/id/docs' })
  await login(page)
  for (const path of ['/id/docs', '/id/docs/']) {
    if (path === '/id/docs/') await page.goto(origin + path)
    await shows(page, 'locked')
    await outlive(world, 2)
    t.equal(await execute(page, 'getMe'), '200', path)
    t.strictSame(
      (await stored(page)).local.map(([key]) => key),
      ['latchkey:/id/']
    )
  }
})

t.test('a login with another client than docs is not stored', async (t) => {
  const { origin, context, app } = await serve(t)
  const grantTypes = ['password', 'refresh_token']
  const scopes = ['profile', 'account']
  const registration = { id: 'mine', name: 'Mine', method: 'none', firstParty: true, grantTypes, scopes } as const
  await app.auth.clients.create(OPERATOR, registration)
  const page = await open(t, context, { origin })
  await login(page, 'alice', 'mine')
  t.equal(await execute(page, 'getMe'), '200')
  t.strictSame((await stored(page)).local, [])
})
