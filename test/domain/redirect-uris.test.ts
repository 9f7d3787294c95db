import t from 'tap'
import { isRegistered, redirectUriFault, webUriFault } from '../../src/domain/redirect-uris.ts'
import { compareAll } from '../rows.ts'

const NOT_ABSOLUTE = 'it must be an absolute URI such as https://app.example/callback'
const NO_SCHEME = 'the scheme is missing: write http://localhost:5173/callback, for example'
const FRAGMENT = 'it must not have a fragment'
const CREDENTIALS = 'it must not have a user name or a password'
const PLAIN_HTTP = 'http is for loopback hosts only: use https'
const WILDCARD = 'a host has no wildcard: register each URI'
const HOST = 'the host has a character that no host name has'
const BEGINNING = 'it must begin with https://, or with http:// and a loopback host'
const SCHEME =
  'it must begin with https://, with http:// and a loopback host, or for a native app with a scheme with a dot'
const NATIVE_ONLY = 'a scheme with a dot is for clients of the type native'
const parameter = (name: string) => `it must not have the parameter ${name}, which a response adds`

/** Redirect URIs with the reason of their refusal for a web client. */
const URIS: [uri: string, fault: string | null][] = [
  ['https://app.example/callback', null],
  ['https://app.example', null],
  ['https://app.example/?tenant=1', null],
  ['https://app.example:8443/a%2Fb', null],
  ['https://xn--pp-1ia.example/', null],
  ['http://localhost:5173/callback', null],
  ['http://app.localhost/', null],
  ['http://127.0.0.1/callback', null],
  ['http://127.0.0.2:8080/', null],
  ['http://[::1]/', null],
  ['', NOT_ABSOLUTE],
  ['back', NOT_ABSOLUTE],
  ['/back', NOT_ABSOLUTE],
  ['//app.example/back', NOT_ABSOLUTE],
  ['https://', NOT_ABSOLUTE],
  ['https://app.example/ x', NOT_ABSOLUTE],
  ['https://app.example/\t', NOT_ABSOLUTE],
  ['https://app.example/\n', NOT_ABSOLUTE],
  ['https://app.example\\@evil.example/', NOT_ABSOLUTE],
  ['https://app.example/%zz', NOT_ABSOLUTE],
  ['https://app.example/%2', NOT_ABSOLUTE],
  ['https://app.example/"><script>', NOT_ABSOLUTE],
  ['https://app.example/{id}', NOT_ABSOLUTE],
  ['https://äpp.example/', NOT_ABSOLUTE],
  ['https://app.example:99999/', NOT_ABSOLUTE],
  ['localhost:5173/callback', NO_SCHEME],
  ['app.example:443', NO_SCHEME],
  ['https://app.example/#', FRAGMENT],
  ['https://app.example/#x', FRAGMENT],
  ['https://user@app.example/', CREDENTIALS],
  ['https://user:secret@app.example/', CREDENTIALS],
  ['https://@app.example/', CREDENTIALS],
  ['https://app.example@evil.example/', CREDENTIALS],
  ['https:app.example', BEGINNING],
  ['https:/app.example/', BEGINNING],
  ['https:///app.example/', BEGINNING],
  ['http://app.example/back', PLAIN_HTTP],
  ['http://128.0.0.1/', PLAIN_HTTP],
  ['http://localhost.example/', PLAIN_HTTP],
  ['http://127.0.0.1.example/', PLAIN_HTTP],
  ['https://*.example/', WILDCARD],
  ['https://a;b.example/', HOST],
  ['https://a%3Bscript-src.example/', HOST],
  ['https://a,b.example/', HOST],
  ["https://a'b.example/", HOST],
  ['https://a$b.example/', HOST],
  ['https://a_b.example/', null],
  ['https://app.example/?code=1', parameter('code')],
  ['https://app.example/?a=1&state=2', parameter('state')],
  ['https://app.example/?iss=x', parameter('iss')],
  ['https://app.example/?%65rror=x', parameter('error')],
  ['javascript:alert(1)', SCHEME],
  ['JavaScript://%0aalert(1)', SCHEME],
  ['data:text/html,x', SCHEME],
  ['vbscript:x', SCHEME],
  ['file:///etc/passwd', SCHEME],
  ['blob:https://app.example/x', SCHEME],
  ['about:blank', SCHEME],
  ['ftp://app.example/', SCHEME],
  ['ws://localhost/', SCHEME],
  ['app:/back', SCHEME],
  ['urn:ietf:wg:oauth:2.0:oob', SCHEME],
  ['com.example.app:/callback', NATIVE_ONLY],
  ['com.example.app://callback', NATIVE_ONLY],
  [`https://app.example/${'x'.repeat(1981)}`, 'it has more than 2000 characters']
]

t.test('a redirect URI has https, a loopback host, or for a native app a scheme with a dot [AC2 BR4]', async (t) => {
  await compareAll(t, async (row) => {
    for (const [uri, fault] of URIS) {
      row(`web: ${uri.slice(0, 60)}`, redirectUriFault(uri, 'web'), fault)
      row(`native: ${uri.slice(0, 60)}`, redirectUriFault(uri, 'native'), fault === NATIVE_ONLY ? null : fault)
    }
  })
  t.equal(redirectUriFault(`https://app.example/${'x'.repeat(1980)}`, 'web'), null)
})

t.test('a page or an endpoint of a client has https or a loopback host', async (t) => {
  for (const uri of ['https://app.example/terms?code=1', 'http://localhost:5173/']) t.equal(webUriFault(uri), null)
  for (const uri of ['http://app.example/', 'com.example.app:/x', 'javascript:alert(1)', 'data:text/html,x', 'terms'])
    t.type(webUriFault(uri), 'string', uri)
})

const web = (redirectUris: string[]) => ({ redirectUris, applicationType: 'web' as const })
const native = (redirectUris: string[]) => ({ redirectUris, applicationType: 'native' as const })

t.test('a redirect URI of a request is compared character by character [AC2]', async (t) => {
  const registered = 'https://app.example/callback?tenant=1'
  t.equal(isRegistered(registered, web(['https://other.example/', registered])), true)
  for (const uri of [
    '',
    'https://app.example/callback',
    'https://app.example/callback?tenant=2',
    'https://app.example/callback?tenant=1&x',
    'https://app.example/callback?tenant=1#',
    'https://app.example/callback/?tenant=1',
    'https://app.example:443/callback?tenant=1',
    'https://APP.example/callback?tenant=1',
    'HTTPS://app.example/callback?tenant=1',
    'https://app.example./callback?tenant=1',
    'https://app.example/callback/../callback?tenant=1',
    'https://app.example/c%61llback?tenant=1',
    'https://app.example/callback?tenant=%31',
    'https://user@app.example/callback?tenant=1',
    'https://app.example.evil.example/callback?tenant=1',
    'https://evil.example/https://app.example/callback?tenant=1',
    'http://app.example/callback?tenant=1',
    ' https://app.example/callback?tenant=1',
    'https://app.example/callback?tenant=1\n'
  ])
    t.equal(isRegistered(uri, native([registered])), false, JSON.stringify(uri))
})

t.test('for a native app the port of 127.0.0.1 and [::1] is free (RFC 8252 §7.3) [AC2]', async (t) => {
  const registered = [
    'http://127.0.0.1/cb',
    'http://[::1]:4000/cb?x=1',
    'http://localhost:5173/cb',
    'http://127.0.0.2/cb'
  ]
  for (const uri of [
    ...registered,
    'http://127.0.0.1:1/cb',
    'http://127.0.0.1:65535/cb',
    'http://[::1]/cb?x=1',
    'http://[::1]:9/cb?x=1'
  ])
    t.equal(isRegistered(uri, native(registered)), true, uri)
  for (const uri of [
    'http://127.0.0.1:/cb',
    'http://127.0.0.1:65536/cb',
    'http://127.0.0.1:123456/cb',
    'http://127.0.0.1:80x/cb',
    'http://127.0.0.1:80@evil.example/cb',
    'http://127.0.0.1:80.evil.example/cb',
    'http://127.0.0.1.evil.example/cb',
    'http://127.0.0.1:80/cb/',
    'http://127.0.0.1:80/cb?x',
    'http://127.0.0.1:80/CB',
    'https://127.0.0.1:80/cb',
    'http://127.1:80/cb',
    'http://2130706433:80/cb',
    'http://127.0.0.2:80/cb',
    'http://localhost:80/cb',
    'http://[0:0:0:0:0:0:0:1]:80/cb?x=1',
    'http://[::1]:80/cb',
    'http://[::ffff:127.0.0.1]:80/cb'
  ])
    t.equal(isRegistered(uri, native(registered)), false, uri)
})

t.test('the port of a loopback address is not free for a web app [AC2]', async (t) => {
  const client = web(['http://127.0.0.1:5173/cb', 'http://[::1]/cb'])
  for (const uri of client.redirectUris) t.equal(isRegistered(uri, client), true, uri)
  for (const uri of ['http://127.0.0.1/cb', 'http://127.0.0.1:5174/cb', 'http://[::1]:5173/cb'])
    t.equal(isRegistered(uri, client), false, uri)
})
