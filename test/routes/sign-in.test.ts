import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { overloaded } from '../../src/domain/errors.ts'
import { PASSWORD } from '../helper.ts'
import { authorizeUrl, createJar, formOf, pkce, responseOf } from '../jar.ts'
import { CALLBACK, openSignIn } from './sign-in-world.ts'

const WRONG = { username: 'alice', password: 'not the pass phrase' }
const world = await openSignIn(t)
const url = (more: Record<string, string | undefined> = {}) =>
  authorizeUrl({ client_id: 'own', redirect_uri: CALLBACK, state: 'a state', ...more })

/** Returns whether a browser is signed in: a client gets a code without any page. */
const isSignedIn = async (jar: ReturnType<typeof createJar>) =>
  'code' in responseOf(await jar.get(url({ prompt: 'none' }))).params

/** Returns the text of a page without its tags. The token of the form is not part of the text. */
const textOf = ({ body }: LightMyRequestResponse) => body.replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ')

t.test(
  'a sign-in goes back to the app with a new cookie, and the form knows what the user typed before [AC10]',
  async (t) => {
    const jar = createJar(world)
    const page = await jar.get(url({ login_hint: 'alice' }))
    t.match(page.body, /name="username" value="alice"/)
    const refused = await jar.submit(page, WRONG)
    t.equal(refused.statusCode, 400)
    t.equal(refused.headers.location, undefined)
    t.notOk(jar.cookies.has('latchkey'))
    t.notMatch(refused.body, WRONG.password)
    t.strictSame(formOf(refused).fields.username, 'alice')
    const answer = await jar.submit(refused, { password: PASSWORD })
    t.equal(answer.statusCode, 200)
    t.match(responseOf(answer), { to: CALLBACK, params: { state: 'a state' } })
    const first = jar.cookies.get('latchkey')
    t.match(first, /^[\w-]{43}$/)
    await jar.signIn(url({ prompt: 'login' }))
    t.match(jar.cookies.get('latchkey'), /^[\w-]{43}$/)
    t.not(jar.cookies.get('latchkey'), first, 'a new token at every sign-in')
  }
)

t.test(
  'a wrong password and an unknown user get the same page, which shows that a user is disabled only after the right password [PW1]',
  async (t) => {
    const id = await world.createUser('dora')
    await world.app.auth.users.change(OPERATOR, id, { disabled: true })
    const answers = []
    for (const [username, password] of [
      ['alice', WRONG.password],
      ['nobody', PASSWORD],
      ['dora', WRONG.password]
    ] as const) {
      const answer = await createJar(world).signIn(url(), username, password)
      answers.push([answer.statusCode, textOf(answer)])
    }
    t.strictSame(answers, Array(3).fill(answers[0]))
    t.equal(answers[0]?.[0], 400)
    const disabled = await createJar(world).signIn(url(), 'dora', PASSWORD)
    t.equal(disabled.statusCode, 400)
    t.match(textOf(disabled), /This account is switched off/)
    t.not(textOf(disabled), answers[0]?.[1])
    const long = await createJar(world).signIn(url(), 'alice', PASSWORD.padEnd(1025, '!'))
    t.strictSame([long.statusCode, textOf(long)], answers[0], 'a password that is too long is only wrong')
    for (const fields of [
      { username: '', password: PASSWORD },
      { username: 'alice', password: '' }
    ]) {
      const jar = createJar(world)
      const answer = await jar.submit(await jar.get(url()), fields)
      t.strictSame([answer.statusCode, jar.cookies.has('latchkey')], [400, false])
    }
  }
)

t.test('failures at /token and on the page count together, and the form stays [BF1, BF4, BF5]', async (t) => {
  const limited = await openSignIn(t, { env: { LATCHKEY_THROTTLE: 'true' } })
  const jar = createJar(limited)
  const page = await jar.get(url())
  for (let tries = 0; tries < 3; tries++) t.equal((await jar.submit(page, WRONG)).statusCode, 400)
  for (let tries = 0; tries < 2; tries++) await limited.login('alice', 'profile', WRONG.password)
  const refused = await jar.submit(page, { username: 'alice', password: PASSWORD })
  t.strictSame(
    [refused.statusCode, refused.headers['retry-after'], refused.headers['content-type'], jar.cookies.has('latchkey')],
    [429, '1', 'text/html; charset=utf-8', false]
  )
  t.equal(formOf(refused).fields.username, 'alice')
  t.equal(formOf(refused).action, formOf(page).action)
  t.equal((await limited.token({ grant_type: 'password', username: 'alice', password: PASSWORD })).statusCode, 429)
  limited.clock.advance(2)
  t.match(responseOf(await jar.submit(refused, { password: PASSWORD })), { to: CALLBACK })
})

t.test('a sign-in under overload is a page with 503 that keeps the form [UA2]', async (t) => {
  const { app } = world
  const { verify } = app.hasher
  t.teardown(() => Object.assign(app.hasher, { verify }))
  const jar = createJar(world)
  const page = await jar.get(url())
  Object.assign(app.hasher, { verify: () => Promise.reject(overloaded(1500)) })
  const refused = await jar.submit(page, { username: 'alice', password: PASSWORD })
  t.strictSame([refused.statusCode, refused.headers['retry-after'], jar.cookies.has('latchkey')], [503, '2', false])
  t.equal(formOf(refused).fields.username, 'alice')
  Object.assign(app.hasher, { verify })
  t.match(responseOf(await jar.submit(refused, { password: PASSWORD })), { to: CALLBACK })
})

t.test('a sign-in that another site sends is refused, with or without the token of its own page [BR3]', async (t) => {
  const attacker = createJar(world)
  const { action, fields } = formOf(await attacker.get(url()))
  const form = { ...fields, username: 'alice', password: PASSWORD }
  const victim = createJar(world)
  await victim.get(url())
  for (const [headers, sent] of [
    [{ origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }, form],
    [{ origin: 'null', 'sec-fetch-site': 'cross-site' }, form],
    [{}, form],
    [{}, { username: 'alice', password: PASSWORD }]
  ] as [Record<string, string>, Record<string, string>][]) {
    for (const jar of [victim, createJar(world)]) {
      const answer = await jar.post(action, sent, headers)
      t.equal(answer.statusCode, 403)
      t.equal(answer.headers.location, undefined)
      t.notOk(jar.cookies.has('latchkey'))
    }
  }
  const off = await createJar(world).post(action, form)
  t.match(textOf(off), /[Cc]ookies/, 'the page says that cookies are off')
})

t.test(
  'of two tabs opened at once, both sign in: the form whose cookie is lost is shown again, unchecked',
  async (t) => {
    const [jar, other] = [createJar(world), createJar(world)]
    const [lost] = await Promise.all([jar.get(url()), other.get(url())])
    jar.cookies.set('latchkey-form', other.cookies.get('latchkey-form') as string)
    const work: unknown[] = []
    const { verify } = world.app.hasher
    t.teardown(() => Object.assign(world.app.hasher, { verify }))
    Object.assign(world.app.hasher, { verify: (...args: unknown[]) => work.push(args) })
    const again = await jar.submit(lost, { username: 'alice', password: PASSWORD })
    Object.assign(world.app.hasher, { verify })
    t.strictSame([again.statusCode, jar.cookies.has('latchkey'), work], [403, false, []])
    t.match(textOf(again), 'This page was out of date, so your password was not checked. Enter it again to sign in.')
    t.strictSame([formOf(again).fields.username, again.body.includes(PASSWORD)], ['alice', false])
    t.match(responseOf(await jar.submit(again, { password: PASSWORD })), { to: CALLBACK, params: { state: 'a state' } })
  }
)

t.test('a cookie planted or stolen before the sign-in gains nothing [AC10, BR5]', async (t) => {
  const attacker = createJar(world)
  const page = await attacker.get(url())
  attacker.cookies.set('latchkey', 'planted-by-the-attacker'.padEnd(43, 'x'))
  const victim = createJar(world)
  for (const [name, value] of attacker.cookies) victim.cookies.set(name, value)
  t.match(responseOf(await victim.submit(page, { username: 'alice', password: PASSWORD })), { to: CALLBACK })
  t.equal(await isSignedIn(victim), true)
  t.equal(await isSignedIn(attacker), false)
  t.notMatch(victim.cookies.get('latchkey'), 'planted')
  t.match((await attacker.submit(page, WRONG)).statusCode, 400, 'the form of the attacker is only a form')

  const thief = createJar(world)
  for (const [name, value] of victim.cookies) thief.cookies.set(name, value)
  await victim.signIn(url({ prompt: 'login' }))
  t.strictSame(
    [await isSignedIn(victim), await isSignedIn(thief)],
    [true, false],
    'the next sign-in ends a stolen cookie'
  )
})

t.test('two tabs that sign in at once both get their code, and the browser has one login', async (t) => {
  const jar = createJar(world)
  const pairs = [pkce(), pkce()]
  const pages = []
  for (const [index, { challenge }] of pairs.entries())
    pages.push(await jar.get(url({ code_challenge: challenge, state: `tab ${index}` })))
  const [, second] = pages as [LightMyRequestResponse, LightMyRequestResponse]
  const answers = await Promise.all(pages.map((page) => jar.submit(page, { username: 'alice', password: PASSWORD })))
  t.strictSame(
    answers.map((answer) => responseOf(answer).params.state),
    ['tab 0', 'tab 1']
  )
  const tokens = []
  for (const [index, answer] of answers.entries())
    tokens.push(await world.redeem(responseOf(answer).params.code as string, pairs[index]?.verifier))
  t.strictSame(
    tokens.map(({ statusCode }) => statusCode),
    [200, 200]
  )
  t.equal(await isSignedIn(jar), true)
  const third = await jar.submit(second, { username: 'alice', password: PASSWORD })
  t.match(responseOf(third), { to: CALLBACK }, 'a form sent twice signs in again')
  for (const token of tokens)
    t.equal((await world.get('/users/me', token.json().access_token)).statusCode, 200, 'and ends nothing')
  t.match(jar.cookies.get('latchkey'), /^[\w-]{43}$/)
})

t.test('the user chooses among the accounts of the browser, or signs in with another one', async (t) => {
  await world.createUser('bob')
  const jar = createJar(world)
  await jar.signIn(url())
  const link = await jar.get(url({ prompt: 'select_account' }))
  t.equal(link.statusCode, 200)
  const [, other = ''] = /href="(\/sign-in\?[^"]*)"/.exec(link.body) ?? []
  t.match(responseOf(await jar.signIn(other.replaceAll('&amp;', '&'), 'bob')), { to: CALLBACK })
  t.equal(jar.cookies.get('latchkey')?.split('.').length, 2)

  const page = await jar.get(url())
  t.match(textOf(page), /alice.*bob|bob.*alice/)
  const ids = [...page.body.matchAll(/name="login" value="([^"]+)"/g)].map(([, id]) => id as string)
  t.equal(ids.length, 2)
  const { action, fields } = formOf(page)
  const before = jar.cookies.get('latchkey')
  const answer = await jar.post(action, { form_token: fields.form_token as string, login: ids[1] as string })
  t.match(responseOf(answer), { to: CALLBACK, params: { state: 'a state' } })
  t.equal(jar.cookies.get('latchkey'), before?.split('.').toReversed().join('.'))
  t.equal((await jar.post(action, { form_token: 'x', login: ids[1] as string })).statusCode, 403)

  const again = formOf(await jar.get(url({ prompt: 'login select_account' })))
  const token = again.fields.form_token as string
  const asked = await jar.post(again.action, { form_token: token, login: ids[0] as string })
  t.equal(asked.statusCode, 200, 'prompt=login asks for the password of the chosen account too')
  t.match(asked.body, /type="password"/)
  const foreign = await jar.post(again.action, { form_token: token, login: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10' })
  t.match([foreign.statusCode, foreign.headers.location], [200, undefined], 'a login of another browser is no choice')
})

t.test('prompt=login and max_age ask a signed-in user for the password', async (t) => {
  const jar = createJar(world)
  await jar.signIn(url())
  t.match((await jar.get(url({ prompt: 'login' }))).body, /name="username" value="alice"/)
  t.equal((await jar.get(url({ max_age: '10' }))).statusCode, 303)
  world.clock.advance(11)
  t.equal((await jar.get(url({ max_age: '10' }))).statusCode, 200)
  t.match(responseOf(await jar.get(url({ max_age: '10', prompt: 'none' }))).params, { error: 'login_required' })
})

t.test('a sign-in without a client leads to the account, whatever else its URL holds [BR4]', async (t) => {
  for (const query of [
    '',
    '?return_to=https://evil.example',
    '?redirect_uri=https://evil.example&next=//evil.example'
  ]) {
    const jar = createJar(world)
    const answer = await jar.signIn(`/sign-in${query}`)
    t.strictSame([answer.statusCode, answer.headers.location], [303, '/account'], query)
    t.equal(await isSignedIn(jar), true)
  }
})
