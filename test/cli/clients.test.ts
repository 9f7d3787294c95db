import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { build, createDatabase, type Database, environment, NOBODY, onEachDatabase } from '../helper.ts'
import { CLIENT_DEFAULTS } from '../routes/api.ts'
import { command, keyboard } from './command.ts'

const DAY = 86_400
const done = (stdout: string) => ({ code: 0, stdout, stderr: '' })
const refused = (stderr: string) => ({ code: 1, stdout: '', stderr: `${stderr}\n` })
const wrong = (stderr: string) => ({ code: 2, stdout: '', stderr })

const noSecret = (id: string) => `There is no secret "${id}"; "latchkey client show <client>" lists every secret`

/** A database with the client of /docs, and commands on it. */
async function terminal(t: Test, database: Database = 'sqlite') {
  const at = await createDatabase(t, database, 'ready')
  const env = environment(at)
  const client = (args: string[], stdin?: Parameters<typeof command>[2]) => command(env, ['client', ...args], stdin)
  return {
    client,
    dataDir: at.dataDir,
    /** Runs a command that must succeed, and returns its JSON output. */
    json: async (...args: string[]) => {
      const { code, stdout, stderr } = await client([...args, '--json'])
      t.strictSame([code, stderr], [0, ''], args.join(' '))
      return JSON.parse(stdout)
    }
  }
}

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
      [['--redirect-uri', 'https://b.example/'], { redirect_uris: ['https://b.example/'] }],
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

t.test('a client is public, or has keys in place of a secret', async (t) => {
  const { client, json, dataDir } = await terminal(t)
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
  const { client, json } = await terminal(t)
  const added = await client(['add', 'Wörker', '--id', 'worker', '--grant', 'client_credentials', '--scope', 'profile'])
  t.match(added, done('client worker was added\nclient_secret lks_'))
  t.match(added.stdout, /^client worker was added\nclient_secret lks_[\w-]{43} {3}\(shown this once\)\n$/)
  t.strictSame(await client(['set', 'worker', '--access-token-ttl', '1h']), done('client worker was changed\n'))
  t.strictSame(await client(['disable', 'worker']), done('client worker is disabled\n'))
  const table = (await client(['list'])).stdout.split('\n')
  t.match(table[0], /^ID +NAME +KIND +GRANTS +SCOPES +STATE$/)
  t.match(table[1], /^docs +Interactive documentation +public +password refresh_token +clients:read .* enabled$/)
  t.match(table[2], /^worker +Wörker +confidential +client_credentials +profile +disabled$/)
  t.strictSame(await client(['enable', 'worker']), done('client worker is enabled\n'))

  const first = await json('secret', 'add', 'worker', '--expires-in', '1d')
  const { secrets, updated_at } = await json('show', 'worker')
  const ids = secrets.map(({ id }: { id: string }) => id)
  const end = new Date(first.client_secret_expires_at * 1000).toISOString()
  t.strictSame(
    await client(['show', 'worker']),
    done(
      [
        'client_id                   worker',
        'client_name                 Wörker',
        'grant_types                 client_credentials',
        'scope                       profile',
        'default_scope               profile',
        'roles',
        'resources',
        'redirect_uris',
        'token_endpoint_auth_method  client_secret_basic',
        'first_party                 false',
        'access_token_ttl            3600',
        `session_idle_ttl            ${14 * DAY}`,
        `session_absolute_ttl        ${90 * DAY}`,
        'disabled                    false',
        `client_id_issued_at         ${Math.floor(Date.parse((await json('show', 'worker')).secrets[0].created_at) / 1000)}`,
        `updated_at                  ${updated_at}`,
        `secret                      ${ids[0]}, never expires, last used never`,
        `secret                      ${ids[1]}, expires ${end}, last used never`,
        ''
      ].join('\n')
    )
  )
  t.strictSame(await client(['delete', 'worker', '--yes']), done('client worker was deleted\n'))
})

onEachDatabase(t, 'a secret is added, replaces the others at a given time, and is deleted', async (t, database) => {
  const { client, json } = await terminal(t, database)
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

t.test('a refusal of the domain is one line, and changes nothing', async (t) => {
  const { client, json } = await terminal(t)
  await json('add', 'Worker', '--id', 'worker')
  await json('add', 'Page', '--id', 'page', '--public')
  const before = [await client(['list', '--json']), await client(['show', 'worker'])]
  const BUILT_IN = 'The client of /docs cannot be changed; LATCHKEY_DOCS=false switches it off'
  const MISSING = 'There is no client "none"; "latchkey client list" lists every client'
  const SPAN = 'A new secret expires after 1 to 315360000 seconds, the other secrets after 0 to 315360000'
  for (const [args, line] of [
    [['add', 'X', '--id', 'worker'], 'A client with this id already exists'],
    [['add', 'X', '--id', 'alice'], 'The client id is the name of a user: choose another id'],
    [
      ['add', 'X', '--id', NOBODY],
      'A client id has 1 to 255 printable ASCII characters and no space, and is not a UUID'
    ],
    [
      ['add', 'X', '--id', 'a b'],
      'A client id has 1 to 255 printable ASCII characters and no space, and is not a UUID'
    ],
    [['add', ''], 'A name has 1 to 200 characters and no control characters'],
    [['add', 'a\nb'], 'A name has 1 to 200 characters and no control characters'],
    [['add', 'X', '--grant', 'password'], 'The grant password is for first-party clients only'],
    [
      ['add', 'X', '--public', '--grant', 'client_credentials'],
      'The grant client_credentials is for confidential clients only'
    ],
    [
      ['add', 'X', '--public', '--scope', 'tokens:introspect'],
      'The scope tokens:introspect is for confidential clients only'
    ],
    [['add', 'X', '--scope', 'none'], 'There is no scope "none"; "latchkey resource list" lists every scope'],
    [['add', 'X', '--resource', 'none'], 'There is no resource "none"; "latchkey resource list" lists every resource'],
    [
      ['add', 'X', '--redirect-uri', 'http://a.example'],
      'A redirect URI must be an absolute URI without fragment: https, http on a loopback host, or a scheme with a dot'
    ],
    [['add', 'X', '--access-token-ttl', '2h'], 'The lifetime of an access token is 1 to 3600 seconds'],
    [['add', 'X', '--access-token-ttl', '0'], 'The lifetime of an access token is 1 to 3600 seconds'],
    [['add', 'X', '--session-idle-ttl', '366d'], 'The lifetime of a session is 1 to 31536000 seconds'],
    [['set', 'worker', '--session-absolute-ttl', '0'], 'The lifetime of a session is 1 to 31536000 seconds'],
    [
      ['set', 'worker', '--grant', 'magic'],
      'There is no grant "magic"; the grants are password, refresh_token, client_credentials'
    ],
    [['set', 'worker', '--name', ''], 'A name has 1 to 200 characters and no control characters'],
    [['set', 'none', '--name', 'x'], MISSING],
    [['set', 'docs', '--name', 'x'], BUILT_IN],
    [['show', 'none'], MISSING],
    [['disable', 'none'], MISSING],
    [['enable', 'none'], MISSING],
    [['disable', 'docs'], BUILT_IN],
    [['delete', 'none', '--yes'], MISSING],
    [['delete', 'docs', '--yes'], BUILT_IN],
    [['secret', 'add', 'none'], MISSING],
    [['secret', 'add', 'page'], 'A public client cannot keep a secret'],
    [['secret', 'add', 'docs'], 'A public client cannot keep a secret'],
    [['secret', 'add', 'worker', '--expires-in', '0'], SPAN],
    [['secret', 'add', 'worker', '--expires-in', '3651d'], SPAN],
    [['secret', 'add', 'worker', '--expires-in', '999999999d'], SPAN],
    [['secret', 'add', 'worker', '--others-expire-in', '999999999d'], SPAN],
    [['secret', 'delete', 'worker', NOBODY], noSecret(NOBODY)]
  ] as const)
    t.strictSame(await client([...args]), refused(line), args.join(' '))
  t.strictSame([await client(['list', '--json']), await client(['show', 'worker'])], before)
})

t.test('the error for an unknown name shows at most 100 characters of it, and proposes a similar name', async (t) => {
  const { client } = await terminal(t)
  const lists = '; "latchkey resource list" lists every scope'
  t.strictSame(
    await client(['add', 'X', '--scope', 'profil']),
    refused(`There is no scope "profil", did you mean "profile"?${lists}`)
  )
  const long = 'x'.repeat(10_000)
  t.strictSame(
    await client(['add', 'X', '--scope', long.slice(0, 500)]),
    refused(`There is no scope "${'x'.repeat(100)}…"${lists}`)
  )
  t.strictSame(
    await client(['show', long]),
    refused(`There is no client "${'x'.repeat(100)}…"; "latchkey client list" lists every client`)
  )
})

t.test('"client add" warns about a client that can never get a token', async (t) => {
  const { client } = await terminal(t)
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
    'client worker has no scopes, so every request for a token of its own is refused: run "latchkey client set worker --scope <scope...>"\n'
  )
  t.equal((await client(['add', 'O', '--id', 'o', '--grant', 'client_credentials', '--scope', 'profile'])).stderr, '')
  t.equal((await client(['add', 'P', '--id', 'p'])).stderr, '')
})

t.test('wrong usage exits with 2 and one line that names the help of the command', async (t) => {
  const { client, json } = await terminal(t)
  await json('add', 'Worker', '--id', 'worker')
  t.strictSame(await client(['set', 'worker']), wrong('there is nothing to change: see --help\n'))
  const spans = ['', 'x', '1w', '-1', '1.5h', '1 h', '10000000000', '1hh', 'h']
  const options: [args: string[], option: string][] = [
    [['add', 'X'], '--access-token-ttl'],
    [['add', 'X'], '--session-idle-ttl'],
    [['set', 'worker'], '--session-absolute-ttl'],
    [['secret', 'add', 'worker'], '--expires-in'],
    [['secret', 'add', 'worker'], '--others-expire-in']
  ]
  for (const [args, option] of options)
    for (const span of spans)
      t.match(
        await client([...args, `${option}=${span}`]),
        wrong(
          `error: option '${option} <duration>' argument '${span}' is invalid. It must be a number of seconds, or a number with the unit s, m, h or d, such as 12h`
        ),
        `${option} ${span}`
      )
  for (const args of [[], ['secret']])
    t.match(await client(args), { code: 2, stdout: '', stderr: 'Usage: latchkey client' }, args.join(' '))
  for (const args of [
    ['add'],
    ['add', 'X', 'Y'],
    ['add', 'X', '--grants', 'password'],
    ['add', 'X', '--disabled'],
    ['list', 'worker'],
    ['show'],
    ['set', 'worker', '--public'],
    ['set', 'worker', '--id', 'x'],
    ['delete'],
    ['disable'],
    ['secret', 'add'],
    ['secret', 'delete', 'worker'],
    ['secret', 'list', 'worker']
  ])
    t.match(
      await client(args),
      { code: 2, stdout: '', stderr: /^error: .+; see "latchkey help client[ a-z]*"\n$/ },
      args.join(' ')
    )
  for (const name of ['add', 'list', 'show', 'set', 'disable', 'enable', 'delete', 'secret'])
    t.match(await client([name, '--help']), { code: 0, stdout: `Usage: latchkey client ${name}`, stderr: '' })
  for (const name of ['add', 'delete'])
    t.match(await client(['secret', name, '--help']), {
      code: 0,
      stdout: `Usage: latchkey client secret ${name}`,
      stderr: ''
    })
  t.equal((await json('list')).length, 2)
})

t.test('a client is deleted after its id is typed again, or with --yes', async (t) => {
  const { client, json } = await terminal(t)
  await json('add', 'Worker', '--id', 'worker')
  t.match(await client(['delete', 'worker'], keyboard('workers\r').stream), { code: 1, stdout: '' })
  t.match(await client(['delete', 'worker'], keyboard('\u0003').stream), { code: 1, stdout: '' })
  t.strictSame(await client(['delete', 'worker']), wrong('there is no terminal to ask on: add --yes to confirm\n'))
  t.strictSame(
    await client(['delete', 'none']),
    refused('There is no client "none"; "latchkey client list" lists every client'),
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
