import type { Test } from 'tap'
import { PASSWORD } from '../helper.ts'
import { launch } from './browser.ts'
import { close, execute, fillIn, form, NARROW, open, picture, WIDE } from './docs.ts'

/** Logs in as alice, a clerk, at the pages of the service of README.md, and tries its operations. */
export async function visitService(t: Test, service: string, latchkey: string): Promise<void> {
  for (const viewport of [WIDE, NARROW]) {
    await t.test(`${viewport.width} wide`, async (t) => {
      const page = await open(t, await launch(), { origin: service, viewport, also: latchkey })
      await picture(page, `service-${viewport.width}`)
      t.equal(await execute(page, 'get_orders', /\/orders$/), '401', 'before the login')

      await page.locator('.btn.authorize').click()
      const dialog = form(page, 'password')
      t.equal(await dialog.getByLabel('client_id').inputValue(), 'orders-docs', 'it is filled in')
      t.match(await dialog.innerText(), `For users: log in at ${latchkey} with your username and password.`)
      await picture(page, `service-form-${viewport.width}`)
      const programs = form(page, 'clientCredentials')
      await programs.scrollIntoViewIfNeeded()
      t.match(await programs.innerText(), /orders:read\s+For GET \/orders/)
      await picture(page, `service-form-below-${viewport.width}`)

      await fillIn(page, 'alice', 'not her password', [])
      await dialog.locator('.errors').waitFor()
      t.match(await dialog.locator('.errors').innerText(), 'Incorrect username or password')
      await dialog.locator('.errors').scrollIntoViewIfNeeded()
      await picture(page, `service-wrong-${viewport.width}`)
      await fillIn(page, 'alice', PASSWORD, [])
      await dialog.getByRole('button', { name: 'Remove authorization' }).waitFor()
      await picture(page, `service-authorized-${viewport.width}`)
      await close(page)

      t.equal(await execute(page, 'get_orders', /\/orders$/), '200')
      await page.locator('[id$="-get_orders"] .live-responses-table').scrollIntoViewIfNeeded()
      await picture(page, `service-orders-${viewport.width}`)
      t.equal(await execute(page, 'get_admin_only', /\/admin-only$/), '403')
      await page.locator('[id$="-get_admin_only"] .live-responses-table').scrollIntoViewIfNeeded()
      await picture(page, `service-refused-${viewport.width}`)
    })
  }
}
