import type { LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, PASSWORD } from '../helper.ts'
import { authorizeUrl, createJar, formOf, responseOf } from '../jar.ts'
import { sql } from '../sql.ts'

const NEW_PASSWORD = 'seven otters juggle turnips'
const CALLBACK = 'https://app.example/callback'

/** Opens an app, and a browser in which alice is signed in. */
async function open(t: Test, options: Parameters<typeof build>[1] = {}) {
  const world = await build(t, options)
  const jar = createJar(world)
  await jar.signIn('/sign-in')
  const { id } = await world.app.auth.users.find('alice')
  return { ...world, jar, id, page: (url: string) => jar.get(url) }
}

const refusalOf = ({ body }: LightMyRequestResponse): string | undefined => /id="refusal"[^>]*>([^<]*)</.exec(body)?.[1]

/** Returns the fields that the refusal of a page is tied to. */
const refusedFields = ({ body }: LightMyRequestResponse): (string | undefined)[] =>
  [...body.matchAll(/<input[^>]*aria-invalid="true"[^>]*>/g)]
    .filter(([tag]) => /aria-describedby="refusal[ "]/.test(tag))
    .map(([tag]) => / name="([^"]*)"/.exec(tag)?.[1])

t.test('without a login every page of the account leads to the sign-in', async (t) => {
  const jar = createJar(await build(t))
  for (const url of ['/account', '/account/password', '/account/sessions', '/account/apps']) {
    const { statusCode, headers } = await jar.get(url)
    t.strictSame([statusCode, headers.location], [303, '/sign-in'], url)
  }
})

t.test('the profile page changes name and e-mail address, and an empty field removes its value', async (t) => {
  const { app, jar, id } = await open(t)
  const changed = await jar.submit(await jar.get('/account'), { full_name: 'Alice <b>L', email: 'alice@example.com' })
  t.strictSame([changed.statusCode, changed.headers.location], [303, '/account?saved=1'])
  t.match(await app.auth.users.get(id), { fullName: 'Alice <b>L', email: 'alice@example.com' })
  const page = await jar.get('/account?saved=1')
  t.match(page.body, 'Your changes were saved.')
  t.match(page.body, 'value="Alice &lt;b&gt;L"')
  await jar.submit(page, { full_name: '', email: '' })
  t.match(await app.auth.users.get(id), { fullName: null, email: null })
})

t.test('a refused e-mail address is tied to its field, and the page keeps what was entered', async (t) => {
  const { app, jar, id } = await open(t)
  const refused = await jar.submit(await jar.get('/account'), { full_name: 'Alice', email: 'alice' })
  t.equal(refused.statusCode, 400)
  t.match(refusalOf(refused), 'This is not an e-mail address')
  t.strictSame(refusedFields(refused), ['email'])
  t.strictSame(formOf(refused).fields.email, 'alice')
  t.match(await app.auth.users.get(id), { fullName: null, email: null })
})

t.test(
  'a changed password keeps this login with a new cookie, and ends the other logins and all sessions [PW9]',
  async (t) => {
    const world = await open(t)
    const { jar, token, send } = world
    const [other, thief] = [createJar(world), createJar(world)]
    await other.signIn('/sign-in')
    for (const [name, value] of jar.cookies) thief.cookies.set(name, value)
    const bearer = await world.login('alice')
    const changed = await jar.submit(await jar.get('/account/password'), {
      current_password: PASSWORD,
      new_password: NEW_PASSWORD
    })
    t.strictSame([changed.statusCode, changed.headers.location], [303, '/account/password?saved=1'])
    t.match((await jar.get('/account/password?saved=1')).body, 'Your password was changed.')
    for (const each of [other, thief]) t.equal((await each.get('/account')).headers.location, '/sign-in')
    t.equal((await send(bearer, 'GET', '/users/me')).statusCode, 401)
    const grant = { grant_type: 'password', username: 'alice' }
    t.equal((await token({ ...grant, password: PASSWORD })).statusCode, 400)
    t.equal((await token({ ...grant, password: NEW_PASSWORD })).statusCode, 200)
  }
)

t.test('a refused password says why, in English and in German, at its field', async (t) => {
  const { jar } = await open(t)
  const cases: [current: string, next: string, field: string, english: RegExp, german: RegExp][] = [
    ['wrong', NEW_PASSWORD, 'current_password', /current password is wrong/, /aktuelle Passwort ist falsch/],
    [PASSWORD, 'short', 'new_password', /too short/, /zu kurz/],
    [PASSWORD, NEW_PASSWORD.padEnd(1025, '!'), 'new_password', /too long/, /zu lang/],
    [NEW_PASSWORD.padEnd(1025, '!'), NEW_PASSWORD, 'current_password', /current password is wrong/, /ist falsch/],
    [PASSWORD, 'password password', 'new_password', /too common/, /sehr verbreitet/],
    [PASSWORD, 'alice alice alice', 'new_password', /consists of your name/, /besteht aus Ihrem Namen/]
  ]
  for (const [current, next, field, english, german] of cases) {
    const form = formOf(await jar.get('/account/password'))
    const fields = { ...form.fields, current_password: current, new_password: next }
    const refused = await jar.post(form.action, fields)
    t.equal(refused.statusCode, 400)
    t.match(refusalOf(refused), english)
    t.strictSame(refusedFields(refused), [field])
    const inGerman = await jar.post(form.action, fields, { 'accept-language': 'de-CH,en;q=0.5' })
    t.match(refusalOf(inGerman), german)
    t.match(inGerman.body, '<html lang="de">')
  }
})

t.test('the guesses at the current password are limited, and the page says for how long [BF5]', async (t) => {
  const { jar } = await open(t, { env: { LATCHKEY_THROTTLE: 'true' } })
  let response = await jar.get('/account/password')
  for (let guess = 0; guess < 9 && response.statusCode !== 429; guess++)
    response = await jar.submit(response, { current_password: 'wrong', new_password: NEW_PASSWORD })
  t.equal(response.statusCode, 429)
  t.match(response.headers, { 'retry-after': /^\d+$/ })
  t.match(refusalOf(response), /too many failed attempts\. Wait \d+ minutes?, then try again/)
})

t.test('the account page ends a login of another browser, and a session whose next call is 401', async (t) => {
  const world = await open(t)
  const { jar, send } = world
  const other = createJar(world)
  await other.signIn('/sign-in')
  const bearer = await world.login('alice')
  const { body } = await jar.get('/account/sessions')
  const items = body.split('<li>').flatMap((item) => {
    const [, name, id] = /name="(login|session)" value="([^"]*)"/.exec(item) ?? []
    return name === undefined || id === undefined ? [] : [{ name, id, isOwn: item.includes('This browser') }]
  })
  t.strictSame(items.map(({ name, isOwn }) => `${name} ${isOwn}`).toSorted(), [
    'login false',
    'login true',
    'session false'
  ])
  for (const { name, id } of items.filter(({ isOwn }) => !isOwn)) {
    const ended = await jar.submit(await jar.get('/account/sessions'), { login: '', [name]: id })
    t.strictSame([ended.statusCode, ended.headers.location], [303, '/account/sessions?saved=1'])
  }
  t.equal((await other.get('/account')).headers.location, '/sign-in')
  t.equal((await send(bearer, 'GET', '/users/me')).statusCode, 401)
  t.equal((await jar.get('/account')).statusCode, 200)

  const own = items.find(({ isOwn }) => isOwn)?.id as string
  const left = await jar.submit(await jar.get('/account/sessions'), { login: own })
  t.strictSame([left.statusCode, left.headers.location], [303, '/'])
  t.equal(jar.cookies.has('latchkey'), false)
})

t.test('a form that names a session of another user changes nothing', async (t) => {
  const world = await open(t)
  const { jar, app, get } = world
  const admin = await world.login('admin', 'profile')
  const { items } = await app.auth.sessions.list((await app.auth.users.find('admin')).id, { after: null, limit: 1 })
  const page = await jar.get('/account/sessions')
  const foreign = await jar.submit(page, { login: '', session: items[0]?.id as string })
  t.strictSame([foreign.statusCode, foreign.headers.location], [303, '/account/sessions?saved=1'])
  t.equal((await get('/users/me', admin)).statusCode, 200)
})

t.test('a removed app must ask again, and its sessions end', async (t) => {
  const world = await open(t)
  const { app, jar, id } = world
  await app.auth.clients.create(OPERATOR, {
    id: 'shop',
    name: 'Shop & Söhne',
    method: 'client_secret_basic',
    grantTypes: ['authorization_code'],
    scopes: ['profile'],
    redirectUris: [CALLBACK]
  })
  const url = authorizeUrl({ client_id: 'shop', redirect_uri: CALLBACK, scope: 'profile' })
  const consentPage = await jar.get(String((await jar.get(url)).headers.location))
  await jar.submit(consentPage, { decision: 'allow' })
  t.ok(responseOf(await jar.get(url)).params.code, 'the consent is remembered')

  const page = await jar.get('/account/apps')
  t.match(page.body, 'Shop &amp; Söhne')
  const removed = await jar.submit(page, { client_id: 'shop' })
  t.strictSame([removed.statusCode, removed.headers.location], [303, '/account/apps?saved=1'])
  t.strictSame((await app.auth.consents.list(id, { after: null, limit: 9 })).items, [])
  t.match((await jar.get(url)).headers.location, '/consent?id=')
  t.equal((await jar.submit(page, { client_id: 'shop' })).statusCode, 303, 'removed twice')
})

t.test('a form of the account without its token, or from another site, changes nothing [BR3]', async (t) => {
  const { app, jar, id } = await open(t)
  const { action, fields } = formOf(await jar.get('/account'))
  const change = { ...fields, full_name: 'Mallory' }
  const forged: [object, object][] = [
    [{ ...change, form_token: 'x'.repeat(43) }, {}],
    [{ ...change, form_token: '' }, {}],
    [change, { origin: 'https://evil.example' }],
    [change, { origin: 'null' }],
    [change, { 'sec-fetch-site': 'cross-site' }]
  ]
  for (const [form, headers] of forged) {
    const { statusCode, headers: sent } = await jar.post(action, form as never, headers as never)
    t.strictSame([statusCode, sent.location], [403, undefined])
  }
  t.equal((await app.auth.users.get(id)).fullName, null)
})

t.test('the account of a disabled user is closed at once', async (t) => {
  const { app, jar, id } = await open(t)
  await app.auth.users.change(OPERATOR, id, { disabled: true })
  t.equal((await jar.get('/account')).headers.location, '/sign-in')
})

t.test('GET and DELETE /users/me/consents list and remove what a user has allowed, by the client', async (t) => {
  const world = await build(t)
  const { app, login, get, send, clock } = world
  const { id } = await app.auth.users.find('alice')
  await app.auth.clients.create(OPERATOR, { id: 'a/b', name: 'The app' })
  const now = clock.now()
  await sql(world, `insert into consents values ('${id}', 'a/b', 'openid profile', ${now}, ${now})`)
  const bearer = await login('alice', 'profile account')
  const at = new Date(now).toISOString()
  const consent = { client_id: 'a/b', client_name: 'The app', scope: 'openid profile', created_at: at, updated_at: at }
  t.strictSame((await get('/users/me/consents', bearer)).json(), { items: [consent], next_cursor: null })
  t.strictSame((await get('/users/me/consents', await login('admin', 'account'))).json().items, [])
  const url = `/users/me/consents/${encodeURIComponent('a/b')}`
  t.equal((await send(await login('admin', 'account'), 'DELETE', url)).statusCode, 404, 'of another user')
  t.equal((await send(bearer, 'DELETE', url)).statusCode, 204)
  t.equal((await send(bearer, 'DELETE', url)).statusCode, 404)
  t.strictSame((await get('/users/me/consents', bearer)).json().items, [])
})
