import fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Test } from 'tap'
import helmet from '../plugins/helmet.ts'
import type { PageName, Pages } from '../plugins/pages/data.ts'
import type { PagesOptions } from '../plugins/pages.ts'
import pages from '../plugins/pages.ts'

const SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4" cy="4" r="4" fill="#c33"/></svg>'
export const CLIENT = {
  id: 'shop',
  name: 'Example Shop',
  clientUri: 'https://shop.example',
  logoUri: `data:image/svg+xml;base64,${Buffer.from(SVG).toString('base64')}`,
  policyUri: 'https://shop.example/privacy',
  tosUri: 'https://shop.example/terms'
}
export const FORM = { action: '/there', token: 'a token' }
export const RETURN = 'https://shop.example/callback'
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
const AT = Date.UTC(2026, 10, 22, 9)
const PLACE = { id: 'one', userAgent: FIREFOX, address: '192.0.2.7', signedInAt: AT, lastUsedAt: AT }
const SIGN_IN = { client: CLIENT, form: FORM, returnsTo: RETURN, isSameUser: false }
const OTHER = { ...SIGN_IN, other: '/elsewhere' }
const ACCOUNT = {
  user: { username: 'alice', fullName: 'Alice Liddell', email: 'alice@example.com' },
  form: FORM,
  isSaved: false,
  refusal: null
}
const SCOPES = [
  { name: 'openid', description: 'Sign in' },
  { name: 'profile', description: 'See your name' },
  { name: 'orders:read', description: 'See your orders' }
]

interface Sample {
  page: PageName
  data: object
}

const sample = <Name extends PageName>(page: Name, data: Pages[Name]): Sample => ({ page, data })

/** Every page, in the states that look different. */
export const SAMPLES: Record<string, Sample> = {
  home: sample('home', {}),
  'sign-in': sample('sign-in', { ...SIGN_IN, client: null, username: '', refusal: null }),
  'wrong-password': sample('sign-in', { ...SIGN_IN, username: 'alice', refusal: { kind: 'wrong' } }),
  locked: sample('sign-in', { ...SIGN_IN, username: 'alice', refusal: { kind: 'throttled', retryAfter: 290 } }),
  'sign-in-again': sample('sign-in', { ...SIGN_IN, isSameUser: true, username: 'alice', refusal: null }),
  'choose-account': sample('choose-account', {
    ...OTHER,
    accounts: [
      { loginId: '1', username: 'alice', fullName: 'Alice Liddell' },
      { loginId: '2', username: 'bob', fullName: null }
    ]
  }),
  consent: sample('consent', { ...OTHER, username: 'alice', scopes: SCOPES }),
  'consent-to-sign-in': sample('consent', { ...OTHER, username: 'alice', scopes: SCOPES.slice(0, 1) }),
  // A browser stays on this page, because `/nowhere` has no content.
  returning: sample('returning', { url: '/nowhere' }),
  'sign-out': sample('sign-out', { form: FORM, username: 'alice', returnsTo: null }),
  'signed-out': sample('signed-out', { client: CLIENT, returnsTo: 'https://shop.example/bye', stays: false }),
  'signed-out-here': sample('signed-out', { client: null, returnsTo: null, stays: true }),
  error: sample('error', { reason: 'redirect_uri_unknown' }),
  account: sample('account', { ...ACCOUNT, isSaved: true, values: { fullName: 'Alice Liddell', email: '' } }),
  'account-refused': sample('account', {
    ...ACCOUNT,
    refusal: { kind: 'invalid', reason: 'email_invalid' },
    values: { fullName: '', email: 'alice' }
  }),
  'account-password': sample('account-password', { ...ACCOUNT, minLength: 15 }),
  'password-refused': sample('account-password', {
    ...ACCOUNT,
    minLength: 15,
    refusal: { kind: 'invalid', reason: 'password_common' }
  }),
  'account-sessions': sample('account-sessions', {
    ...ACCOUNT,
    browsers: [
      { ...PLACE, isCurrent: true },
      { ...PLACE, id: 'two', userAgent: null, address: null, isCurrent: false }
    ],
    apps: [{ ...PLACE, client: CLIENT, userAgent: 'curl/8.0' }]
  }),
  'account-apps': sample('account-apps', {
    ...ACCOUNT,
    apps: [{ client: CLIENT, scopes: SCOPES, allowedAt: AT }],
    next: '/more'
  })
}

const DEFAULTS: PagesOptions = {
  issuer: 'http://localhost:3000',
  base: '',
  serviceName: 'Latchkey',
  logoFile: undefined,
  accent: '#2b4c9b',
  dataDir: '.',
  docs: true
}

/** Returns an app with the plugin of the pages, which shows each sample at its name, and other data at `/data`. */
export async function pagesApp(t: Test, options: Partial<PagesOptions> = {}, data: Sample[] = []) {
  const app = fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  const guard = fp(async (scope) => void scope.decorate('publicAccess', (async () => {}) as never), { name: 'guard' })
  await app.register(guard)
  await app.register(helmet, { issuer: DEFAULTS.issuer })
  await app.register(pages, { ...DEFAULTS, ...options })
  for (const [name, each] of [...Object.entries(SAMPLES), ...data.map((each) => ['data', each] as const)])
    app.get(`/${name}`, (_request, reply) => reply.page(each.page, each.data as never))
  app.get('/nowhere', (_request, reply) => reply.code(204).send())
  app.route({
    method: ['GET', 'POST'],
    url: '/leave',
    handler: ({ query }, reply) => reply.code(403).leave((query as { url: string }).url)
  })
  return app
}
