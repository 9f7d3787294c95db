import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Page } from 'playwright-core'
import { freePort } from '../test/cli/process.ts'
import { startServices } from '../test/run/services.ts'

const FILE = new URL('images/docs.png', import.meta.url).pathname
const WIDTH = 1280
/** The address that the picture shows. The browser maps it to the port that is really used. */
const ORIGIN = 'http://localhost:3000'
const PASSWORD = 'only for the picture: a long pass phrase'

/** Starts Latchkey from source and waits until it listens. */
async function startLatchkey(directory: string, port: number): Promise<ChildProcess> {
  const env = {
    PATH: process.env.PATH,
    LATCHKEY_PORT: String(port),
    LATCHKEY_ISSUER: ORIGIN,
    LATCHKEY_DATA_DIR: join(directory, 'data'),
    LATCHKEY_ADMIN_PASSWORD: PASSWORD
  }
  const child = spawn(process.execPath, ['src/cli.ts', 'serve'], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let output = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (chunk) => (output += chunk).endsWith('\n\n') && resolve())
    child.once('error', reject).once('close', () => reject(new Error(output)))
  })
  return child
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = new Promise((resolve) => child.once('close', resolve))
  child.kill('SIGTERM')
  await closed
}

/** Logs in through the Authorize dialog and calls `GET /users/me`. */
async function logIn(page: Page): Promise<void> {
  await page.locator('.btn.authorize').click()
  const dialog = page
    .locator('.auth-container')
    .filter({ has: page.getByRole('heading', { name: 'password (OAuth2' }) })
  await dialog.getByLabel('Username').fill('admin')
  await dialog.getByLabel('Password', { exact: true }).fill(PASSWORD)
  await dialog.getByRole('button', { name: 'Authorize' }).click()
  await dialog.getByRole('button', { name: 'Logout' }).waitFor()
  await page.locator('.btn-done').first().click()

  const operation = page.locator('[id$="-getMe"]')
  await operation.locator('.opblock-summary-control').click()
  await operation.locator('.execute').click()
  await operation.locator('.live-responses-table').waitFor()
}

/** Returns the part of the page from the Authorize button to the response of `GET /users/me`. */
async function partOf(page: Page): Promise<{ x: number; y: number; width: number; height: number }> {
  await page.locator('#operations-tag-oauth').click()
  await page.evaluate('scrollTo(0, 0)')
  const top = await page.locator('.scheme-container').boundingBox()
  const bottom = await page.locator('[id$="-getMe"] .live-responses-table .highlight-code').first().boundingBox()
  if (top === null || bottom === null) throw new Error('the page does not show the response of GET /users/me')
  return { x: 0, y: top.y, width: WIDTH, height: bottom.y + bottom.height + 8 - top.y }
}

/** Takes the picture of the README: /docs after a login. */
async function takePicture(port: number): Promise<void> {
  const executablePath = process.env.TEST_CHROMIUM as string
  const rule = `--host-resolver-rules=MAP ${new URL(ORIGIN).host} 127.0.0.1:${port}`
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', rule] })
  try {
    const page = await browser.newPage({ viewport: { width: WIDTH, height: 900 } })
    await page.goto(`${ORIGIN}/docs`)
    await logIn(page)
    const clip = await partOf(page)
    await page.mouse.move(0, 0)
    await page.screenshot({ path: FILE, animations: 'disabled', fullPage: true, clip })
  } finally {
    await browser.close()
  }
}

const directory = mkdtempSync(join(tmpdir(), 'latchkey-picture-'))
const services = await startServices({ postgres: false, browser: true })
let latchkey: ChildProcess | undefined
try {
  const port = await freePort()
  latchkey = await startLatchkey(directory, port)
  await takePicture(port)
} finally {
  if (latchkey !== undefined) await stop(latchkey)
  await services.stop()
  rmSync(directory, { recursive: true, force: true })
}
