import { type Browser, chromium } from 'playwright-core'
import root from 'tap'

/** A host on loopback that is no loopback host to Chromium: its pages are in no secure context. */
export const INSECURE_HOST = 'latchkey.internal'

let browser: Promise<Browser> | undefined

/** Returns the Chromium of this process, with its web security as it ships. It is closed when all tests of the process have ended. */
export function launch(): Promise<Browser> {
  browser ??= start()
  return browser
}

async function start(): Promise<Browser> {
  const executablePath = process.env.TEST_CHROMIUM
  if (executablePath === undefined)
    throw new Error('TEST_CHROMIUM is not set: run this test with "npm test -- <file>", which starts the browser')
  const started = await chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-background-networking',
      '--disable-component-update',
      '--no-first-run',
      '--disable-gpu',
      '--disable-software-rasterizer',
      `--host-resolver-rules=MAP ${INSECURE_HOST} 127.0.0.1`
    ]
  })
  root.teardown(() => started.close())
  return started
}
