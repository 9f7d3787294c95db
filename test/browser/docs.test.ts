import t, { type Test } from 'tap'
import { build, PASSWORD } from '../helper.ts'
import { launch } from './browser.ts'
import { close, execute, fillIn, form, NARROW, open, picture, shorten, WIDE } from './docs.ts'

async function serve(t: Test): Promise<string> {
  const { app } = await build(t)
  return app.listen({ host: '127.0.0.1', port: 0 })
}

for (const [path, viewport] of [
  ['/docs', WIDE],
  ['/docs/', NARROW]
] as const) {
  t.test(`a person logs in at ${path} and calls a protected route (${viewport.width} wide)`, async (t) => {
    const page = await open(t, await launch(), { origin: await serve(t), path, viewport })
    await picture(page, `docs-${viewport.width}`)
    t.equal(await execute(page, 'getMe'), '401')

    await page.locator('.btn.authorize').click()
    const dialog = await fillIn(page, 'alice', 'not the password', [])
    await dialog.getByRole('alert').waitFor()
    t.strictSame(await dialog.getByRole('alert').allInnerTexts(), ['Incorrect username or password'])
    await picture(page, `wrong-password-${viewport.width}`)

    await dialog.getByLabel('Password', { exact: true }).fill(PASSWORD)
    await page.keyboard.press('Enter')
    await dialog.getByRole('button', { name: 'Logout' }).waitFor()
    await picture(page, `logged-in-${viewport.width}`)
    await close(page)

    t.equal(await execute(page, 'getMe'), '200')
    t.match(
      await page.locator('[id$="-getMe"] .live-responses-table .microlight').first().innerText(),
      '"username": "alice"'
    )
    await picture(page, `called-${viewport.width}`)
    t.equal(await execute(page, 'listUsers'), '403')

    await page.locator('.btn.authorize').click()
    await form(page, 'password').getByRole('button', { name: 'Logout' }).click()
    await close(page)
    t.equal(await execute(page, 'getMe'), '401')
  })
}

t.test('an admin lists the users from /docs, with the scopes profile and users:read selected', async (t) => {
  const origin = await serve(t)
  const context = await (await launch()).newContext()
  t.teardown(() => context.close())
  await shorten(context, origin)
  const page = await open(t, context, { origin })
  await page.locator('.btn.authorize').click()
  const dialog = await fillIn(page, 'admin', PASSWORD, ['profile', 'users:read'])
  await dialog.getByRole('button', { name: 'Logout' }).waitFor()
  await close(page)
  t.equal(await execute(page, 'listUsers'), '200')
})

t.test('the pages have a policy that allows no content of other origins [BR2]', async (t) => {
  const { inject } = await build(t)
  for (const url of ['/docs', '/docs/', '/docs/static/swagger-ui.css']) {
    const { statusCode, headers } = await inject({ url })
    t.equal(statusCode, 200)
    t.strictSame(
      [
        headers['content-security-policy'],
        headers['x-content-type-options'],
        headers['referrer-policy'],
        headers['x-frame-options']
      ],
      [
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-hashes' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        'nosniff',
        'no-referrer',
        'DENY'
      ]
    )
  }
})

t.test('with LATCHKEY_DOCS=false there are no pages, and /openapi.json is still served', async (t) => {
  const { inject } = await build(t, { env: { LATCHKEY_DOCS: 'false' } })
  t.equal((await inject({ url: '/docs' })).statusCode, 404)
  t.equal((await inject({ url: '/openapi.json' })).json().openapi, '3.1.0')
})
