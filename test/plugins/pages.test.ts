import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { contrast } from '../../plugins/pages/accent.ts'
import { build } from '../helper.ts'
import { CLIENT, FORM, pagesApp, RETURN, SAMPLES } from '../page-samples.ts'

const HTML = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'latchkey-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  return path
}

const policyOf = (more: string) =>
  `default-src 'none'; style-src 'self'; img-src 'self' data:; ${more}; base-uri 'none'; frame-ancestors 'none'`

t.test('every page is in English and in German, and no page holds a text that is missing', async (t) => {
  const app = await pagesApp(t)
  for (const name of Object.keys(SAMPLES)) {
    const [english, german] = await Promise.all(
      ['en', 'de'].map((language) => app.inject({ url: `/${name}`, headers: { 'accept-language': language } }))
    )
    t.match(english, { statusCode: 200, headers: { 'content-language': 'en' }, body: /<html lang="en">/ })
    t.match(german, { statusCode: 200, headers: { 'content-language': 'de' }, body: /<html lang="de">/ })
    t.notMatch(`${english?.body}${german?.body}`, /undefined|\[object|=>|NaN/, name)
  }
  const { body } = await app.inject({ url: '/consent', headers: { 'accept-language': 'de' } })
  t.match(body, />Ihren Namen und Ihre Rollen sehen</)
  t.match(body, />See your orders</, 'a scope of another service has its registered words')
})

t.test('the language is that of ui_locales, else of Accept-Language by weight, else English', async (t) => {
  const app = await pagesApp(t)
  const cases: [query: string, header: string | undefined, language: string][] = [
    ['', undefined, 'en'],
    ['', 'de', 'de'],
    ['', 'de-AT, en;q=0.5', 'de'],
    ['', 'fr, de;q=0.2, en;q=0.7', 'en'],
    ['', 'de;q=0, fr', 'en'],
    ['', 'constructor, __proto__, *', 'en'],
    ['', ', '.repeat(2000), 'en'],
    ['?ui_locales=fr%20de', 'en', 'de'],
    ['?ui_locales=fr', 'de', 'de'],
    ['?ui_locales=en&ui_locales=de', 'de', 'de']
  ]
  for (const [query, header, language] of cases) {
    const { headers } = await app.inject({
      url: `/home${query}`,
      headers: header === undefined ? {} : { 'accept-language': header }
    })
    t.equal(headers['content-language'], language, `${query} ${header}`.slice(0, 40))
  }
})

t.test('a page escapes every value', async (t) => {
  const evil = `"'><script>alert(1)</script>&lt;`
  const client = { ...CLIENT, name: evil, clientUri: null }
  const data = [
    {
      page: 'consent' as const,
      data: {
        client,
        form: { action: `/${evil}`, token: evil },
        username: evil,
        scopes: [{ name: evil, description: evil }],
        returnsTo: RETURN,
        other: evil
      }
    }
  ]
  const { body } = await (await pagesApp(t, { serviceName: evil }, data)).inject({ url: '/data' })
  t.equal(body.includes('<script'), false)
  t.equal(body.includes(evil), false)
  t.match(body, '&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;lt;')
})

t.test('a page has a strict policy of its own, and no cache stores it [BR2]', async (t) => {
  const app = await pagesApp(t)
  const policies: Record<string, string> = {
    home: policyOf("form-action 'none'"),
    error: policyOf("form-action 'none'"),
    'sign-in': policyOf("form-action 'self'"),
    consent: policyOf("form-action 'self'"),
    'sign-out': policyOf("form-action 'self'"),
    account: policyOf("form-action 'self'")
  }
  for (const [name, policy] of Object.entries(policies)) {
    const { headers } = await app.inject({ url: `/${name}` })
    t.match(headers, {
      'content-security-policy': policy,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      // With "no-referrer" browsers would send "Origin: null" with the forms of a page.
      'referrer-policy': 'same-origin'
    })
  }
})

t.test(
  'the policy of a form allows a redirect to an app with a private-use scheme, and to no other origin',
  async (t) => {
    const targets: [returnsTo: string, formAction: string][] = [
      ['https://app.example:8443/callback?a=b', "'self'"],
      ['http://[::1]:51000/callback', "'self'"],
      ['com.example.app:/callback', "'self' com.example.app:"],
      ["https://app.example/;script-src 'unsafe-inline'", "'self'"]
    ]
    for (const [returnsTo, formAction] of targets) {
      const data = { ...(SAMPLES.consent?.data as object), returnsTo }
      const { headers } = await (await pagesApp(t, {}, [{ page: 'consent', data }])).inject({ url: '/data' })
      t.equal(headers['content-security-policy'], policyOf(`form-action ${formAction}`), returnsTo)
    }
  }
)

t.test('the page of form_post posts to the app, which may redirect to any origin', async (t) => {
  const data = { redirectUri: 'https://shop.example/callback', fields: { code: 'x', state: '"><b>' } }
  const { headers, body } = await (await pagesApp(t, {}, [{ page: 'form-post', data }])).inject({ url: '/data' })
  t.equal(headers['content-security-policy'], policyOf("script-src 'self'"))
  t.match(body, '<form method="post" action="https://shop.example/callback">')
  t.match(body, '<input type="hidden" name="state" value="&quot;&gt;&lt;b&gt;">')
})

t.test('after a form the browser goes on to a web app by a page, and to another app by a redirect', async (t) => {
  const app = await pagesApp(t)
  const [web, own] = ["https://shop.example/callback?a=b&state=';x", 'com.example.app:/callback?code=x']
  const page = await app.inject({ method: 'POST', url: '/leave', query: { url: web } })
  t.strictSame([page.statusCode, page.headers['content-security-policy']], [200, policyOf("form-action 'none'")])
  const escaped = 'https://shop.example/callback?a=b&amp;state=&#39;;x'
  t.match(page.body, `<meta http-equiv="refresh" content="0; url=${escaped}">`)
  t.match(page.body, `href="${escaped}"`)
  for (const [method, url] of [
    ['GET', web],
    ['POST', own],
    ['GET', own]
  ] as const) {
    const { statusCode, headers } = await app.inject({ method, url: '/leave', query: { url } })
    t.strictSame([statusCode, headers.location], [303, url], url)
  }
})

t.test('the consent page says who asks, where the user returns to, and each scope except openid', async (t) => {
  const returns: [redirectUri: string, words: string][] = [
    ['https://shop.example/callback', 'You return to <strong>shop.example</strong>'],
    ['http://127.0.0.1:8400/callback', 'You return to <strong>an app on this device (127.0.0.1:8400)</strong>'],
    ['com.example.app:/callback', 'You return to <strong>an app on this device (com.example.app)</strong>']
  ]
  const { data } = SAMPLES.consent as { data: object }
  for (const [returnsTo, words] of returns) {
    const app = await pagesApp(t, {}, [{ page: 'consent', data: { ...data, returnsTo } }])
    const { body } = await app.inject({ url: '/data' })
    t.match(body, words)
    t.match(body, 'Example Shop wants to use your account')
    t.strictSame(
      [...body.matchAll(/type="checkbox"[^>]* name="([^"]*)"/g)].map(([, name]) => name),
      ['scope:profile', 'scope:orders:read']
    )
    t.match(body, 'See your orders')
  }
})

t.test('a refused sign-in says what to do next', async (t) => {
  const refusals: [refusal: object, words: RegExp][] = [
    [{ kind: 'incomplete' }, /Enter your username and your password/],
    [{ kind: 'wrong' }, /Check both and try again/],
    [{ kind: 'disabled' }, /switched off\. Ask the people who run this service/],
    [{ kind: 'throttled', retryAfter: 61 }, /locked\. Wait 2 minutes, then try again/],
    [{ kind: 'throttled', retryAfter: 1 }, /Wait 1 minute, then/],
    [{ kind: 'busy', retryAfter: 1 }, /Wait a few seconds/]
  ]
  for (const [refusal, words] of refusals) {
    const data = {
      client: CLIENT,
      form: FORM,
      username: 'alice',
      isSameUser: false,
      refusal,
      returnsTo: null
    }
    const { body } = await (await pagesApp(t, {}, [{ page: 'sign-in', data }])).inject({ url: '/data' })
    t.match(/id="refusal" role="alert">([^<]*)/.exec(body)?.[1], words)
    t.match(/<input type="password"[^>]*>/.exec(body)?.[0], 'aria-describedby="refusal"')
    t.match(body, '<title>Error: Sign in – Latchkey</title>')
  }
})

t.test('the files of the pages may be stored for ever, because their names change with their content', async (t) => {
  const [one, other] = [await pagesApp(t), await pagesApp(t, { accent: '#b00020' })]
  const stylesOf = async (app: typeof one) =>
    /<link rel="stylesheet" href="([^"]*)">/.exec((await app.inject({ url: '/home' })).body)?.[1] as string
  const [url, otherUrl] = [await stylesOf(one), await stylesOf(other)]
  t.not(url, otherUrl)
  const { statusCode, headers } = await one.inject({ url })
  t.equal(statusCode, 200)
  t.match(headers, {
    'content-type': 'text/css; charset=utf-8',
    'cache-control': 'public, max-age=31536000, immutable'
  })
  t.equal((await one.inject({ url: '/favicon.ico' })).headers['content-type'], 'image/svg+xml')
})

t.test('every accent colour is legible in light and in dark (WCAG 2.2 AA)', async (t) => {
  for (const accent of ['#2b4c9b', '#fff', '#000', '#ff0', '#f00', '#0f0', '#00f', '#777777', '#c0ffee']) {
    const app = await pagesApp(t, { accent })
    const url = /href="([^"]*style[^"]*)"/.exec((await app.inject({ url: '/home' })).body)?.[1] as string
    const { body } = await app.inject({ url })
    const [light, dark] = [...body.matchAll(/--accent: (#\w+);/g)].map(([, colour]) => colour as string)
    for (const background of ['#ffffff', '#f4f5f7'])
      t.ok(contrast(light as string, background) >= 4.5, `${accent} on ${background}`)
    for (const background of ['#1c1f26', '#13151a'])
      t.ok(contrast(dark as string, background) >= 4.5, `${accent} on ${background}`)
  }
})

t.test('name and logo of the service are those of the settings', async (t) => {
  const folder = directory(t)
  writeFileSync(join(folder, 'logo'), '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"></svg>')
  const app = await pagesApp(t, { serviceName: 'Söhne & Co', logoFile: join(folder, 'logo') })
  const { body } = await app.inject({ url: '/sign-in' })
  t.match(body, '<span>Söhne &amp; Co</span>')
  t.match((await app.inject({ url: '/home' })).body, '<title>Home page – Söhne &amp; Co</title>')
  const url = /<img src="(\/assets\/logo-[^"]*)"/.exec(body)?.[1] as string
  t.match((await app.inject({ url })).headers, { 'content-type': 'image/svg+xml' })

  writeFileSync(join(folder, 'text'), 'no image')
  writeFileSync(join(folder, 'large'), Buffer.concat([Buffer.from('\x89PNG\r\n', 'latin1'), Buffer.alloc(262_144)]))
  for (const [file, reason] of [
    ['text', 'is no image'],
    ['large', 'has more than 262144 bytes'],
    ['missing', 'ENOENT']
  ] as const)
    await t.rejects(
      pagesApp(t, { logoFile: join(folder, file) }),
      new RegExp(`LATCHKEY_LOGO_FILE cannot be used: .*${reason}`)
    )
})

t.test(
  'the logo of a client comes from the data directory or is a data: URI, and nothing else is loaded',
  async (t) => {
    const dataDir = directory(t)
    writeFileSync(join(dataDir, 'shop.png'), Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'))
    writeFileSync(join(dataDir, 'sealing-key'), 'a secret')
    const logos: [logoUri: string | null, shown: string | undefined][] = [
      ['shop.png', 'data:image/png;base64,iVBORw0KGgo='],
      ['data:image/png;base64,iVBORw0KGgo=', 'data:image/png;base64,iVBORw0KGgo='],
      ['https://shop.example/logo.png', undefined],
      ['//shop.example/logo.png', undefined],
      ['data:text/html,x', undefined],
      ['sealing-key', undefined],
      ['../shop.png', undefined],
      ['./shop.png', undefined],
      ['missing.png', undefined],
      [null, undefined]
    ]
    for (const [logoUri, shown] of logos) {
      const data = { ...(SAMPLES['wrong-password']?.data as object), client: { ...CLIENT, logoUri } }
      const { body } = await (await pagesApp(t, { dataDir }, [{ page: 'sign-in', data }])).inject({ url: '/data' })
      t.equal(/<img src="([^"]*)"/.exec(body)?.[1], shown, String(logoUri))
    }
  }
)

t.test('a browser gets a page at / and for every unknown path, other programs get JSON', async (t) => {
  const { inject } = await build(t)
  const accepts: [accept: string | undefined, isPage: boolean][] = [
    [HTML.accept, true],
    ['text/html', true],
    ['application/json, text/html;q=0.5', false],
    ['application/json', false],
    ['*/*', false],
    ['text/html;q=0', false],
    [undefined, false]
  ]
  for (const [accept, isPage] of accepts) {
    const headers = accept === undefined ? {} : { accept }
    const [index, unknown] = [await inject({ url: '/', headers }), await inject({ url: '/nothing', headers })]
    t.equal(index.statusCode, 200)
    t.equal(unknown.statusCode, 404)
    for (const { headers: sent } of [index, unknown])
      t.match(sent['content-type'], isPage ? /^text\/html/ : /^application\/(problem\+)?json/, accept ?? 'no Accept')
    t.match(index.headers.vary, /accept/)
    if (!isPage) continue
    for (const link of ['href="/sign-in"', 'href="/account"', 'href="/docs"']) {
      t.match(index.body, link)
      t.match(unknown.body, link)
    }
  }
  const { body } = await (await build(t, { env: { LATCHKEY_DOCS: 'false' } })).inject({ url: '/', headers: HTML })
  t.equal(body.includes('/docs'), false)
})

t.test('the links of the pages begin with the path of the issuer', async (t) => {
  const { inject } = await build(t, {
    env: { LATCHKEY_ISSUER: 'https://example.com/auth', LATCHKEY_TRUSTED_PROXIES: 'none' }
  })
  const { body } = await inject({ url: '/', headers: HTML })
  const links = [...body.matchAll(/(?:href|src)="([^"]*)"/g)].map(([, url]) => url as string)
  t.ok(links.length >= 5)
  t.strictSame(
    links.filter((url) => !url.startsWith('/auth/')),
    []
  )
})
