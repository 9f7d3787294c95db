import { mkdirSync } from 'node:fs'
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core'
import type { Test } from 'tap'
import { PASSWORD } from '../helper.ts'

export const WIDE = { width: 1280, height: 1000 }
export const NARROW = { width: 390, height: 844 }

/** The line that Chromium writes to the console for a response with a 4xx status. */
const EXPECTED = /^Failed to load resource: the server responded with a status of 4\d\d/

export interface Visit {
  origin: string
  path?: string
  viewport?: { width: number; height: number }
  /** Matches the messages that the page may write to the console. */
  expected?: RegExp
  /** The origin of another server that the page may send requests to. */
  also?: string
}

/** Opens a page that fails the test when it asks another server for anything, or writes anything unexpected to the console. */
export async function open(
  t: Test,
  context: Browser | BrowserContext,
  { origin, path = '/docs', viewport = WIDE, expected = EXPECTED, also = origin }: Visit
): Promise<Page> {
  const page = await context.newPage()
  await page.setViewportSize(viewport)
  t.teardown(() => page.close())
  page.on('request', (request) => {
    const url = request.url()
    // Makes no assertion for an expected request: the page may send one after the end of the test, until it is closed.
    if (!url.startsWith('data:') && ![origin, also].includes(new URL(url).origin)) t.fail(`a request to ${url}`)
  })
  page.on('console', (message) => {
    if (!expected.test(message.text())) t.fail(`unexpected on the console: ${message.text()}`)
  })
  page.on('pageerror', (error) => t.fail(error))
  await page.goto(origin + path)
  await page.locator('.btn.authorize').waitFor()
  return page
}

/** The paths whose operations the pages show after `shorten`. */
const SHOWN = ['/users', '/users/me', '/users/me/sessions']

/** Has the pages of a context show a few operations only. Rendering the whole document takes most of the time of a page. */
export async function shorten(context: BrowserContext, origin: string): Promise<void> {
  await context.route('**/docs/json', async (route) => {
    const response = await route.fetch({ url: `${origin}/docs/json` })
    const { paths, components, ...rest } = await response.json()
    const operation = (path: string) => ({ get: { ...paths[path].get, responses: { 200: { description: '' } } } })
    const short = Object.fromEntries(SHOWN.map((path) => [path, operation(path)]))
    const { securitySchemes } = components
    await route.fulfill({ response, json: { ...rest, paths: short, components: { securitySchemes } } })
  })
}

export async function picture(page: Page, name: string): Promise<void> {
  const directory = process.env.TEST_PICTURES
  if (directory === undefined) return
  mkdirSync(directory, { recursive: true })
  await page.screenshot({ path: `${directory}/${name}.png` })
}

/** Returns the part of the open dialog for that security scheme. */
export const form = (page: Page, scheme: 'code' | 'password' | 'clientCredentials'): Locator =>
  page.locator('.auth-container').filter({ has: page.getByRole('heading', { name: `${scheme} (OAuth2` }) })

/** Closes the dialog; each of its parts has a button for that. */
export const close = (page: Page): Promise<void> => page.locator('.btn-done').first().click()

export async function fillIn(page: Page, username: string, password: string, scopes: string[]): Promise<Locator> {
  const dialog = form(page, 'password')
  await dialog.getByLabel('Username').fill(username)
  await dialog.getByLabel('Password', { exact: true }).fill(password)
  for (const scope of scopes) await dialog.locator(`input[data-value="${scope}"]`).check()
  await dialog.getByRole('button', { name: 'Authorize' }).click()
  return dialog
}

/** Tries an operation in the page and returns the status of its answer. @param path matches the URL of the request */
export async function execute(page: Page, operation: string, path = /\/users/): Promise<string> {
  const block = page.locator(`[id$="-${operation}"]`)
  if ((await block.locator('.execute').count()) === 0) await block.locator('.opblock-summary-control').click()
  if ((await block.locator('.execute').count()) === 0) await block.locator('.try-out__btn').click()
  const answered = page.waitForResponse((response) => path.test(response.url()))
  await block.locator('.execute').click()
  const status = String((await answered).status())
  // Until the page shows this answer, it may still show the previous one.
  const shown = block.locator('.live-responses-table tbody .response-col_status').first()
  await shown.filter({ hasText: status }).waitFor()
  return status
}

/**
 * Signs in from the open dialog, on the page of Latchkey that opens. Returns when that page has closed.
 * @param act called with the page when it shows its form
 */
export async function signIn(
  page: Page,
  {
    username,
    password = PASSWORD,
    act = async () => {}
  }: { username: string; password?: string; act?: (popup: Page) => Promise<unknown> }
): Promise<void> {
  const opened = page.waitForEvent('popup')
  await form(page, 'code').getByRole('button', { name: 'Authorize' }).click()
  const popup = await opened
  await popup.getByLabel('Username').waitFor()
  await act(popup)
  await popup.getByLabel('Username').fill(username)
  await popup.getByLabel('Password').fill(password)
  const closed = popup.waitForEvent('close')
  await popup.getByRole('button', { name: 'Sign in' }).click()
  await closed
}
