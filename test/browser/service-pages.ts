import type { Page } from 'playwright-core'
import type { Test } from 'tap'
import { PASSWORD } from '../helper.ts'
import { launch } from './browser.ts'
import { close, execute, fillIn, form, NARROW, open, picture, signIn, WIDE } from './docs.ts'

/** Logs in with the password in the dialog itself, at the second attempt. */
async function logInHere(t: Test, page: Page): Promise<void> {
  const dialog = await fillIn(page, 'alice', 'not her password', [])
  t.equal(await dialog.getByRole('alert').innerText(), 'Incorrect username or password')
  await dialog.getByRole('alert').scrollIntoViewIfNeeded()
  await picture(page, 'service-wrong')
  await fillIn(page, 'alice', PASSWORD, [])
}

/** Logs in as alice, a clerk, at the pages of the service of README.md, and tries its operations. */
export async function visitService(t: Test, service: string, latchkey: string): Promise<void> {
  for (const viewport of [WIDE, NARROW]) {
    await t.test(`${viewport.width} wide`, async (t) => {
      const page = await open(t, await launch(), { origin: service, viewport, also: latchkey })
      await picture(page, `service-${viewport.width}`)
      t.equal(await execute(page, 'get_orders', /\/orders$/), '401', 'before the login')

      await page.locator('.btn.authorize').click()
      const dialog = form(page, 'code')
      t.match(await dialog.innerText(), `sign in on the page of ${latchkey}`)
      t.equal(await dialog.locator('input:not([type=checkbox])').count(), 0, 'no field to fill in')
      await picture(page, `service-form-${viewport.width}`)
      const programs = form(page, 'clientCredentials')
      await programs.scrollIntoViewIfNeeded()
      t.match(await programs.innerText(), /orders:read\s+For GET \/orders/)
      await picture(page, `service-form-below-${viewport.width}`)
      if (viewport === WIDE) await signIn(page, { username: 'alice' })
      else await logInHere(t, page)
      await page.getByRole('button', { name: 'Logout' }).waitFor()
      await picture(page, `service-authorized-${viewport.width}`)
      await close(page)

      t.equal(await execute(page, 'get_orders', /\/orders$/), '200')
      await page.locator('[id$="-get_orders"] .live-responses-table').scrollIntoViewIfNeeded()
      await picture(page, `service-orders-${viewport.width}`)
      t.equal(await execute(page, 'get_admin_only', /\/admin-only$/), '403')
      await page.locator('[id$="-get_admin_only"] .live-responses-table').scrollIntoViewIfNeeded()
      await picture(page, `service-refused-${viewport.width}`)

      await page.locator('.btn.authorize').click()
      const revoked = page.waitForResponse(`${latchkey}/revoke`)
      await page.getByRole('button', { name: 'Logout' }).click()
      t.equal((await revoked).status(), 200, 'the logout ends the session')
    })
  }
}
