import { decodeJwt } from 'jose'
import type { BrowserContext, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, PASSWORD } from '../helper.ts'
import { launch } from './browser.ts'
import { close, execute, fillIn, form, NARROW, open, picture, shorten, WIDE } from './docs.ts'

/** The pages send it as it is, not form-encoded. */
const ID = 'batch+%~x'

async function serve(t: Test, scope: string): Promise<{ origin: string; context: BrowserContext; secret: string }> {
  const { app } = await build(t)
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const context = await (await launch()).newContext()
  t.teardown(() => context.close())
  await shorten(context, origin)
  const { secret } = await app.auth.clients.create(OPERATOR, {
    id: ID,
    name: 'Batch',
    grantTypes: ['client_credentials'],
    scopes: [scope],
    defaultScopes: [scope]
  })
  return { origin, context, secret: secret as string }
}

const tokenAnswer = (page: Page) => page.waitForResponse((response) => response.url().endsWith('/token'))

async function enter(page: Page, secret: string) {
  const dialog = form(page, 'clientCredentials')
  await dialog.getByLabel('client_id').fill(ID)
  await dialog.getByLabel('client_secret').fill(secret)
  const answer = tokenAnswer(page)
  await dialog.getByRole('button', { name: 'Authorize' }).click()
  return answer
}

/** Everything that the page has stored, and what stands in its address. */
const kept = async (page: Page): Promise<string> =>
  JSON.stringify([
    await page.context().storageState({ indexedDB: true }),
    await page.evaluate('[{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state]')
  ])

for (const [path, viewport] of [
  ['/docs', WIDE],
  ['/docs/', NARROW]
] as const) {
  t.test(`a client’s id and secret get a token at ${path} beside the login (${viewport.width} wide)`, async (t) => {
    const { origin, context, secret } = await serve(t, 'tokens:introspect')
    const page = await open(t, context, { origin, path, viewport })
    await page.locator('.btn.authorize').click()
    t.strictSame(
      await page.locator('.auth-container h4').allInnerTexts(),
      [
        'code (OAuth2, authorizationCode with PKCE)',
        'password (OAuth2, password)',
        'clientCredentials (OAuth2, clientCredentials)'
      ],
      'and no form for HTTP Basic'
    )
    const dialog = form(page, 'clientCredentials')
    t.equal(await dialog.getByLabel('client_secret').getAttribute('type'), 'password', 'the typed secret is hidden')
    await dialog.scrollIntoViewIfNeeded()
    await picture(page, `client-form-${viewport.width}`)

    const refused = await enter(page, 'lks_not-the-secret')
    t.strictSame(
      [refused.status(), await refused.json()],
      [401, { error: 'invalid_client', error_description: 'Client authentication failed' }]
    )
    await dialog.getByRole('alert').waitFor()
    t.match(await dialog.getByRole('alert').innerText(), 'Client authentication failed')
    await dialog.getByRole('alert').scrollIntoViewIfNeeded()
    await picture(page, `client-refused-${viewport.width}`)

    const answer = await enter(page, secret)
    const { access_token, ...rest } = await answer.json()
    t.strictSame(
      [answer.status(), rest],
      [200, { token_type: 'Bearer', expires_in: 300, scope: 'tokens:introspect' }],
      'and no refresh token'
    )
    t.match(decodeJwt(access_token), { sub: ID, client_id: ID })
    await dialog.getByRole('button', { name: 'Logout' }).waitFor()
    t.notMatch(await dialog.innerText(), secret, 'the secret is not shown')
    await dialog.getByRole('button', { name: 'Logout' }).scrollIntoViewIfNeeded()
    await picture(page, `client-authorized-${viewport.width}`)
    t.equal(await form(page, 'password').getByRole('button', { name: 'Logout' }).count(), 0)

    await close(page)
    const stored = await kept(page)
    for (const each of [secret, access_token, ID]) t.notMatch(stored, each)
    t.equal(await execute(page, 'getMe'), '401', 'the token of a client is not sent to a route for users')

    await page.locator('.btn.authorize').click()
    await dialog.getByRole('button', { name: 'Logout' }).click()
    await dialog.getByRole('button', { name: 'Authorize' }).waitFor()
    await close(page)
    await page.locator('.btn.authorize').click()
    t.equal(await dialog.getByLabel('client_secret').inputValue(), '', 'it must be typed again')
    await page.reload()
    await page.locator('.btn.authorize.unlocked').waitFor()
  })
}

t.test('a selected scope is requested, and a scope that the client may not have is refused', async (t) => {
  const { origin, context, secret } = await serve(t, 'profile')
  const page = await open(t, context, { origin })
  await page.locator('.btn.authorize').click()
  await form(page, 'clientCredentials').locator('input[data-value="tokens:introspect"]').check()
  const answer = await enter(page, secret)
  t.equal(new URLSearchParams(answer.request().postData() ?? '').get('scope'), 'tokens:introspect')
  await form(page, 'clientCredentials').getByRole('alert').waitFor()
  t.match(
    await form(page, 'clientCredentials').getByRole('alert').innerText(),
    'None of the requested scopes is allowed'
  )
})

t.test('a user’s login and a client’s token are independent of each other', async (t) => {
  const { origin, context, secret } = await serve(t, 'tokens:introspect')
  const page = await open(t, context, { origin })
  await page.locator('.btn.authorize').click()
  const login = await fillIn(page, 'alice', PASSWORD, ['profile'])
  const logout = { name: 'Logout' }
  await login.getByRole('button', logout).waitFor()
  await enter(page, secret)
  const client = form(page, 'clientCredentials')
  await client.getByRole('button', logout).waitFor()
  await picture(page, 'client-and-user')
  await close(page)
  t.equal(await execute(page, 'getMe'), '200', 'with the user’s token')

  await page.locator('.btn.authorize').click()
  const asked: string[] = []
  page.on('request', (request) => asked.push(new URL(request.url()).pathname))
  await client.getByRole('button', logout).click()
  await client.getByRole('button', { name: 'Authorize' }).waitFor()
  t.equal(await login.getByRole('button', logout).count(), 1)
  await close(page)
  t.equal(await execute(page, 'getMe'), '200', 'the login goes on')
  t.notOk(asked.includes('/revoke'), 'it was not ended')
  t.match(await kept(page), '\\"username\\":\\"alice\\"')
  t.notMatch(await kept(page), secret)

  await page.reload()
  await page.locator('.btn.authorize.locked').waitFor()
  await page.locator('.btn.authorize').click()
  t.equal(await login.getByRole('button', logout).count(), 1, 'the login is kept')
  t.equal(await client.getByRole('button', logout).count(), 0, 'the token of the client is not kept')
})
