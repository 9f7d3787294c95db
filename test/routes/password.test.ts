import argon2 from 'argon2'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, createDatabase, PASSWORD, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'

const FORM = 'application/x-www-form-urlencoded'
const REFUSED = [400, { error: 'invalid_grant', error_description: 'Incorrect username or password' }]

type Response = Awaited<ReturnType<TestApp['token']>>
const answer = (response: Response) => [response.statusCode, response.json()]

/** Logs in, as `alice` by default. */
const login = ({ token }: Pick<TestApp, 'token'>, username = 'alice', password = PASSWORD) =>
  token({ grant_type: 'password', username, password })

/** Returns a function that returns the hashes that were verified and the number of new hashes, since its last call. */
function spy(t: Test) {
  const verifications = t.capture(argon2, 'verify', argon2.verify)
  const hashings = t.capture(argon2, 'hash', argon2.hash)
  return () => ({ verified: verifications().map(({ args }) => args[0]), hashed: hashings().length })
}

const parametersOf = (hash: string) => hash.split('$').slice(1, 4).join('$')
const CURRENT = 'argon2id$v=19$m=7168,t=1,p=1'

const hashOf = async (app: TestApp, username: string): Promise<string> => {
  const [row] = await sql<{ password_hash: string }>(
    app,
    'select password_hash from credentials join users on users.id = user_id where username_key = $1',
    username
  )
  return row?.password_hash ?? ''
}
const sessionsOf = async (app: TestApp) => (await sql(app, 'select id from sessions')).length
const disable = (app: TestApp, username: string) =>
  sql(app, 'update users set disabled_at = $1 where username_key = $2', app.clock.now(), username)

/** Shared by tests that disable, change or delete only users of their own, and undo changes of clients. */
const app = await build(t)
const createUser = (username: string, password: string) =>
  app.app.auth.users.create(OPERATOR, { username, password, roles: ['user'] })

t.test('an unknown user, a wrong password and a disabled user get the same answer [PW1]', async (t) => {
  const before = await sessionsOf(app)
  await app.createUser('bob')
  await disable(app, 'bob')
  const { date: _, ...headers } = (await login(app, 'nobody')).headers
  t.equal(headers['content-type'], 'application/json; charset=utf-8')
  t.equal(headers['cache-control'], 'no-store')
  t.notOk('www-authenticate' in headers)

  const logins: [name: string, username: string, password: string][] = [
    ['an unknown user', 'nobody', PASSWORD],
    ['an unknown user with a wrong password', 'nobody', 'wrong'],
    ['a wrong password', 'alice', 'wrong'],
    ['a wrong password of an admin', 'admin', 'wrong'],
    ['a disabled user', 'bob', PASSWORD],
    ['a disabled user with a wrong password', 'bob', 'wrong'],
    ['a name with a space', 'ali ce', PASSWORD],
    ['a name that is a pattern', '%', PASSWORD],
    ['a name with a quote', "alice'--", PASSWORD],
    ['the id of a user', (await app.app.store.users.list({ after: null, limit: 1 }, {}))[0]?.id ?? '', PASSWORD],
    ['a very long name', 'a'.repeat(1024), PASSWORD]
  ]
  for (const [name, username, password] of logins) {
    const response = await login(app, username, password)
    const { date: _, ...others } = response.headers
    t.strictSame([...answer(response), others], [...REFUSED, headers], name)
  }
  t.equal(await sessionsOf(app), before)
})

t.test('every login makes exactly one verification with the current parameters [PW2]', async (t) => {
  await app.createUser('bill')
  await disable(app, 'bill')
  const logins: [name: string, username: string, password: string, status: number][] = [
    ['an unknown user', 'nobody', PASSWORD, 400],
    ['an unknown user with a wrong password', 'nobody', 'wrong', 400],
    ['a wrong password', 'alice', 'wrong', 400],
    ['a disabled user', 'bill', PASSWORD, 400],
    ['a disabled user with a wrong password', 'bill', 'wrong', 400],
    ['the right password', 'alice', PASSWORD, 200]
  ]
  const since = spy(t)
  for (const [name, username, password, status] of logins) {
    t.equal((await login(app, username, password)).statusCode, status, name)
    const { verified, hashed } = since()
    t.strictSame([verified.map(parametersOf), hashed], [[CURRENT], 0], name)
  }
})

t.test('a request with an invalid form or client verifies no password [PW2]', async (t) => {
  const since = spy(t)
  const forms = [
    'username=alice',
    `password=${PASSWORD}`,
    'username=alice&password=%zz',
    'username=alice&password=x&password=y'
  ]
  for (const form of forms) {
    t.equal((await app.token(`grant_type=password&${form}`)).statusCode, 400)
    t.strictSame(since(), { verified: [], hashed: 0 }, form)
  }
  t.equal((await app.token(`grant_type=password&username=alice&password=x&client_id=nobody`)).statusCode, 401)
  t.strictSame(since(), { verified: [], hashed: 0 }, 'an unknown client')
})

t.test('a password in NFC and in NFD is the same [PW6]', async (t) => {
  const password = 'Zoë’s crème brûlée, 각하'
  const forms = [password.normalize('NFC'), password.normalize('NFD')] as const
  t.not(forms[0], forms[1])
  for (const [index, typed] of forms.entries()) {
    await createUser(`zoe${index}`, typed)
    for (const again of forms) t.equal((await login(app, `zoe${index}`, again)).statusCode, 200)
  }
})

t.test('spaces, case and similar characters in a password matter [PW6]', async (t) => {
  const password = ' Two words, 1 fi²sh '
  await createUser('spacey', password)
  t.equal((await login(app, 'spacey', password)).statusCode, 200)
  const others = [
    password.trim(),
    password.trimEnd(),
    password.trimStart(),
    password.replace('Two words', 'Two  words'),
    password.replace('Two words', 'Two\twords'),
    password.replaceAll(' ', ''),
    password.toLowerCase(),
    password.toUpperCase(),
    password.replace('²', '2'),
    password.replace('fi', 'ﬁ'),
    `${password}\u200b`,
    password.slice(0, -1),
    `${password} `
  ]
  for (const other of others) t.strictSame(answer(await login(app, 'spacey', other)), REFUSED, JSON.stringify(other))
})

t.test('plus and percent in a password are form-decoded once [PW6]', async (t) => {
  await createUser('plus', 'a+b c%20d&e=f, quite long')
  t.equal((await login(app, 'plus', 'a+b c%20d&e=f, quite long')).statusCode, 200)
  const raw = 'grant_type=password&username=plus&password=a%2Bb+c%2520d%26e=f,%20quite+long'
  t.equal((await app.token(raw)).statusCode, 200)
  t.strictSame(answer(await app.token(raw.replace('%2B', '+'))), REFUSED)
})

t.test('every spelling of a username logs in the same user [PW8]', async (t) => {
  await app.createUser('Zoë')
  for (const username of ['Zoë', 'zoë', 'ZOË', 'ZOË'.normalize('NFD'), 'zoë'.normalize('NFD')]) {
    t.equal((await login(app, username)).statusCode, 200, encodeURIComponent(username))
  }
  for (const username of ['zoe', 'zo ë', 'zo\u00ebb']) {
    t.strictSame(answer(await login(app, username)), REFUSED, encodeURIComponent(username))
  }
})

t.test('a form with invalid percent-encoding, invalid UTF-8 or a NUL is invalid_request [PW7]', async (t) => {
  const since = spy(t)
  const bytes = (hex: string) => Buffer.from(hex, 'hex')
  const broken: [fault: string, value: string | Buffer][] = [
    ['a percent sign alone', '%'],
    ['a percent sign and one digit', '%4'],
    ['no hex digits', '%zz'],
    ['an escape of JavaScript', '%u0041'],
    ['an encoded byte that is never UTF-8', '%ff'],
    ['an incomplete encoded sequence', '%e2%82'],
    ['an encoded overlong form', '%c0%af'],
    ['an encoded overlong NUL', '%c0%80'],
    ['an encoded high surrogate', '%ed%a0%80'],
    ['an encoded low surrogate', '%ed%b0%80'],
    ['an encoded pair of surrogates', '%ed%a0%bd%ed%b4%91'],
    ['an encoded code point above the last', '%f4%90%80%80'],
    ['an encoded NUL', '%00'],
    ['an encoded NUL in the middle', 'a%00b'],
    ['a byte that is never UTF-8', bytes('ff')],
    ['an incomplete sequence', bytes('e282')],
    ['an overlong NUL', bytes('c080')],
    ['a surrogate', bytes('eda080')],
    ['Latin-1', Buffer.from('é', 'latin1')],
    ['NUL', bytes('00')]
  ]
  const valid = {
    username: 'alice',
    password: encodeURIComponent(PASSWORD),
    scope: 'profile',
    client_id: 'docs',
    x: 'y'
  }
  for (const [fault, value] of broken) {
    for (const name of Object.keys(valid)) {
      const before = Object.entries({ grant_type: 'password', ...valid, [name]: '' }).filter(([key]) => key !== name)
      const start = `${before.map((pair) => pair.join('=')).join('&')}&${name}=`
      const payload = Buffer.concat([Buffer.from(start), Buffer.from(value as string)])
      const response = await app.inject({ method: 'POST', url: '/token', headers: { 'content-type': FORM }, payload })
      t.strictSame(
        [response.statusCode, response.json().error, Object.keys(response.json())],
        [400, 'invalid_request', ['error', 'error_description']],
        `${fault} in ${name}`
      )
    }
    const payload = Buffer.concat([Buffer.from('grant_type=password&username=alice&'), Buffer.from(value as string)])
    const response = await app.inject({ method: 'POST', url: '/token', headers: { 'content-type': FORM }, payload })
    t.strictSame([response.statusCode, response.json().error], [400, 'invalid_request'], `${fault} in a name`)
  }
  t.strictSame(since(), { verified: [], hashed: 0 }, 'no password was verified')
})

t.test('invalid UTF-8 in a password is not read as U+FFFD [PW7]', async (t) => {
  await createUser('replacement', 'this \ufffd is no \ufffd question mark')
  t.equal((await login(app, 'replacement', 'this \ufffd is no \ufffd question mark')).statusCode, 200)
  for (const broken of ['%ff', '%fe', '%ed%a0%80']) {
    const password = `this+${broken}+is+no+${broken}+question+mark`
    const response = await app.token(`grant_type=password&username=replacement&password=${password}`)
    t.equal(response.json().error, 'invalid_request', broken)
  }
})

t.test('a password of 1024 bytes is compared completely, and a longer one is invalid_request [PW4]', async (t) => {
  const since = spy(t)
  const longest = [...new Array(400).keys()].join('').slice(0, 1024)
  await createUser('longest', longest)
  since()
  t.equal((await login(app, 'longest', longest)).statusCode, 200)
  t.strictSame(answer(await login(app, 'longest', longest.slice(0, -1))), REFUSED)
  t.strictSame(answer(await login(app, 'longest', `${longest.slice(0, -1)}q`)), REFUSED)
  t.equal(since().verified.length, 3)

  const tooLong = [
    400,
    { error: 'invalid_request', error_description: 'A text of the request has more than 1024 bytes' }
  ]
  for (const username of ['longest', 'nobody']) {
    for (const password of [`${longest}p`, '€'.repeat(342), '🔑'.repeat(257), 'p'.repeat(15_000)]) {
      t.strictSame(answer(await login(app, username, password)), tooLong, `${username}: ${password.length} units`)
    }
  }
  t.strictSame(since(), { verified: [], hashed: 0 }, 'a password that is too long is not verified')
})

t.test('the bytes of a password are counted as they are sent [PW4 UA1]', async (t) => {
  const password = `${'é'.repeat(340)}wxyz`.normalize('NFC')
  await createUser('accents', password)
  t.equal(Buffer.byteLength(password.normalize('NFD')), 1024)
  t.equal((await login(app, 'accents', password.normalize('NFD'))).statusCode, 200)
  const longer = `${password}z`
  await createUser('longer', longer)
  t.equal((await login(app, 'longer', longer)).statusCode, 200)
  t.equal((await login(app, 'longer', longer.normalize('NFD'))).json().error, 'invalid_request')
})

t.test('a hash with other parameters is replaced at a login, and not at a refused one [PW9]', async (t) => {
  const at = await createDatabase(t, 'sqlite')
  const old = await build(t, { at })
  const now = await build(t, { at, env: { LATCHKEY_ARGON2_PASSES: '2', LATCHKEY_ARGON2_MEMORY: '8192' } })
  const before = await hashOf(old, 'alice')
  t.equal(parametersOf(before), CURRENT)

  t.strictSame(answer(await login(now, 'alice', 'wrong')), REFUSED)
  await disable(now, 'admin')
  t.strictSame(answer(await login(now, 'admin')), REFUSED)
  t.equal(await hashOf(now, 'alice'), before, 'a wrong password replaces nothing')
  t.equal(parametersOf(await hashOf(now, 'admin')), CURRENT, 'a disabled user replaces nothing')

  const since = spy(t)
  t.equal((await login(now)).statusCode, 200)
  t.strictSame(since(), { verified: [before], hashed: 1 })
  const after = await hashOf(now, 'alice')
  t.equal(parametersOf(after), 'argon2id$v=19$m=8192,t=2,p=1')

  t.equal((await login(now)).statusCode, 200)
  t.strictSame(since(), { verified: [after], hashed: 0 }, 'the next login replaces nothing')
  t.strictSame(answer(await login(now, 'alice', 'wrong')), REFUSED)
  t.equal((await login(old)).statusCode, 200, 'an instance with the previous parameters accepts the new hash')
})

t.test('parallel logins that replace a hash all succeed [PW9]', async (t) => {
  const at = await createDatabase(t, 'sqlite')
  await build(t, { at })
  const app = await build(t, { at, env: { LATCHKEY_ARGON2_PASSES: '2' } })
  const responses = await Promise.all([1, 2, 3, 4].map(() => login(app)))
  t.strictSame(
    responses.map(({ statusCode }) => statusCode),
    [200, 200, 200, 200]
  )
  t.equal((await login(app)).statusCode, 200)
})

t.test('the replacement of a hash does not bring back a password that was changed meanwhile [PW9]', async (t) => {
  const at = await createDatabase(t, 'sqlite')
  const old = await build(t, { at })
  const replacement = await old.app.hasher.hash('quite another password')
  const app = await build(t, { at, env: { LATCHKEY_ARGON2_PASSES: '2' } })
  const { hash } = argon2
  t.capture(argon2, 'hash', async (...args: Parameters<typeof hash>) => {
    const [{ id } = { id: '' }] = await sql<{ id: string }>(app, "select id from users where username_key = 'alice'")
    await sql(app, 'update credentials set password_hash = $1 where user_id = $2', replacement, id)
    await sql(app, 'update users set auth_version = auth_version + 1 where id = $1', id)
    return hash(...args)
  })
  t.strictSame(answer(await login(app)), REFUSED)
  t.equal(await hashOf(app, 'alice'), replacement)
  t.equal(await sessionsOf(app), 0)
})

/** Logs in while something happens: when the password was verified, or just before the session is opened. */
async function loginMeanwhile(
  { app, token }: TestApp,
  moment: 'verify' | 'open',
  username: string,
  happen: () => unknown
) {
  const { verify } = app.hasher
  const { open } = app.store.sessions
  app.hasher.verify = async (...args) => {
    const matches = await verify(...args)
    if (moment === 'verify') await happen()
    return matches
  }
  app.store.sessions.open = async (...args) => {
    if (moment === 'open') await happen()
    return open(...args)
  }
  const response = await login({ token }, username)
  Object.assign(app.hasher, { verify })
  Object.assign(app.store.sessions, { open })
  return response
}

t.test('a login opens no session if its user is disabled or changed meanwhile [SC5]', async (t) => {
  const before = await sessionsOf(app)
  const changes: [name: string, text: string][] = [
    ['disabled', 'update users set disabled_at = 1 where username_key = $1'],
    ['disabled with a new version', 'update users set disabled_at = 1, auth_version = 2 where username_key = $1'],
    ['given a new password', 'update users set auth_version = auth_version + 1 where username_key = $1'],
    ['disabled and enabled again', 'update users set auth_version = auth_version + 2 where username_key = $1']
  ]
  for (const [index, [name, text]] of changes.entries()) {
    for (const moment of ['verify', 'open'] as const) {
      const username = `user-${index}-${moment}`
      await app.createUser(username)
      const response = await loginMeanwhile(app, moment, username, () => sql(app, text, username))
      t.strictSame(answer(response), REFUSED, `${name}, at ${moment}`)
    }
  }
  t.equal(await sessionsOf(app), before)
})

t.test('a login opens no session if its user is deleted or its client disabled meanwhile [SC5 SC6]', async (t) => {
  const before = await sessionsOf(app)
  const changes = [
    ["delete from users where username_key = 'erin'", () => app.createUser('erin')],
    ['update clients set disabled_at = 1', () => sql(app, 'update clients set disabled_at = null')]
  ] as const
  await app.createUser('erin')
  for (const [text, restore] of changes) {
    for (const moment of ['verify', 'open'] as const) {
      const response = await loginMeanwhile(app, moment, 'erin', () => sql(app, text))
      t.ok(response.statusCode === 400 || response.statusCode === 401, `${text}, at ${moment}`)
      t.strictSame(Object.keys(response.json()), ['error', 'error_description'])
      await restore()
    }
  }
  t.equal(await sessionsOf(app), before)
  t.equal((await login(app, 'erin')).statusCode, 200)
})

t.test('a disabled user cannot log in, and tokens of the user are invalid [SC5]', async (t) => {
  await app.createUser('dora')
  const jwt = await app.login('dora')
  t.equal((await app.get('/users/me', jwt)).statusCode, 200)
  await disable(app, 'dora')
  t.strictSame(answer(await login(app, 'dora')), REFUSED)
  const response = await app.get('/users/me', jwt)
  t.strictSame(
    [response.statusCode, response.headers['www-authenticate']],
    [401, 'Bearer realm="latchkey", error="invalid_token", error_description="Could not validate credentials"']
  )
})
