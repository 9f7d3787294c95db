import fastify from 'fastify'
import t, { type Test } from 'tap'
import latchkey from '../../src/mount.ts'
import { freePort } from '../cli/process.ts'
import { PASSWORD } from '../helper.ts'
import { settings } from '../host.ts'
import { launch } from './browser.ts'
import { close, execute, fillIn, form, open, shorten, signIn } from './docs.ts'

/** Logs in at `/auth/docs` of a host app and reloads the page. Returns the page, and the keys of localStorage before the reload. */
async function loginAndReload(t: Test, scheme: 'code' | 'password', options: object) {
  const port = await freePort()
  const origin = `http://localhost:${port}`
  const host = fastify()
  t.teardown(() => host.close())
  await host.register(latchkey, { ...(await settings(t, `${origin}/auth`)), ...options, logLevel: 'silent' })
  await host.listen({ host: 'localhost', port })
  const context = await (await launch()).newContext()
  t.teardown(() => context.close())
  await shorten(context, `${origin}/auth`)
  const page = await open(t, context, { origin, path: '/auth/docs' })
  await page.locator('.btn.authorize').click()
  if (scheme === 'code') await signIn(page, { username: 'admin' })
  else await fillIn(page, 'admin', PASSWORD, [])
  await form(page, scheme).getByRole('button', { name: 'Logout' }).waitFor()
  await close(page)
  t.equal(await execute(page, 'getMe'), '200')
  const stored = await page.evaluate(() =>
    Object.keys((globalThis as unknown as { localStorage: object }).localStorage)
  )
  await page.reload()
  return { page, stored }
}

t.test('a mounted /docs stores no refresh token in the origin of its host', async (t) => {
  const { page, stored } = await loginAndReload(t, 'password', {})
  t.strictSame(stored, [])
  await page.locator('.btn.authorize.unlocked').waitFor()
  t.equal(await execute(page, 'getMe'), '401')
})

t.test('a mounted /docs stores its login when the host asks for it', async (t) => {
  const { page, stored } = await loginAndReload(t, 'code', { docsStoreLogin: true })
  t.strictSame(stored, ['latchkey:/auth/'])
  await page.locator('.btn.authorize.locked').waitFor()
  t.equal(await execute(page, 'getMe'), '200')
})
