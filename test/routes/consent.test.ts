import t from 'tap'
import { PASSWORD } from '../helper.ts'
import { authorizeUrl, createJar, formOf, pkce, responseOf } from '../jar.ts'
import { CALLBACK, openSignIn } from './sign-in-world.ts'

const world = await openSignIn(t)
await world.register('web', { method: 'client_secret_basic' })
await world.register('mail', { scopes: ['profile', 'email'] })
const url = (more: Record<string, string | undefined> = {}) =>
  authorizeUrl({ client_id: 'spa', redirect_uri: CALLBACK, state: 'a state', ...more })
const ALLOW = { decision: 'allow', 'scope:profile': 'on' }
const OVER = [400, 'text/html; charset=utf-8', undefined]

/** Signs alice in and opens the question for consent. */
async function ask(jar = createJar(world), more: Record<string, string | undefined> = {}) {
  // The client has an https redirect URI, so the user is asked again only if the client wants it.
  const first = await jar.get(url({ prompt: 'consent', ...more }))
  const answer = first.statusCode === 303 ? first : await jar.submit(first, { username: 'alice', password: PASSWORD })
  const location = String(answer.headers.location)
  return { jar, location, page: await jar.get(location) }
}
const outcome = ({ statusCode, headers }: Awaited<ReturnType<ReturnType<typeof createJar>['get']>>) => [
  statusCode,
  headers['content-type'],
  headers.location
]

t.test('the user allows or cancels, and the client hears which', async (t) => {
  const { jar, page } = await ask()
  t.match(page.body, 'The app spa')
  t.match(page.body, 'app.example')
  const allowed = await jar.submit(page, ALLOW)
  t.match(responseOf(allowed), { to: CALLBACK, params: { code: /^[\w-]{43}$/, state: 'a state' } })
  const { jar: other, page: question } = await ask()
  t.match(responseOf(await other.submit(question, { decision: 'deny' })).params, {
    error: 'access_denied',
    state: 'a state'
  })
  const { verifier, challenge } = pkce()
  const { page: third } = await ask(other, { client_id: 'mail', scope: 'profile', code_challenge: challenge })
  t.equal((await other.submit(third, { decision: 'perhaps' })).statusCode, 400)
  const { code } = responseOf(await other.submit(third, { ...ALLOW, 'scope:email': 'on' })).params
  const tokens = await world.redeem(code as string, verifier, { client_id: 'mail' })
  t.equal(tokens.json().scope, 'profile', 'a scope that was not requested is not granted')
})

t.test('a consent that is sent twice gives one code: the last one, and none after its redemption', async (t) => {
  const { verifier, challenge } = pkce()
  const { jar, page, location } = await ask(createJar(world), { code_challenge: challenge })
  const codes: (string | undefined)[] = []
  for (const answer of await Promise.all([1, 2, 3].map(() => jar.submit(page, ALLOW))))
    codes.push(responseOf(answer).params.code)
  const last = responseOf(await jar.submit(page, ALLOW)).params.code as string
  t.equal(new Set([...codes, last]).size, 4)
  t.strictSame(outcome(await jar.get(location)), OVER, 'the back button')
  t.strictSame(outcome(await jar.submit(page, { decision: 'deny' })), OVER)
  for (const code of codes)
    t.match((await world.redeem(code as string, verifier, { client_id: 'spa' })).json(), { error: 'invalid_grant' })
  t.equal((await world.redeem(last, verifier, { client_id: 'spa' })).statusCode, 200)
  t.strictSame(outcome(await jar.submit(page, ALLOW)), OVER)

  const { jar: slow, page: question } = await ask()
  await slow.submit(question, ALLOW)
  world.clock.advance(61)
  t.strictSame(outcome(await slow.submit(question, ALLOW)), OVER, 'a second response comes no later than the code')
})

t.test('a question for consent is for its login and its browser only [AC10, BR3]', async (t) => {
  await world.createUser('bob')
  const { jar, page, location } = await ask()
  t.strictSame(outcome(await createJar(world).get(location)), OVER, 'another browser')
  const bob = createJar(world)
  await bob.signIn('/sign-in', 'bob')
  t.strictSame(outcome(await bob.get(location)), OVER, 'another user')
  const { action, fields } = formOf(page)
  const form = { ...fields, ...ALLOW }
  for (const headers of [
    { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
    { origin: 'null' },
    { 'sec-fetch-site': 'same-site' }
  ] as Record<string, string>[]) {
    const answer = await jar.post(action, form, headers)
    t.match([answer.statusCode, answer.headers.location], [/^40[03]$/, undefined], JSON.stringify(headers))
  }
  for (const other of [bob, createJar(world)]) {
    const answer = await other.post(action, form)
    t.match([answer.statusCode, answer.headers.location], [/^40[03]$/, undefined])
  }
  const noToken = await jar.post(action, ALLOW)
  t.match([noToken.statusCode, noToken.headers.location], [/^40[03]$/, undefined])
  const another = await ask(jar)
  const swapped = await jar.post(formOf(another.page).action, form)
  t.match([swapped.statusCode, swapped.headers.location], [/^40[03]$/, undefined], 'the token of another attempt')
  await bob.signIn('/sign-in', 'alice')
  t.match((await bob.post(action, form)).statusCode, /^40[03]$/, 'the same user in another browser')
  t.match(responseOf(await jar.submit(page, ALLOW)).params, { code: String }, 'the attempt itself is unharmed')
})

t.test(
  'a confidential client is asked about once, a public one with a private or loopback redirect each time [AC9]',
  async (t) => {
    await world.register('cli', { applicationType: 'native', redirectUris: ['http://127.0.0.1/callback'] })
    const { jar, page } = await ask(createJar(world), { client_id: 'web', prompt: undefined })
    await jar.submit(page, ALLOW)
    t.equal(responseOf(await jar.get(url({ client_id: 'web' }))).to, CALLBACK)
    const local = { client_id: 'cli', prompt: undefined, redirect_uri: 'http://127.0.0.1:50123/callback' }
    for (const _ of [1, 2]) {
      const { page: question } = await ask(jar, local)
      t.equal(question.statusCode, 200)
      t.match(responseOf(await jar.submit(question, ALLOW)).to, 'http://127.0.0.1:50123/callback')
    }
  }
)

t.test('a question for consent expires, and names no client after it', async (t) => {
  const { jar, page, location } = await ask()
  world.clock.advance(31 * 60)
  t.strictSame(outcome(await jar.get(location)), OVER)
  t.strictSame(outcome(await jar.submit(page, ALLOW)), OVER)
  for (const id of ['', 'x', "'", '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10', '%00', '../users'])
    t.match((await jar.get(`/consent?id=${id}`)).statusCode, 400, id)
  t.equal((await jar.get('/consent?id=1&id=2')).statusCode, 400)
})
