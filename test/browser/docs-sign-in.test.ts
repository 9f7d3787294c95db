import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { FastifyInstance } from 'fastify'
import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { freePort } from '../cli/process.ts'
import { build, PASSWORD } from '../helper.ts'
import { launch } from './browser.ts'
import { close, execute, form, NARROW, open, picture, shorten, signIn, WIDE } from './docs.ts'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

interface World {
  app: FastifyInstance
  origin: string
  context: BrowserContext
}

/** Starts Latchkey at the address of its issuer. */
async function serve(
  t: Test,
  { isShort = true, ...options }: { isShort?: boolean; colorScheme?: 'light' | 'dark' } = {}
): Promise<World> {
  const port = await freePort()
  const origin = `http://localhost:${port}`
  const { app, clock } = await build(t, { env: { LATCHKEY_ISSUER: origin } })
  // The browser deletes cookies by its own clock.
  clock.advance((Date.now() - clock.now()) / 1000)
  await app.listen({ host: 'localhost', port })
  const context = await (await launch()).newContext(options)
  t.teardown(() => context.close())
  if (isShort) await shorten(context, origin)
  return { app, origin, context }
}

const LOGOUT = { name: 'Logout' }

/** Returns the entry that the pages have stored. */
const stored = (page: Page): Promise<string> => page.evaluate('localStorage.getItem("latchkey:/")')

for (const [viewport, colorScheme] of [
  [WIDE, 'light'],
  [NARROW, 'dark']
] as const) {
  t.test(
    `a person signs in on the page of Latchkey, comes back with the ticked scopes, and logs out (${viewport.width} wide, ${colorScheme})`,
    async (t) => {
      const name = `${viewport.width}-${colorScheme}`
      const { origin, context } = await serve(t, { colorScheme })
      const page = await open(t, context, { origin, viewport })
      t.equal(
        await page.evaluate('getComputedStyle(document.body).backgroundColor'),
        colorScheme === 'dark' ? 'rgb(28, 32, 34)' : 'rgb(250, 250, 250)'
      )
      await page.locator('.btn.authorize').click()
      const dialog = form(page, 'code')
      t.equal(await dialog.locator('input:not([type=checkbox])').count(), 0, 'no field to fill in')
      t.equal(await dialog.getByLabel('profile').first().isChecked(), true)
      await dialog.locator('input[data-value="account"]').check()
      await picture(page, `sign-in-dialog-${name}`)
      await page.evaluate(AXE)
      const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
      t.strictSame(
        await page.evaluate(
          `axe.run('.modal-ux', { runOnly: ${JSON.stringify(tags)} }).then(({ violations }) => violations.map(({ id, nodes }) => id + nodes.map(({ html }) => html)))`
        ),
        []
      )
      for (const part of ['password', 'clientCredentials'] as const) {
        await form(page, part).scrollIntoViewIfNeeded()
        await picture(page, `sign-in-dialog-${part}-${name}`)
      }
      await signIn(page, { username: 'alice', act: (popup) => picture(popup, `sign-in-page-${name}`) })
      await dialog.getByRole('button', LOGOUT).waitFor()
      await picture(page, `sign-in-done-${name}`)
      t.equal(await form(page, 'password').getByRole('button', LOGOUT).count(), 0)
      await close(page)
      t.equal(await execute(page, 'getMe'), '200')
      t.equal(await execute(page, 'listMySessions'), '200', 'with the scope that was ticked')
      t.equal(await execute(page, 'listUsers'), '403', 'without another one')
      await picture(page, `sign-in-called-${name}`)

      await page.reload()
      await page.locator('.btn.authorize.locked').waitFor()
      t.equal(await execute(page, 'getMe'), '200', 'the login is renewed after a reload')
      t.match(JSON.parse(await stored(page)), { scheme: 'code', refreshToken: /^lkr_/ })

      await page.locator('.btn.authorize').click()
      const revoked = page.waitForResponse(`${origin}/revoke`)
      await dialog.getByRole('button', LOGOUT).click()
      t.equal((await revoked).status(), 200, 'the logout ends the session')
      t.equal(await stored(page), null)
      await picture(page, `sign-in-left-${name}`)
      await dialog.getByRole('button', { name: 'Authorize' }).click()
      await dialog.getByRole('button', LOGOUT).click()
      const opened = page.waitForEvent('popup')
      await dialog.getByRole('link', { name: 'Sign out' }).click()
      const signOut = await opened
      await signOut.waitForLoadState()
      await picture(signOut, `sign-in-sign-out-${name}`)
      await signOut.getByRole('button', { name: 'Sign out' }).click()
      await signOut.waitForURL(/signed-out/)
      t.notOk((await context.cookies()).some((cookie) => cookie.name === 'latchkey'))
    }
  )
}

t.test('a login by password takes the place of a login by code, and ends its session', async (t) => {
  const { origin, context } = await serve(t)
  const page = await open(t, context, { origin })
  await page.locator('.btn.authorize').click()
  await signIn(page, { username: 'alice' })
  await form(page, 'code').getByRole('button', LOGOUT).waitFor()
  const revoked = page.waitForResponse(`${origin}/revoke`)
  await form(page, 'password').getByLabel('Username').fill('admin')
  await form(page, 'password').getByLabel('Password', { exact: true }).fill(PASSWORD)
  await page.keyboard.press('Enter')
  t.equal((await revoked).status(), 200)
  await form(page, 'password').getByText('Authorized as admin').waitFor()
  t.equal(await form(page, 'code').getByRole('button', LOGOUT).count(), 0)
})

t.test('the sign-in at /docs works with the keyboard alone', async (t) => {
  const { origin, context } = await serve(t)
  const page = await open(t, context, { origin })
  const { keyboard } = page
  await page.locator('.btn.authorize').focus()
  await keyboard.press('Enter')
  const focused = () =>
    page.evaluate('document.activeElement.closest(".auth-container h4, form")?.querySelector("h4").textContent')
  await page.locator('.latchkey-login button.authorize:focus').waitFor()
  t.match(await focused(), 'code (OAuth2')
  // The checkbox of `account` is 11 elements before the button.
  for (let step = 0; step < 11; step++) await keyboard.press('Shift+Tab')
  await keyboard.press('Space')
  t.equal(await form(page, 'code').locator('input[data-value="account"]').isChecked(), true)
  const opened = page.waitForEvent('popup')
  await keyboard.press('Enter')
  const popup = await opened
  await popup.getByLabel('Username').focus()
  await popup.keyboard.type('alice')
  await popup.keyboard.press('Tab')
  await popup.keyboard.type(PASSWORD)
  const closed = popup.waitForEvent('close')
  await popup.keyboard.press('Enter')
  await closed
  await form(page, 'code').getByRole('button', LOGOUT).waitFor()
  await keyboard.press('Escape')
  await page.locator('.auth-wrapper > .btn.authorize:focus').waitFor()
})

t.test('at another address than the issuer, the dialog names the address where the code flow works', async (t) => {
  const { origin, context } = await serve(t)
  const other = origin.replace('localhost', '127.0.0.1')
  const page = await open(t, context, { origin: other, also: origin })
  await page.locator('.btn.authorize').click()
  const dialog = form(page, 'code')
  t.equal(await dialog.getByRole('link').getAttribute('href'), `${origin}/docs`)
  t.equal(await dialog.getByRole('button', { name: 'Authorize' }).count(), 0)
})

t.test('a refused sign-in and a blocked window are said once and in words', async (t) => {
  const { origin, context } = await serve(t)
  const page = await open(t, context, { origin })
  await page.route('**/token', (route) =>
    route.fulfill({ status: 400, json: { error: 'invalid_grant', error_description: 'The code is not valid' } })
  )
  await page.locator('.btn.authorize').click()
  for (let time = 0; time < 2; time++) {
    if (time === 0) await signIn(page, { username: 'alice' })
    else await form(page, 'code').getByRole('button', { name: 'Authorize' }).click()
    await page.getByRole('alert').waitFor({ timeout: 5000 })
    t.strictSame(await page.getByRole('alert').allInnerTexts(), ['The code is not valid'])
  }
  await page.evaluate('window.open = () => null')
  await form(page, 'code').getByRole('button', { name: 'Authorize' }).click()
  await page.getByRole('alert').filter({ hasText: 'blocked' }).waitFor({ timeout: 5000 })
  t.strictSame(await page.getByRole('alert').allInnerTexts(), [
    'The browser has blocked the window of the sign-in. Allow pop-up windows for this page, then press Authorize again.'
  ])
})

t.test('Try-it-out offers the grants as a list, and sends no field that was left empty', async (t) => {
  const { app, origin, context } = await serve(t, { isShort: false })
  const page = await open(t, context, { origin })
  const block = page.locator('[id$="-issueToken"]')
  await block.locator('.opblock-summary-control').click()
  const grants = await block.locator('[data-property-name="grant_type"] select option').allInnerTexts()
  t.strictSame(
    grants,
    app.auth.grants.map(({ type }) => type)
  )
  await picture(page, 'try-token')
  await block.locator('[data-property-name="grant_type"] select').selectOption('password')
  await block.locator('[data-property-name="username"] input[type=text]').fill('alice')
  await block.locator('[data-property-name="password"] input[type=text]').fill(PASSWORD)
  const sent = page.waitForRequest(`${origin}/token`)
  await block.locator('.execute').click()
  t.strictSame(Object.fromEntries(new URLSearchParams((await sent).postData() ?? '')), {
    grant_type: 'password',
    username: 'alice',
    password: PASSWORD
  })
  t.equal((await (await sent).response())?.status(), 200)
})
