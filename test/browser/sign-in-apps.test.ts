import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import * as oauth from 'oauth4webapi'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { PASSWORD } from '../helper.ts'
import { block, blocks, startPublished } from '../newcomer.ts'
import { plant, plantRandom } from '../secrets.ts'
import { createAppBrowser, openLatchkey } from '../sign-in-apps.ts'
import { launch } from './browser.ts'

const GUIDES = {
  page: 'docs/sign-in/single-page.md',
  server: 'docs/sign-in/server-rendered.md',
  desktop: 'docs/sign-in/desktop.md',
  mobile: 'docs/sign-in/mobile.md'
}
const latchkey = await openLatchkey(t)
const { issuer, atPorts, type, signIn } = latchkey
await type(block('docs/sign-in.md', 'sh', 'user add alice'))
const exampleSecret = await type(block('examples/README.md', 'sh', '--id spa'))

t.test('from nothing to "Hello Alice" each guide needs at most 20 lines of code', async (t) => {
  for (const [file, language] of [
    [GUIDES.page, 'html'],
    [GUIDES.server, 'js'],
    [GUIDES.desktop, 'js'],
    [GUIDES.mobile, 'kotlin'],
    [GUIDES.mobile, 'swift']
  ] as const) {
    const [code = '', ...more] = blocks(file, language)
    t.equal(more.length, 0)
    const lines = code.split('\n').filter((line) => line !== '')
    t.ok(lines.length > 10 && lines.length <= 20, `${file}: ${lines.length} lines`)
  }
})

t.test('README.md starts examples/spa with the client of examples/README.md', async (t) => {
  const [client, start, ...more] = block('README.md', 'sh', '--spa').trimEnd().split('\n')
  t.ok(block('examples/README.md', 'sh', '--id spa').startsWith(`${client}\n`))
  t.strictSame([start, more], ['npm --prefix examples/spa start', []])
})

/** Opens an app in Chromium, which fails the test when the page writes to the console. */
async function openPage(t: Test): Promise<Page> {
  const context = await (await launch()).newContext({ locale: 'en-US' })
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.on('console', (message) => t.fail(`on the console: ${message.text()}`))
  page.on('pageerror', (error) => t.fail(error))
  return page
}

async function fillSignIn(page: Page): Promise<void> {
  await page.getByLabel('Username').fill('alice')
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

t.test('the single-page app of the guide says "Hello Alice"', async (t) => {
  await type(block(GUIDES.page, 'sh', 'client add'))
  const html = atPorts(block(GUIDES.page, 'html', 'oauth4webapi'))
  const server = createServer((request, response) => {
    const isLibrary = request.url?.startsWith('/node_modules/oauth4webapi/build/')
    response.setHeader('content-type', isLibrary ? 'text/javascript' : 'text/html')
    if (request.url === '/favicon.ico') response.writeHead(204)
    response.end(isLibrary ? readFileSync(`.${request.url}`) : html)
  }).listen(Number(new URL(latchkey.page).port), 'localhost')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const page = await openPage(t)
  await page.goto(latchkey.page)
  await fillSignIn(page)
  await page.getByRole('button', { name: 'Allow' }).click()
  await page.getByRole('heading', { name: 'Hello Alice' }).waitFor()
})

t.test('the server-rendered app of the guide says "Hello Alice"', async (t) => {
  const secret = await type(block(GUIDES.server, 'sh', 'client add'))
  const code = atPorts(block(GUIDES.server, 'js', 'openid-client'))
  const app = await startPublished(t, ['--input-type=module', '--eval', code], {
    env: { SECRET: secret },
    awaited: ['Server listening']
  })
  const { visit } = createAppBrowser()
  const back = await signIn((await visit(latchkey.server)).location)
  t.equal(back.asks, true)
  t.match(await visit(back.url), { status: 302, location: '/' })
  t.strictSame(await visit(latchkey.server), { status: 200, location: '', text: 'Hello Alice' })
  await app.stop()
})

t.test('the program of the guide says "Hello Alice"', async (t) => {
  await type(block(GUIDES.desktop, 'sh', 'client add'))
  const code = atPorts(block(GUIDES.desktop, 'js', 'createLoginClient'))
  const program = await startPublished(t, ['--input-type=module', '--eval', code], { env: {}, awaited: ['\n'] })
  const [, url = ''] = /^Sign in at (\S+)\n/.exec(program.output()) ?? []
  await fetch((await signIn(url)).url)
  t.equal(await program.ended, 0)
  t.match(program.output(), /\nHello Alice\n$/)
})

/** The settings of AppAuth in a block of code: its only texts with these forms. */
function settingsOf(language: string) {
  const [code = ''] = blocks(GUIDES.mobile, language)
  const [, clientId = ''] = /"(hello-[a-z]+)"/.exec(code) ?? []
  const [, redirectUri = ''] = /"([a-z.]+:\/callback)"/.exec(code) ?? []
  const [, named = ''] = /"(https:\/\/[a-z.]+)"/.exec(code) ?? []
  const scopes = [...code.matchAll(/"(openid profile|openid|profile)"/g)].map(([, scope]) => scope)
  return { clientId, redirectUri, named, scope: scopes.join(' ') }
}

t.test('the settings of the mobile guide sign alice in, with the requests of AppAuth', async (t) => {
  await type(block(GUIDES.mobile, 'sh', 'client add'))
  const android = settingsOf('kotlin')
  t.strictSame(android, settingsOf('swift'))
  t.equal(android.named, 'https://id.example.com', 'the address of this Latchkey takes its place')
  const [claimed = ''] = /https:\S+\/callback/.exec(block(GUIDES.mobile, 'sh', 'client add')) ?? []
  const { clientId, scope } = android
  const client = { client_id: clientId }
  const http = { [oauth.allowInsecureRequests]: true }
  const server = await oauth.processDiscoveryResponse(
    new URL(issuer),
    await oauth.discoveryRequest(new URL(issuer), http)
  )

  const jar = latchkey.jar()
  async function hello(redirectUri: string): Promise<{ asks: boolean; name: unknown }> {
    const [verifier, state, nonce] = [
      oauth.generateRandomCodeVerifier(),
      oauth.generateRandomState(),
      oauth.generateRandomNonce()
    ]
    const request = {
      redirect_uri: redirectUri,
      client_id: clientId,
      response_type: 'code',
      state,
      nonce,
      scope,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256'
    }
    const { url, asks } = await signIn(`${server.authorization_endpoint}?${new URLSearchParams(request)}`, jar)
    t.ok(url.startsWith(`${redirectUri}?`), 'the system opens the app')
    const params = oauth.validateAuthResponse(server, client, new URL(url), state)
    plantRandom(params.get('code'))
    const response = await oauth.authorizationCodeGrantRequest(
      server,
      client,
      oauth.None(),
      params,
      redirectUri,
      verifier,
      http
    )
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, {
      expectedNonce: nonce,
      requireIdToken: true
    })
    const renewed = await oauth.processRefreshTokenResponse(
      server,
      client,
      await oauth.refreshTokenGrantRequest(server, client, oauth.None(), tokens.refresh_token as string, http)
    )
    plant(renewed.access_token.split('.')[2], renewed.refresh_token)
    const sub = oauth.getValidatedIdTokenClaims(tokens)?.sub as string
    const user = await oauth.userInfoRequest(server, client, renewed.access_token, http)
    return { asks, name: (await oauth.processUserInfoResponse(server, client, sub, user)).name }
  }
  for (const [redirectUri, asks] of [
    [android.redirectUri, true],
    [android.redirectUri, true],
    [claimed, false]
  ] as const)
    t.strictSame(await hello(redirectUri), { asks, name: 'Alice' }, redirectUri)
})

t.test('examples/spa gets a new token without a password, after the old one or a reload, and signs out', async (t) => {
  const example = await startPublished(t, ['examples/spa/server.ts'], {
    env: { ISSUER: issuer, PORT: new URL(latchkey.page).port },
    awaited: ['http://']
  })
  const page = await openPage(t)
  await page.goto(latchkey.page)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await fillSignIn(page)
  const heading = page.getByRole('heading', { name: 'Hello Alice' })
  await heading.waitFor()
  t.equal(page.url(), latchkey.page, 'the code is gone from the address')
  t.strictSame(await page.evaluate('[Object.keys(localStorage), Object.keys(sessionStorage)]'), [[], []])
  // The access token expires for this page. The page that loads after the renewal has the right time again.
  await page.evaluate('const now = Date.now(); Date.now = () => now + 600_000')
  const renewal = page.waitForRequest((request) => request.url().startsWith(`${issuer}/token`))
  await page.getByRole('button', { name: 'Who am I?' }).click()
  await renewal
  await heading.waitFor()
  await page.reload()
  await page.getByRole('button', { name: 'Sign in' }).click()
  await heading.waitFor()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('heading', { name: 'Hello', exact: true }).waitFor()
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByLabel('Password').waitFor()
  await example.stop()
})

t.test('examples/web signs in with a new session, refuses another browser, and signs out', async (t) => {
  const example = await startPublished(t, ['examples/web/server.ts'], {
    env: { ISSUER: issuer, PORT: new URL(latchkey.server).port, CLIENT_SECRET: exampleSecret },
    awaited: ['Server listening']
  })
  const at = (path: string) => new URL(path, latchkey.server).href
  const { visit } = createAppBrowser()
  t.match((await visit(at('/'))).text, '<a href="/sign-in">')
  const { url } = await signIn((await visit(at('/sign-in'))).location)
  const other = createAppBrowser()
  await other.visit(at('/sign-in'))
  t.match(await other.visit(url), { status: 400 }, 'the response belongs to another browser')
  t.match((await other.visit(at('/'))).text, '<h1>Hello</h1>')

  const again = await signIn((await visit(at('/sign-in'))).location)
  t.match(await visit(again.url), { status: 302, location: '/' })
  t.match((await visit(at('/'))).text, '<h1>Hello Alice</h1>')
  const out = await visit(at('/sign-out'), { method: 'POST', body: new URLSearchParams() })
  t.equal(out.status, 303)
  t.ok(out.location.startsWith(`${issuer}/logout?`))
  t.match((await visit(at('/'))).text, '<h1>Hello</h1>')
  await example.stop()
})

t.test('examples/cli says "Hello Alice", and one line when the user refuses', async (t) => {
  const start = () => startPublished(t, ['examples/cli/main.ts'], { env: { ISSUER: issuer }, awaited: ['state='] })
  const urlOf = (output: string) => /^http\S+/m.exec(output)?.[0] as string
  const program = await start()
  await fetch((await signIn(urlOf(program.output()))).url)
  t.equal(await program.ended, 0)
  t.match(program.output(), /\nHello Alice\n$/)

  const refused = await start()
  const asked = new URL(urlOf(refused.output())).searchParams
  const params = { error: 'access_denied', state: asked.get('state') as string, iss: issuer }
  await fetch(`${asked.get('redirect_uri')}?${new URLSearchParams(params)}`)
  t.equal(await refused.ended, 1)
  t.match(refused.output(), `\nno token for cli from ${issuer}: access_denied\n`)
})
