import { text } from 'node:stream/consumers'
import type { BrowserContextOptions, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { freePort } from '../cli/process.ts'
import { build, PASSWORD } from '../helper.ts'
import { authorizeUrl } from '../jar.ts'
import { listen } from '../listen.ts'
import { launch } from './browser.ts'
import { NARROW, picture, WIDE } from './docs.ts'

/** The line that Chromium writes to the console for a page with the status 400 or 429. */
const EXPECTED = /^Failed to load resource: the server responded with a status of 4(00|29)/

const PRIVATE_USE = 'com.example.shop:/callback'
const APP = '<title>The app</title><link rel="icon" href="data:,">'

/** Starts Latchkey and an app with a client, and opens a browser that may reach nothing else. The app redirects on to another origin. */
async function open(t: Test, options: BrowserContextOptions) {
  const port = await freePort()
  const origin = `http://localhost:${port}`
  // The browser compares the expiry of cookies with its own clock.
  const clock = { now: Date.now, sleep: async () => {} }
  const { app, login } = await build(t, { env: { LATCHKEY_ISSUER: origin, LATCHKEY_THROTTLE: 'true' }, clock })
  await app.listen({ host: '127.0.0.1', port })

  const received: { method: string | undefined; params: URLSearchParams }[] = []
  const appOrigin = await listen(t, async (request, response) => {
    const { method, url = '/' } = request
    const body = await text(request)
    const params = method === 'POST' ? new URLSearchParams(body) : new URL(url, origin).searchParams
    received.push({ method, params })
    response.writeHead(303, { location: `${appPages}/home` }).end()
  })
  const appPages = await listen(
    t,
    (_request, response) => void response.setHeader('content-type', 'text/html').end(APP)
  )
  const redirectUri = `${appOrigin}/callback`
  await app.auth.clients.create(OPERATOR, {
    id: 'shop',
    name: 'Example Shop',
    method: 'none',
    applicationType: 'native',
    grantTypes: ['authorization_code'],
    scopes: ['openid', 'profile', 'email'],
    redirectUris: [redirectUri, PRIVATE_USE]
  })

  const context = await (await launch()).newContext(options)
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.on('console', (message) => {
    if (!EXPECTED.test(message.text())) t.fail(`on the console: ${message.text()}`)
  })
  page.on('request', (request) => {
    const url = request.url()
    if (!/^(data|com\.example\.shop):/.test(url) && ![origin, appOrigin, appPages].includes(new URL(url).origin))
      t.fail(`a request to ${url}`)
  })
  const scope = 'openid profile email'
  const start = (more: Record<string, string> = {}) =>
    page.goto(origin + authorizeUrl({ client_id: 'shop', redirect_uri: redirectUri, scope, state: 'a&b', ...more }))
  return { app, login, origin, page, received, start }
}

async function press(page: Page, ...keys: string[]): Promise<void> {
  for (const key of keys) await page.keyboard.press(key)
}

/** Types into the fields of the sign-in. The name has the focus, or the password if the name is there. */
async function signIn(page: Page, { username, password }: { username?: string; password: string }): Promise<void> {
  await page.locator('input:focus').waitFor()
  if (username !== undefined) {
    await page.keyboard.type(username)
    await press(page, 'Tab')
  }
  await page.keyboard.type(password)
  await press(page, 'Enter')
}

const focused = (page: Page) => page.locator(':focus')

t.test('by keyboard and without scripts a person signs in, refuses one scope and returns to the app', async (t) => {
  const { page, received, start, app } = await open(t, {
    javaScriptEnabled: false,
    viewport: NARROW,
    colorScheme: 'dark',
    locale: 'de-DE'
  })
  await start()
  await page.getByText('um mit Example Shop fortzufahren').waitFor()
  await signIn(page, { username: 'alice', password: 'not the password' })
  await page.getByRole('alert').waitFor()
  t.match(await page.getByRole('alert').innerText(), 'Der Benutzername oder das Passwort ist falsch')
  t.equal(await page.getByLabel('Benutzername').inputValue(), 'alice')
  t.equal(await focused(page).getAttribute('name'), 'password')
  await picture(page, 'sign-in-refused')

  await signIn(page, { password: PASSWORD })
  await page.getByRole('heading', { name: 'Example Shop möchte Ihr Konto verwenden' }).waitFor()
  await picture(page, 'consent')
  await press(page, 'Tab')
  t.equal(await focused(page).getAttribute('name'), 'scope:email')
  await press(page, 'Space', 'Tab', 'Tab')
  t.equal(await focused(page).innerText(), 'Erlauben')
  await press(page, 'Enter')
  await page.waitForURL('**/home')
  t.equal(await page.title(), 'The app')
  t.match(Object.fromEntries(received[0]?.params ?? []), { code: /^[\w-]{43}$/, state: 'a&b' })
  const [consent] = (await app.auth.consents.list((await app.auth.users.find('alice')).id, { after: null, limit: 9 }))
    .items
  t.strictSame(consent?.scopes.map(({ name }) => name).toSorted(), ['openid', 'profile'])

  await page.goBack()
  await page.getByRole('heading', { name: 'Dieser Versuch ist beendet' }).waitFor()
  await picture(page, 'attempt-over')
  t.equal(received.length, 1, 'the back button returns nothing')
})

t.test(
  'after too many wrong passwords the page says for how long the sign-in is locked, and keeps the name',
  async (t) => {
    const { page, start } = await open(t, { javaScriptEnabled: false, viewport: NARROW, locale: 'en-GB' })
    await start()
    const refusal = page.getByRole('alert')
    await signIn(page, { username: 'alice', password: 'not the password' })
    for (let guess = 0; guess < 9; guess++) {
      await refusal.waitFor()
      if (/locked/.test(await refusal.innerText())) break
      await signIn(page, { password: 'not the password' })
      await page.waitForLoadState()
    }
    await refusal.filter({ hasText: 'sign-in is locked. Wait 1 minute, then try again.' }).waitFor()
    t.equal(await page.getByLabel('Username').inputValue(), 'alice')
    await picture(page, 'sign-in-locked')
  }
)

t.test('a cancelled consent returns to the app with access_denied, also to a private-use scheme', async (t) => {
  const { page, received, start } = await open(t, { viewport: WIDE, locale: 'en-GB' })
  await start()
  await signIn(page, { username: 'alice', password: PASSWORD })
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.waitForURL('**/home')
  t.equal(received[0]?.params.get('error'), 'access_denied')

  await start({ redirect_uri: PRIVATE_USE })
  const request = page.waitForRequest(`${PRIVATE_USE}?error=access_denied*`)
  await page.getByRole('button', { name: 'Cancel' }).click()
  await request
})

for (const javaScriptEnabled of [true, false])
  t.test(
    `form_post returns to the app ${javaScriptEnabled ? 'by itself' : 'by a button, without scripts'}`,
    async (t) => {
      const { page, received, start } = await open(t, { javaScriptEnabled, locale: 'en-GB' })
      await start({ response_mode: 'form_post' })
      await signIn(page, { username: 'alice', password: PASSWORD })
      await page.getByRole('button', { name: 'Allow' }).click()
      if (!javaScriptEnabled) await page.getByRole('button', { name: 'Continue' }).click()
      await page.waitForURL('**/home')
      t.match(received, [{ method: 'POST' }])
      t.match(Object.fromEntries(received[0]?.params ?? []), { code: /^[\w-]{43}$/, state: 'a&b' })
    }
  )

t.test('by keyboard and without scripts a person ends a session, whose next call is 401, and signs out', async (t) => {
  const { app, login, page, origin } = await open(t, { javaScriptEnabled: false, viewport: WIDE, locale: 'en-GB' })
  const bearer = await login('alice')
  const call = () => app.inject({ url: '/users/me', headers: { authorization: `Bearer ${bearer}` } })
  await page.goto(`${origin}/account`)
  await signIn(page, { username: 'alice', password: PASSWORD })
  await page.getByRole('heading', { name: 'Profile' }).waitFor()
  t.equal((await call()).statusCode, 200)
  // The link of the service, then the tabs.
  await press(page, 'Tab', 'Tab', 'Tab', 'Tab', 'Enter')
  await page.getByRole('heading', { name: 'Where you are signed in' }).waitFor()
  await picture(page, 'account-sessions')
  await page.locator('button[name=session]').focus()
  await press(page, 'Enter')
  await page.getByRole('status').waitFor()
  t.match(await page.getByRole('status').innerText(), 'It was ended.')
  t.equal((await call()).statusCode, 401)

  await page.getByRole('link', { name: 'Sign out' }).focus()
  await press(page, 'Enter')
  await page.getByRole('heading', { name: 'Do you want to sign out?' }).waitFor()
  await picture(page, 'sign-out')
  await press(page, 'Tab', 'Enter')
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor()
  await picture(page, 'signed-out')
  await page.goto(`${origin}/account`)
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
})
