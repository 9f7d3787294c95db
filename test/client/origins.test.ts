import t, { type Test } from 'tap'
import type { TokenClientOptions } from '../../src/client/index.ts'
import { setUp } from './setup.ts'

const ORDERS = 'https://orders.example.com'
const resource = `${ORDERS}/api`
const origins = ['http://orders:3000']

/** Returns a token client with these options. `urls` receives the URLs of its requests to services. */
function setUpUrls(t: Test, options: Partial<TokenClientOptions>) {
  const urls: string[] = []
  const fetch = async (input: string | URL | Request) => {
    urls.push(input instanceof Request ? input.url : String(input))
    return new Response('done')
  }
  return { ...setUp(t, undefined, { ...options, fetch }), urls }
}

const ALLOWED: [url: string, options: Partial<TokenClientOptions>][] = [
  [`${ORDERS}/x`, { resource }],
  ['HTTPS://Orders.Example.com:443', { resource }],
  ['http://orders:3000/x', { resource, origins }],
  ['https://anywhere.example.com', { resource: 'urn:example:orders' }],
  ['https://anywhere.example.com', {}]
]
for (const [url, options] of ALLOWED)
  t.test(`the token is sent to ${url} with the options ${JSON.stringify(options)}`, async (t) => {
    const { client, urls } = setUpUrls(t, options)
    await client.fetch(url)
    t.strictSame(urls, [url])
  })

const FORBIDDEN: [url: string, origin: string, options: Partial<TokenClientOptions>][] = [
  ['http://orders.example.com/', 'http://orders.example.com', { resource }],
  [`${ORDERS}:8443/`, `${ORDERS}:8443`, { resource }],
  ['https://evil.example.com/', 'https://evil.example.com', { resource }],
  ['https://orders.example.com@evil.example.com/', 'https://evil.example.com', { resource }],
  ['https://orders.example.com.evil.example.com/', 'https://orders.example.com.evil.example.com', { resource }],
  [`${ORDERS}/x`, ORDERS, { resource, origins }],
  [`${ORDERS}/x`, ORDERS, { resource, origins: [] }]
]
for (const [url, origin, options] of FORBIDDEN)
  t.test(`the token is not sent to ${url} with the options ${JSON.stringify(options)}`, async (t) => {
    const { client, urls, requests } = setUpUrls(t, options)
    const message = `the token must not be sent to ${origin}; add it to origins to allow this`
    // A Request cannot have credentials in its URL.
    for (const input of [url, new URL(url), ...(url.includes('@') ? [] : [new Request(url)])])
      await t.rejects(client.fetch(input), { name: 'TypeError', message })
    t.strictSame([urls, requests()], [[], []])
  })
