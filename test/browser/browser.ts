import { type Browser, chromium } from 'playwright-core'
import type { Test } from 'tap'

/** A Chromium with its web security as it ships, closed with the test. */
export async function launch(t: Test, ...more: string[]): Promise<Browser> {
  const executablePath = process.env.TEST_CHROMIUM
  if (executablePath === undefined) throw new Error('the tests need their browser: run them by "npm test"')
  const browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--no-first-run', ...more]
  })
  t.teardown(() => browser.close())
  return browser
}
