import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { build, ISSUER, PASSWORD, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'

const API = 'https://api.example.com'
const REFUSALS = {
  unregistered: ['invalid_scope', 'A requested scope is not registered'],
  none: ['invalid_scope', 'None of the requested scopes is allowed'],
  long: ['invalid_scope', 'The scope is longer than 1024 characters or 50 items'],
  characters: ['invalid_scope', 'The scope holds a character that is not allowed'],
  unknownTarget: ['invalid_target', 'The resource is not registered'],
  manyTargets: ['invalid_target', 'A token is for one resource: name one resource, or scopes of one resource']
} as const

/** Logs in. @param extra the end of the form */
const login = ({ token }: Pick<TestApp, 'token'>, username: string, extra = '') =>
  token(`grant_type=password&username=${username}&password=${encodeURIComponent(PASSWORD)}${extra && `&${extra}`}`)

type Response = Awaited<ReturnType<typeof login>>

function refused(t: Test, response: Response, reason: keyof typeof REFUSALS, name: string) {
  const [error, error_description] = REFUSALS[reason]
  t.strictSame([response.statusCode, response.json()], [400, { error, error_description }], name)
}

/** Checks that the response, the token and the session have the same scopes. */
async function granted(t: Test, app: TestApp, response: Response, scope: string, name: string, aud = ISSUER) {
  const { access_token, refresh_token, ...rest } = response.json()
  t.match(refresh_token, /^lkr_[\w-]{80}$/)
  t.strictSame([response.statusCode, rest], [200, { token_type: 'Bearer', expires_in: 300, scope }], name)
  const claims = decodeJwt(access_token)
  t.strictSame([claims.scope, claims.aud], [scope, aud], name)
  const [session] = await sql(app, 'select scopes from sessions where id = $1', String(claims.sid))
  t.strictSame(session, { scopes: scope }, name)
}

/** Registers scopes, and gives them to the client `docs` and the role `user` by default. */
async function addScopes(
  app: TestApp,
  names: string[],
  { resource = 'latchkey', client = true, role = true }: { resource?: string; client?: boolean; role?: boolean } = {}
) {
  const rows = (row: (place: string) => string) => names.map((_, index) => `(${row(`$${index + 1}`)})`).join(', ')
  const insert = (into: string, row: (place: string) => string) =>
    sql(app, `insert into ${into} values ${rows(row)}`, ...names)
  await insert('scopes (name, description, resource_id)', (name) => `${name}, '', '${resource}'`)
  if (client) await insert('client_scopes (scope, client_id, is_default)', (name) => `${name}, 'docs', 0`)
  if (role) await insert('role_scopes (scope, role)', (name) => `${name}, 'user'`)
}
const addResource = (app: TestApp) =>
  sql(app, "insert into resources (id, name, created_at, identifier) values ('api', 'An API', 0, $1)", API)

/** Tests only add users, sessions, scopes and one resource to it. */
const app = await build(t)

t.test('a login gets the requested scopes that client and user may have [SC3]', async (t) => {
  await app.createUser('both', ['admin', 'user'])
  await addScopes(app, ['of:all'])
  await addScopes(app, ['of:client'], { role: false })
  await addScopes(app, ['of:role'], { client: false })
  await addScopes(app, ['of:none'], { client: false, role: false })
  const logins: [username: string, scope: string | null, granted: string][] = [
    ['alice', 'profile', 'profile'],
    ['alice', 'profile users:read', 'profile'],
    ['alice', 'of:all', 'of:all'],
    ['alice', 'of:all of:client of:role of:none profile', 'of:all profile'],
    ['admin', 'profile users:read', 'profile users:read'],
    ['admin', 'users:read profile', 'users:read profile'],
    ['admin', 'users:read', 'users:read'],
    ['admin', 'users:read of:all', 'users:read'],
    ['both', 'users:read of:all of:client profile', 'users:read of:all profile'],
    ['both', 'profile profile users:read profile', 'profile users:read'],
    ['admin', null, 'profile']
  ]
  for (const [username, scope, expected] of logins) {
    const extra = scope === null ? '' : `scope=${encodeURIComponent(scope)}`
    await granted(t, app, await login(app, username, extra), expected, `${username} requests ${scope}`)
  }

  const sessions = (await sql(app, 'select id from sessions')).length
  for (const scope of ['users:read', 'of:client', 'of:role', 'of:none', 'of:client of:role users:read']) {
    refused(t, await login(app, 'alice', `scope=${encodeURIComponent(scope)}`), 'none', `alice requests ${scope}`)
  }
  refused(t, await login(app, 'admin', 'scope=of:all'), 'none', 'admin requests a scope of the role user only')
  t.equal((await sql(app, 'select id from sessions')).length, sessions, 'a refused login opens no session')
})

t.test('a login does not get a scope that the client has lost [SC3]', async (t) => {
  const app = await build(t)
  await sql(app, "delete from client_scopes where scope = 'users:read'")
  await granted(t, app, await login(app, 'admin', 'scope=profile+users:read'), 'profile', 'one of two scopes')
  refused(t, await login(app, 'admin', 'scope=users:read'), 'none', 'the only scope')
})

t.test('a login without scope gets the default scopes of the client that the user may have [SC3]', async (t) => {
  const app = await build(t)
  await app.createUser('roleless', [])
  await granted(t, app, await login(app, 'roleless'), 'profile', 'a user without a role has the identity scopes')
  refused(t, await login(app, 'roleless', 'scope=account'), 'none', 'a user without a role who requests another scope')

  await sql(app, "update client_scopes set is_default = 1 where scope in ('profile', 'users:read')")
  await granted(t, app, await login(app, 'admin'), 'profile users:read', 'two default scopes')
  await granted(t, app, await login(app, 'admin', 'scope='), 'profile users:read', 'an empty scope')
  await granted(t, app, await login(app, 'alice'), 'profile', 'one of two default scopes')

  await sql(app, 'update client_scopes set is_default = 0')
  refused(t, await login(app, 'admin'), 'none', 'no default scope')
})

t.test('the endpoints of Latchkey require the granted scopes [SC3]', async (t) => {
  const get = async (username: string, scope: string) => {
    const jwt = (await login(app, username, `scope=${encodeURIComponent(scope)}`)).json().access_token
    return [(await app.get('/users/me', jwt)).statusCode, (await app.get('/users', jwt)).statusCode]
  }
  t.strictSame(await get('admin', 'profile'), [200, 403])
  t.strictSame(await get('admin', 'users:read'), [403, 200])
  t.strictSame(await get('admin', 'users:read profile'), [200, 200])
  t.strictSame(await get('alice', 'users:read profile'), [200, 403])
})

t.test('an unregistered scope is refused, also beside others [SC1]', async (t) => {
  const scopes = ['nope', 'profile nope', 'nope profile', 'Profile', 'PROFILE', 'profil', 'profile,users:read', 'users']
  for (const scope of [...scopes, 'profile:', '*', '%', "'", '__proto__', 'toString', 'users:*', 'profile/']) {
    for (const username of ['admin', 'alice']) {
      const response = await login(app, username, `scope=${encodeURIComponent(scope)}`)
      refused(t, response, 'unregistered', `${username} requests ${scope}`)
    }
  }
})

t.test('a scope with characters that no scope may have is refused [SC1]', async (t) => {
  const scopes = [
    '"',
    'profile"',
    '\\',
    'profile\\',
    'profile\t',
    'profile\nusers:read',
    '\x7f',
    'é',
    'profile\u00a0x',
    '🔑'
  ]
  for (const scope of scopes) {
    const encoded = encodeURIComponent(scope)
    refused(t, await login(app, 'alice', `scope=${encoded}`), 'characters', encoded)
    refused(t, await login(app, 'alice', `scope=profile+${encoded}`), 'characters', `profile ${encoded}`)
  }
})

t.test('a scope parameter that holds only spaces is refused [SC1]', async (t) => {
  for (const spaces of ['+', '+++', '%20']) refused(t, await login(app, 'alice', `scope=${spaces}`), 'none', spaces)
})

t.test('a scope has at most 1024 characters and 50 items [SC1]', async (t) => {
  const app = await build(t)
  const longest = 'scope'.repeat(205).slice(0, 1024)
  const tooLong = 'scopes'.repeat(171).slice(0, 1025)
  const names = Array.from({ length: 51 }, (_, index) => `item:${index}`)
  await addScopes(app, [longest, tooLong, ...names])

  await granted(t, app, await login(app, 'alice', `scope=${longest}`), longest, '1024 characters')
  refused(t, await login(app, 'alice', `scope=${tooLong}`), 'long', '1025 characters')
  refused(t, await login(app, 'alice', `scope=${'scope'.repeat(800)}`), 'long', '4000 characters')

  const most = names.slice(0, 50).join(' ')
  await granted(t, app, await login(app, 'alice', `scope=${most}`), most, '50 items')
  refused(t, await login(app, 'alice', `scope=${names.join(' ')}`), 'long', '51 items')
})

t.test('a token for Latchkey has the issuer as its audience, requested or not (RFC 8707)', async (t) => {
  const issuer = encodeURIComponent(ISSUER)
  for (const extra of ['', 'resource=', `resource=${issuer}`, `resource=${issuer}&resource=${issuer}`]) {
    await granted(t, app, await login(app, 'alice', extra), 'profile', `with "${extra}"`)
  }
})

t.test('an unregistered resource is invalid_target', async (t) => {
  const resources = [
    API,
    `${ISSUER}/`,
    `${ISSUER}#x`,
    ISSUER.toUpperCase(),
    'http://localhost',
    'latchkey',
    'x',
    '%',
    ' '
  ]
  for (const resource of resources) {
    const response = await login(app, 'alice', `resource=${encodeURIComponent(resource)}`)
    refused(t, response, 'unknownTarget', resource)
  }
  const twice = `resource=${encodeURIComponent(API)}`
  refused(t, await login(app, 'alice', `${twice}&${twice}`), 'unknownTarget', 'one, twice')
})

t.test('two different resources are invalid_target', async (t) => {
  const [one, two] = [ISSUER, API].map((resource) => `resource=${encodeURIComponent(resource)}`)
  for (const extra of [`${one}&${two}`, `${two}&${one}`, `${one}&${one}&${two}`]) {
    refused(t, await login(app, 'alice', extra), 'manyTargets', extra)
  }
})

t.test('a token for another resource is refused by Latchkey [JW7]', async (t) => {
  await addResource(app)
  await addScopes(app, ['orders:read'], { resource: 'api' })
  const issuer = `resource=${encodeURIComponent(ISSUER)}`

  const response = await login(app, 'alice', 'scope=orders:read')
  await granted(t, app, response, 'orders:read', 'scopes of one resource', API)
  const mine = await app.get('/users/me', response.json().access_token)
  t.strictSame(
    [mine.statusCode, mine.headers['www-authenticate']],
    [401, 'Bearer realm="latchkey", error="invalid_token", error_description="Could not validate credentials"'],
    'at Latchkey'
  )

  refused(t, await login(app, 'alice', 'scope=orders:read+account'), 'manyTargets', 'scopes of two resources')
  const narrowed = await login(app, 'alice', `scope=orders:read+account&${issuer}`)
  await granted(t, app, narrowed, 'account', 'scopes of two resources, of which one is requested')
  const both = await login(app, 'alice', 'scope=orders:read+profile')
  await granted(t, app, both, 'orders:read profile', 'an identity scope goes with the token', API)
  refused(t, await login(app, 'alice', `scope=orders:read&${issuer}`), 'none', 'no scope of the requested resource')
})

t.test('a refused scope or resource does not show whether the password is right', async (t) => {
  for (const extra of ['scope=nope', 'scope=%22', 'resource=x', 'scope=users:read']) {
    const response = await app.token(`grant_type=password&username=alice&password=wrong&${extra}`)
    t.strictSame(
      [response.statusCode, response.json()],
      [400, { error: 'invalid_grant', error_description: 'Incorrect username or password' }],
      extra
    )
  }
})
