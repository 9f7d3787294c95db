import t from 'tap'
import { ISSUER } from '../helper.ts'
import { authorizeUrl, createJar, formOf, responseOf } from '../jar.ts'
import { openSignIn } from './sign-in-world.ts'

const WEB = 'https://app.example/callback'
const QUERY = 'https://app.example/callback?tenant=1'
const LOOPBACK = 'http://127.0.0.1/callback'
const IPV6 = 'http://[::1]/callback'
const PRIVATE = 'com.example.app:/callback'

const world = await openSignIn(t)
await world.register('app', {
  firstParty: true,
  applicationType: 'native',
  redirectUris: [WEB, QUERY, LOOPBACK, IPV6, PRIVATE]
})
const signedIn = createJar(world)
await signedIn.signIn('/sign-in')

/** Redirect URIs that no client registered, each one a little different from one that `app` registered. */
const URIS: Record<string, string[]> = {
  'userinfo in front of the host': [
    'https://app.example@evil.example/callback',
    'https://app.example:443@evil.example/callback',
    'https://evil@app.example/callback',
    'https://:@app.example/callback',
    'http://127.0.0.1@evil.example/callback',
    'http://127.0.0.1:80@evil.example/callback',
    'http://127.0.0.1:x@evil.example/callback'
  ],
  'a backslash or missing slashes': [
    'https://app.example\\@evil.example/callback',
    'https://app.example\\.evil.example/callback',
    'https:\\\\app.example/callback',
    'https:/app.example/callback',
    'https:app.example/callback',
    'https:///app.example/callback',
    '//app.example/callback',
    '/callback',
    'callback',
    'http://127.0.0.1\\callback'
  ],
  'percent-encoding, once and twice': [
    'https://app.example/%63allback',
    'https://app.example/callback%2f..%2fother',
    'https://app.example/callback%252f',
    'https://app%2eexample/callback',
    'https%3A%2F%2Fapp.example%2Fcallback',
    'https%253A%252F%252Fapp.example%252Fcallback',
    'http://127.0.0.1:5000%2Fcallback',
    'http://127.0.0.1%3A5000/callback'
  ],
  'letters that look alike, full-width letters and Punycode': [
    'https://аpp.example/callback',
    'https://xn--pp-6kc.example/callback',
    'https://app。example/callback',
    'https://\uff41pp.example/callback',
    'https://APP.EXAMPLE/callback',
    'https://app.examp\u00adle/callback'
  ],
  'a dot at the end, or more labels': [
    'https://app.example./callback',
    'https://app.example.evil.example/callback',
    'https://evil.app.example/callback',
    'https://evilapp.example/callback',
    'http://127.0.0.1./callback',
    'http://127.0.0.1.evil.example/callback'
  ],
  'other paths': [
    'https://app.example/callback/',
    'https://app.example/callback/../evil',
    'https://app.example/callback/..;/evil',
    'https://app.example/./callback',
    'https://app.example/x/../callback',
    'https://app.example//callback',
    'https://app.example/Callback',
    'https://app.example/callback;x',
    'https://app.example/callbackevil',
    'https://app.example/callbac',
    'https://app.example/',
    'http://127.0.0.1:5000/callback/',
    'http://127.0.0.1:5000//callback'
  ],
  'a query or a fragment': [
    'https://app.example/callback?',
    'https://app.example/callback?x=1',
    'https://app.example/callback?tenant=2',
    'https://app.example/callback?tenant=1&code=x',
    'https://app.example/callback#',
    'https://app.example/callback#evil',
    'https://app.example/callback?tenant=1#@evil.example',
    'http://127.0.0.1:5000/callback?x=1'
  ],
  'spaces, tabs, newlines and NUL': [
    ' https://app.example/callback',
    'https://app.example/callback ',
    'https://app.example/call\tback',
    'https://app.example/callback\n',
    'https://app.example/callback\r\nLocation: https://evil.example',
    'ht\ntps://app.example/callback',
    '\u0000https://app.example/callback',
    '\ufeffhttps://app.example/callback'
  ],
  'other schemes': [
    'http://app.example/callback',
    'HTTPS://app.example/callback',
    'ftp://app.example/callback',
    'javascript:alert(1)//https://app.example/callback',
    'javascript://app.example/%0aalert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:https://app.example/callback',
    'com.example.app2:/callback',
    'com.example.app://callback',
    'com.example.app:callback',
    'COM.EXAMPLE.APP:/callback',
    'urn:ietf:wg:oauth:2.0:oob'
  ],
  'ports and spellings of addresses': [
    'https://app.example:443/callback',
    'https://app.example:8443/callback',
    'https://app.example:/callback',
    'http://127.0.0.1:/callback',
    'http://127.0.0.1:123456/callback',
    'http://127.0.0.1:-1/callback',
    'http://127.0.0.1:1:2/callback',
    'http://127.1/callback',
    'http://2130706433/callback',
    'http://0x7f.0.0.1/callback',
    'http://0177.0.0.1/callback',
    'http://127.0.0.2:5000/callback',
    'http://0.0.0.0:5000/callback',
    'http://localhost:5000/callback',
    'https://127.0.0.1:5000/callback',
    'http://[::1]:5000/callback/..',
    'http://[::ffff:127.0.0.1]:5000/callback',
    'http://[0:0:0:0:0:0:0:1]:5000/callback'
  ],
  'lists and wildcards': [
    'https://app.example/callback,https://evil.example/',
    'https://app.example/callback https://evil.example/',
    'https://*.example/callback',
    'https://app.example/*',
    '*',
    'null',
    's'.repeat(3000)
  ]
}

t.test('the table has at least 60 tricks', async (t) => {
  t.ok(Object.values(URIS).flat().length >= 60)
})

for (const [kind, uris] of Object.entries(URIS)) {
  t.test(`a redirect URI with ${kind} gets no Location and no form [AC1, AC2, BR4]`, async (t) => {
    const [first = ''] = uris
    const assertRefused = async (path: string) => {
      const { statusCode, headers, body } = await signedIn.get(path)
      t.strictSame([statusCode, headers.location, body.includes('<form')], [400, undefined, false], path)
    }
    for (const uri of uris) await assertRefused(authorizeUrl({ client_id: 'app', redirect_uri: uri }))
    const request = { client_id: 'app', redirect_uri: first }
    await assertRefused(authorizeUrl({ ...request, response_type: 'token', response_mode: 'form_post' }))
    await assertRefused(authorizeUrl(request).replace('/authorize', '/sign-in'))
    const query = authorizeUrl(request).split('?')[1] as string
    const target = String((await signedIn.post('/authorize', query)).headers.location ?? '/authorize')
    t.match(target, /^\/authorize/, 'a request as form leads only to this service')
    t.equal((await signedIn.get(target)).headers.location, undefined)
  })
}

t.test('parameters that come twice or in another spelling choose no redirect URI [BR4]', async (t) => {
  const base = authorizeUrl({ client_id: 'app', redirect_uri: WEB })
  const evil = encodeURIComponent('https://evil.example/')
  for (const url of [
    `${base}&redirect_uri=${evil}`,
    base.replace('redirect_uri=', `redirect_uri=${evil}&redirect_uri=`),
    `${base}&client_id=own`,
    `${base.replace('redirect_uri', 'redirect_uri[]')}`,
    `${base.replace('redirect_uri', 'Redirect_Uri')}`,
    `${base.replace('redirect_uri', 'redirect%5Furi')}&redirect_uri=${evil}`,
    `${base};redirect_uri=${evil}`.replace('redirect_uri=https', 'x=https'),
    authorizeUrl({ client_id: 'app', redirect_uri: undefined }),
    `${authorizeUrl({ client_id: 'app', redirect_uri: undefined })}&redirect_uri=`,
    '/authorize',
    '/authorize?',
    '/authorize?client_id=app&client_id=app',
    '/authorize?__proto__[redirect_uri]=x&client_id=app',
    '/authorize?%zz',
    '/authorize?client_id=%ff'
  ]) {
    const { statusCode, headers } = await signedIn.get(url)
    t.strictSame([statusCode, headers.location], [400, undefined], url)
  }
  for (const url of [`${base}&return_to=${evil}`, `${base}&next=${evil}&url=${evil}`, `${base}#${evil}`])
    t.equal(responseOf(await signedIn.get(url)).to, WEB, url)
  const repeated = responseOf(await signedIn.get(`${base}&state=a&state=b`))
  t.match(repeated, { to: WEB, params: { error: 'invalid_request' } })
})

t.test('no state changes where a response goes, or adds a parameter or a header to it [AC8, BR4]', async (t) => {
  const states = [
    '&code=stolen',
    '#code=stolen',
    '?code=stolen',
    '&iss=https://evil.example',
    '\r\nLocation: https://evil.example',
    '\nSet-Cookie: latchkey=x',
    '@evil.example',
    '//evil.example',
    '/../../evil',
    '%0d%0aX: y',
    '%00',
    '"><script>alert(1)</script>',
    "javascript:alert('x')",
    '\t',
    'e\u0301\u202e'
  ]
  const others: [uri: string, more: { response_type?: string }][] = [
    [QUERY, {}],
    [PRIVATE, {}],
    [LOOPBACK.replace('1/', '1:5000/'), {}],
    [WEB, { response_type: 'token' }]
  ]
  for (const [index, state] of states.entries()) {
    for (const [uri, more] of [[WEB, {}] as const, ...others.slice(index % 4, (index % 4) + 1)]) {
      const { statusCode, headers, cookies } = await signedIn.get(
        authorizeUrl({ client_id: 'app', redirect_uri: uri, state, ...more })
      )
      const location = String(headers.location)
      t.strictSame([statusCode, cookies, headers.x], [303, [], undefined])
      t.ok(location.startsWith(`${uri}${uri === QUERY ? '&' : '?'}`), location)
      t.match(location, /^[\x21-\x7e]+$/)
      const params = new URL(location).searchParams
      t.strictSame([params.getAll('state'), params.getAll('iss')], [[state], [ISSUER]])
      t.equal(params.getAll('code').length + params.getAll('error').length, 1)
      t.notMatch(location, '#')
    }
    const page = await createJar(world).get(authorizeUrl({ client_id: 'app', redirect_uri: WEB, state }))
    t.match(formOf(page).action, /^\/sign-in\?[\x21-\x7e]+$/)
    t.notMatch(page.body, '<script>')
  }
})

t.test('a path behind the sign-in leads nowhere else [BR4]', async (t) => {
  const evil = [
    'https://evil.example',
    '//evil.example',
    '/\\evil.example',
    '/%2f%2fevil.example',
    'javascript:alert(1)',
    '/account/../..//evil.example',
    '%09//evil.example',
    '.evil.example'
  ]
  const names = ['return_to', 'returnTo', 'next', 'url', 'redirect', 'redirect_uri', 'continue', 'target_link_uri']
  for (const target of evil) {
    const query = new URLSearchParams(Object.fromEntries(names.map((name) => [name, target]))).toString()
    t.equal(formOf(await signedIn.get(`/sign-in?${query}`)).action, '/sign-in')
    for (const path of ['/authorize', '/consent', '/sign-in/choose', '/sign-in']) {
      for (const { statusCode, headers } of [
        await signedIn.get(`${path}?${query}`),
        await signedIn.post(`${path}?${query}`, query)
      ]) {
        t.ok(statusCode < 500, `${path}?${query}`)
        t.match(headers.location ?? '/', /^\/(authorize\?[\w=&%.+-]*)?$/)
      }
    }
  }
  t.match((await createJar(world).signIn('/sign-in')).headers.location, /^\/account$/)
  for (const path of [
    `/sign-in/${encodeURIComponent('//evil.example')}`,
    '//evil.example/sign-in',
    '/sign-in//evil.example',
    '/authorize/..//evil.example'
  ])
    t.match(await signedIn.get(path), { headers: { location: undefined } })
})
