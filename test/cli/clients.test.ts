import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { basic } from '../basic.ts'
import { build, onEachDatabase, PASSWORD } from '../helper.ts'
import { CLIENT_DEFAULTS } from '../routes/api.ts'
import { clientTerminal, command, done, keyboard, refused, wrong } from './command.ts'

const DAY = 86_400

const noSecret = (id: string) => `There is no secret "${id}"; "latchkey client show <client>" lists the existing ones`

/** Writes a file with a JWK Set. Returns its path, and the keys as they are stored. */
function keyFile(dataDir: string) {
  const { kty, crv, x, y } = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
  const file = join(dataDir, 'jwks.json')
  writeFileSync(file, JSON.stringify({ keys: [{ kty, crv, x, y }] }))
  return { file, keys: [{ kty, crv, x, y, alg: 'ES256' }] }
}

onEachDatabase(
  t,
  'every option of "client add" and "client set" is stored, and --json prints what the API returns',
  async (t, database) => {
    const { env, login, get } = await build(t, { database })
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await command(env, ['client', ...args, '--json'])
      t.strictSame([code, stderr], [0, ''], args.join(' '))
      return JSON.parse(stdout)
    }
    const shown = async (id: string) =>
      (await get(`/clients/${encodeURIComponent(id)}`, await login('admin', 'clients:read'))).json()
    const options = [
      ['--grant', 'client_credentials', 'refresh_token', '--grant', 'password'],
      ['--scope', 'profile', 'users:read', '--default-scope', 'users:read'],
      ['--resource', 'latchkey', '--redirect-uri', 'https://a.example/', 'com.example:/b', '--first-party'],
      ['--application-type', 'native', '--post-logout-redirect-uri', 'https://a.example/bye', '--no-consent'],
      ['--client-uri', 'https://a.example', '--logo', 'a.png', '--policy-uri', 'https://a.example/p'],
      ['--tos-uri', 'https://a.example/t', '--id-token-alg', 'EdDSA'],
      ['--backchannel-logout-uri', 'https://a.example/out'],
      ['--access-token-ttl', '10m', '--session-idle-ttl', '12h', '--session-absolute-ttl', '30d']
    ].flat()
    const { client_secret, ...added } = await run('add', 'A worker', '--id', 'a/worker', ...options)
    t.match(client_secret, /^lks_[\w-]{43}$/)
    const { secrets, ...worker } = await shown('a/worker')
    t.strictSame(added, worker)
    t.equal(secrets.length, 1)
    const { client_id_issued_at, updated_at, ...rest } = worker
    t.strictSame(rest, {
      ...CLIENT_DEFAULTS,
      client_id: 'a/worker',
      client_name: 'A worker',
      grant_types: ['client_credentials', 'refresh_token', 'password'],
      scope: 'profile users:read',
      default_scope: 'users:read',
      resources: ['latchkey'],
      redirect_uris: ['https://a.example/', 'com.example:/b'],
      post_logout_redirect_uris: ['https://a.example/bye'],
      application_type: 'native',
      client_uri: 'https://a.example',
      logo_uri: 'a.png',
      policy_uri: 'https://a.example/p',
      tos_uri: 'https://a.example/t',
      require_pkce: true,
      require_consent: false,
      id_token_signed_response_alg: 'EdDSA',
      backchannel_logout_uri: 'https://a.example/out',
      first_party: true,
      access_token_ttl: 600,
      session_idle_ttl: 12 * 3600,
      session_absolute_ttl: 30 * DAY
    })
    t.strictSame(await run('show', 'a/worker'), await shown('a/worker'))
    t.strictSame(
      (await run('list')).map((each: { client_id: string }) => each.client_id),
      ['a/worker', 'docs']
    )

    const steps: [args: string[], change: object][] = [
      [['--name', 'Another'], { client_name: 'Another' }],
      [['--role', 'user', 'admin'], { roles: ['user', 'admin'] }],
      [['--no-role'], { roles: [] }],
      [['--grant', 'client_credentials'], { grant_types: ['client_credentials'] }],
      [['--no-first-party'], { first_party: false }],
      [['--first-party'], { first_party: true }],
      [['--scope', 'roles:read', 'users:read'], { scope: 'roles:read users:read' }],
      [['--default-scope', 'roles:read'], { default_scope: 'roles:read' }],
      [['--pkce', '--consent'], { require_pkce: true, require_consent: true }],
      [['--redirect-uri', 'https://b.example/'], { redirect_uris: ['https://b.example/'] }],
      [['--application-type', 'web'], { application_type: 'web' }],
      [['--logo', '', '--id-token-alg', ''], { logo_uri: null, id_token_signed_response_alg: null }],
      [['--access-token-ttl', '90'], { access_token_ttl: 90 }],
      [['--access-token-ttl', '90s'], { access_token_ttl: 90 }],
      [
        ['--session-idle-ttl', '1', '--session-absolute-ttl', '365d'],
        { session_idle_ttl: 1, session_absolute_ttl: 365 * DAY }
      ]
    ]
    let expected = rest
    for (const [args, change] of steps) {
      expected = { ...expected, ...change }
      const { client_id_issued_at: _issued, updated_at: _updated, ...changed } = await run('set', 'a/worker', ...args)
      t.strictSame(changed, expected, args.join(' '))
    }
    const { secrets: _secrets, ...after } = await shown('a/worker')
    t.match(after, expected)
  }
)

onEachDatabase(
  t,
  'a client is added with a secret that is shown once, listed, disabled and enabled',
  async (t, database) => {
    const { env, token, inject } = await build(t, { database })
    const client = (...args: string[]) => command(env, ['client', ...args])
    const added = await client('add', 'Orders API', '--id', 'orders', '--scope', 'tokens:introspect', '--json')
    t.strictSame([added.code, added.stderr], [0, ''])
    const { client_secret: secret, ...view } = JSON.parse(added.stdout)
    t.match(secret, /^lks_[\w-]{43}$/)
    const orders = {
      ...CLIENT_DEFAULTS,
      client_id: 'orders',
      client_name: 'Orders API',
      scope: 'tokens:introspect',
      default_scope: 'tokens:introspect'
    }
    const { client_id_issued_at: issuedAt, updated_at: updatedAt, ...rest } = view
    t.strictSame(rest, orders)
    t.equal(Math.floor(Date.parse(updatedAt) / 1000), issuedAt)
    const introspect = async () => {
      const authorization = basic('orders', secret)
      const headers = { authorization, 'content-type': 'application/x-www-form-urlencoded' }
      return (await inject({ method: 'POST', url: '/introspect', headers, payload: 'token=x' })).statusCode
    }
    t.equal(await introspect(), 200)

    const app = await client(
      'add',
      'App',
      '--id',
      'app',
      '--public',
      '--first-party',
      '--grant',
      'password',
      'refresh_token',
      '--scope',
      'profile'
    )
    t.strictSame(app, { code: 0, stdout: 'client app was added\n', stderr: '' })
    const login = { grant_type: 'password', username: 'alice', password: PASSWORD, client_id: 'app' }
    const { scope, refresh_token } = (await token(login)).json()
    t.equal(scope, 'profile')
    t.match(refresh_token, /^lkr_/)
    t.match(
      (await client('add', 'Generated')).stdout,
      /^client [0-9a-f]{32} was added\nclient_secret lks_[\w-]{43} {3}\(shown this once\)\n$/
    )

    const { stdout } = await client('list', '--json')
    t.notMatch(stdout, /secret":|lks_/)
    t.strictSame(
      JSON.parse(stdout).filter(({ client_id }: { client_id: string }) => client_id === 'orders'),
      [view]
    )
    t.match((await client('list')).stdout, /^ID +NAME +KIND +GRANTS +SCOPES +STATE\n/)

    t.strictSame(await client('disable', 'orders'), { code: 0, stdout: 'client orders is disabled\n', stderr: '' })
    t.equal(await introspect(), 401)
    t.match(JSON.parse((await client('enable', 'orders', '--json')).stdout), orders)
    t.equal(await introspect(), 200)
  }
)

t.test('a client is public, or has keys in place of a secret', async (t) => {
  const { client, json, dataDir } = await clientTerminal(t)
  const { file, keys } = keyFile(dataDir)
  t.match(await json('add', 'Page', '--id', 'page', '--public'), { token_endpoint_auth_method: 'none' })
  const keyed = await json('add', 'Keyed', '--id', 'keyed', '--jwks', file)
  t.match(keyed, { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys } })
  t.notOk('client_secret' in keyed)
  t.strictSame(await client(['add', 'Other', '--id', 'other', '--jwks', file]), done('client other was added\n'))
  t.notOk('jwks' in (await json('set', 'keyed', '--no-jwks')))
  t.strictSame((await json('set', 'keyed', '--jwks', file)).jwks, { keys })
  t.match(
    await client(['add', 'X', '--public', '--jwks', file]),
    wrong("error: option '--public' cannot be used with option '--jwks <file>'")
  )
  const none = join(dataDir, 'none.json')
  t.match(await client(['add', 'X', '--jwks', none]), {
    code: 1,
    stdout: '',
    stderr: `${none} cannot be read as JSON: ENOENT`
  })
  writeFileSync(none, '{')
  t.match(await client(['set', 'keyed', '--jwks', none]), {
    code: 1,
    stdout: '',
    stderr: `${none} cannot be read as JSON: `
  })
  writeFileSync(none, '{"keys":[]}')
  t.strictSame(await client(['set', 'keyed', '--jwks', none]), refused('A JWK Set has a list "keys" of 1 to 10 keys'))
  writeFileSync(none, 'null')
  t.strictSame(await client(['add', 'X', '--jwks', none]), refused('A JWK Set has a list "keys" of 1 to 10 keys'))
  writeFileSync(none, JSON.stringify({ keys: Array.from({ length: 11 }, () => keys[0]) }))
  t.strictSame(await client(['add', 'X', '--jwks', none]), refused('A JWK Set has a list "keys" of 1 to 10 keys'))
  writeFileSync(none, '{"keys":["x"]}')
  t.strictSame(
    await client(['add', 'X', '--jwks', none]),
    refused('A key must be a public JWK for ES256 (P-256), EdDSA (Ed25519), or RS256 or PS256 (RSA, 2048 to 4096 bits)')
  )
})

t.test('without --json the output is one line, or an aligned table', async (t) => {
  const { client, json } = await clientTerminal(t)
  const added = await client([
    'add',
    'Wörker',
    '--id',
    'worker',
    '--grant',
    'client_credentials',
    '--scope',
    'users:read'
  ])
  t.match(added, done('client worker was added\nclient_secret lks_'))
  t.match(added.stdout, /^client worker was added\nclient_secret lks_[\w-]{43} {3}\(shown this once\)\n$/)
  t.strictSame(await client(['set', 'worker', '--access-token-ttl', '1h']), done('client worker was changed\n'))
  t.strictSame(await client(['disable', 'worker']), done('client worker is disabled\n'))
  const table = (await client(['list'])).stdout.split('\n')
  t.match(table[0], /^ID +NAME +KIND +GRANTS +SCOPES +STATE$/)
  t.match(
    table[1],
    /^docs +Interactive documentation +public +authorization_code password refresh_token +account clients:read .* enabled$/
  )
  t.match(table[2], /^worker +Wörker +confidential +client_credentials +users:read +disabled$/)
  t.strictSame(await client(['enable', 'worker']), done('client worker is enabled\n'))

  const first = await json('secret', 'add', 'worker', '--expires-in', '1d')
  const { secrets, updated_at } = await json('show', 'worker')
  const ids = secrets.map(({ id }: { id: string }) => id)
  const end = new Date(first.client_secret_expires_at * 1000).toISOString()
  t.strictSame(
    await client(['show', 'worker']),
    done(
      [
        'client_id                     worker',
        'client_name                   Wörker',
        'grant_types                   client_credentials',
        'scope                         users:read',
        'default_scope                 users:read',
        'roles',
        'resources',
        'redirect_uris',
        'post_logout_redirect_uris',
        'application_type              web',
        'client_uri',
        'logo_uri',
        'policy_uri',
        'tos_uri',
        'require_pkce                  true',
        'require_consent               true',
        'id_token_signed_response_alg',
        'backchannel_logout_uri',
        'token_endpoint_auth_method    client_secret_basic',
        'first_party                   false',
        'access_token_ttl              3600',
        `session_idle_ttl              ${14 * DAY}`,
        `session_absolute_ttl          ${90 * DAY}`,
        'disabled                      false',
        `client_id_issued_at           ${Math.floor(Date.parse((await json('show', 'worker')).secrets[0].created_at) / 1000)}`,
        `updated_at                    ${updated_at}`,
        `secret                        ${ids[0]}, never expires, last used never`,
        `secret                        ${ids[1]}, expires ${end}, last used never`,
        ''
      ].join('\n')
    )
  )
  t.strictSame(await client(['delete', 'worker', '--yes']), done('client worker was deleted\n'))
})

onEachDatabase(t, 'a secret is added, replaces the others at a given time, and is deleted', async (t, database) => {
  const { client, json } = await clientTerminal(t, database)
  await json('add', 'Worker', '--id', 'worker')
  const ends = async () =>
    (await json('show', 'worker')).secrets.map(
      (each: { client_secret_expires_at: number }) => each.client_secret_expires_at
    )
  const added = await client(['secret', 'add', 'worker'])
  t.match(added.stdout, /^secret [0-9a-f-]{36} was added\nclient_secret lks_[\w-]{43} {3}\(shown this once\)\n$/)
  t.strictSame([added.code, added.stderr], [0, ''])
  t.strictSame(await ends(), [0, 0])
  const { id, client_secret, created_at, ...rest } = await json('secret', 'add', 'worker', '--others-expire-in', '1d')
  t.strictSame(rest, { client_secret_expires_at: 0, last_used_at: null })
  t.match(client_secret, /^lks_/)
  const day = Math.floor(Date.parse(created_at) / 1000) + DAY
  t.strictSame(await ends(), [day, day, 0])
  const short = await json('secret', 'add', 'worker', '--expires-in', '60s', '--others-expire-in', '2d')
  t.strictSame((await ends()).slice(0, 2), [day, day], 'the secrets that expire sooner keep their expiry')
  t.equal(short.client_secret_expires_at, Math.floor(Date.parse(short.created_at) / 1000) + 60)

  t.strictSame(await client(['secret', 'delete', 'worker', id]), done(`secret ${id} was deleted\n`))
  t.strictSame(await client(['secret', 'delete', 'worker', id]), refused(noSecret(id)))
  t.strictSame(await json('secret', 'delete', 'worker', short.id), { id: short.id })
  t.strictSame(await client(['secret', 'delete', 'docs', short.id]), refused(noSecret(short.id)))
  const last = await json('secret', 'add', 'worker', '--others-expire-in', '0')
  t.strictSame(
    (await json('show', 'worker')).secrets.map((each: { id: string }) => each.id),
    [last.id]
  )
  t.notMatch((await client(['show', 'worker', '--json'])).stdout, /lks_|hash/)
})

t.test('"client add" warns about a client that can never get a token', async (t) => {
  const { client } = await clientTerminal(t)
  const { code, stdout, stderr } = await client([
    'add',
    'W',
    '--id',
    'worker',
    '--grant',
    'client_credentials',
    '--json'
  ])
  t.strictSame([code, JSON.parse(stdout).client_id], [0, 'worker'])
  t.equal(
    stderr,
    'client worker has no scopes for a token of its own, so every request for one is refused: run "latchkey client set worker --scope <scope...>"\n'
  )
  t.equal(
    (await client(['add', 'O', '--id', 'o', '--grant', 'client_credentials', '--scope', 'users:read'])).stderr,
    ''
  )
  const identity = ['add', 'I', '--id', 'i', '--grant', 'client_credentials', '--scope', 'openid', 'profile']
  t.match((await client(identity)).stderr, /^client i has no scopes for a token of its own/)
  t.equal((await client(['add', 'P', '--id', 'p'])).stderr, '')
})

t.test('a client is deleted after its id is typed again, or with --yes', async (t) => {
  const { client, json } = await clientTerminal(t)
  await json('add', 'Worker', '--id', 'worker')
  t.match(await client(['delete', 'worker'], keyboard('workers\r').stream), { code: 1, stdout: '' })
  t.match(await client(['delete', 'worker'], keyboard('\u0003').stream), { code: 1, stdout: '' })
  t.strictSame(await client(['delete', 'worker']), wrong('there is no terminal to ask on: add --yes to confirm\n'))
  t.strictSame(
    await client(['delete', 'none']),
    refused('There is no client "none"; "latchkey client list" lists the existing ones'),
    'there is no question about a client that does not exist'
  )
  t.equal((await json('list')).length, 2)
  t.match(await client(['delete', 'worker'], keyboard('worker\r').stream), {
    code: 0,
    stdout: 'client worker was deleted\n'
  })
  await json('add', 'Worker', '--id', 'worker')
  t.match(await json('delete', 'worker', '--yes'), { client_id: 'worker', client_name: 'Worker' })
  t.equal((await json('list')).length, 1)
})
