import { mkdirSync } from 'node:fs'
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core'
import type { Test } from 'tap'

export const WIDE = { width: 1280, height: 1000 }
export const NARROW = { width: 390, height: 844 }

/** Chromium's own line for an answer that the test expects. */
const EXPECTED = /^Failed to load resource: the server responded with a status of 4\d\d/

/**
 * A page that fails the test when it asks another server for anything, or says anything unexpected on the console.
 * @param also another server that it may ask
 */
export async function open(
  t: Test,
  context: Browser | BrowserContext,
  origin: string,
  path: string,
  viewport = WIDE,
  expected = EXPECTED,
  also = origin
): Promise<Page> {
  const page = await context.newPage()
  await page.setViewportSize(viewport)
  t.teardown(() => page.close())
  page.on('request', (request) => {
    const url = request.url()
    // Only what is wrong is said: a page asks on by itself until it is closed, when the test has ended.
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

export async function picture(page: Page, name: string): Promise<void> {
  const directory = process.env.TEST_PICTURES
  if (directory === undefined) return
  mkdirSync(directory, { recursive: true })
  await page.screenshot({ path: `${directory}/${name}.png` })
}

/** The part of the open dialog in which one logs in by that flow. */
export const form = (page: Page, flow: 'password' | 'clientCredentials'): Locator =>
  page.locator('.auth-container').filter({ has: page.getByRole('heading', { name: `(OAuth2, ${flow})` }) })

/** Closes the dialog; each of its parts has a button for that. */
export const close = (page: Page): Promise<void> => page.locator('.btn-done').first().click()

export async function fillIn(page: Page, username: string, password: string, scopes: string[]): Promise<Locator> {
  const dialog = form(page, 'password')
  await dialog.getByLabel('username').fill(username)
  await dialog.getByLabel('password').fill(password)
  for (const scope of scopes) await dialog.locator(`label[for^="${scope}-"]`).first().click()
  await dialog.getByRole('button', { name: 'Apply given OAuth2 credentials' }).click()
  return dialog
}

/** The status that an operation answers when it is tried in the page. @param path of its URL */
export async function execute(page: Page, operation: string, path = /\/users/): Promise<string> {
  const block = page.locator(`[id$="-${operation}"]`)
  if ((await block.locator('.execute').count()) === 0) await block.locator('.opblock-summary-control').click()
  if ((await block.locator('.execute').count()) === 0) await block.locator('.try-out__btn').click()
  const answered = page.waitForResponse((response) => path.test(response.url()))
  await block.locator('.execute').click()
  await answered
  await block.locator('.live-responses-table .response-col_status').first().waitFor()
  return (await block.locator('.live-responses-table tbody .response-col_status').first().innerText())
    .trim()
    .slice(0, 3)
}
