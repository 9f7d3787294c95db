import t from 'tap'
import { loadConfig, settingsTable, withoutCredentials } from '../src/config.ts'
import { SetupError } from '../src/domain/errors.ts'
import { build } from './helper.ts'
import { KEY, SETTINGS } from './settings.ts'

const POSTGRES = { LATCHKEY_DATABASE_URL: 'postgres://latchkey:secret@db/latchkey', LATCHKEY_SEALING_KEY: KEY }

/** The problems that are found, a line each; none when there are none. */
function problems(env: Record<string, string | undefined>): string[] {
  try {
    loadConfig(env)
    return []
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    return error.message.split('\n')
  }
}

const DEFAULTS = {
  host: '127.0.0.1',
  port: 3000,
  issuer: 'http://localhost:3000',
  insecureHttp: false,
  dataDir: './data',
  databaseUrl: 'sqlite:data/latchkey.db',
  sealingKeyFile: 'data/sealing-key',
  accessTokenTtl: 300,
  refreshLeeway: 60,
  loginIdleTtl: 43_200,
  loginAbsoluteTtl: 2_592_000,
  signingAlg: 'ES256',
  keyRotation: 30,
  jwksMaxAge: 300,
  argon2Memory: 19_456,
  argon2Passes: 2,
  argon2Lanes: 1,
  adminUsername: 'admin',
  passwordMinLength: 15,
  throttle: true,
  trustedProxies: [],
  logoutNetworks: [],
  corsOrigins: [],
  name: 'Latchkey',
  accent: '#2b4c9b',
  docs: true,
  logLevel: 'info'
}

t.test('without any variable every setting has its default', async (t) => {
  t.strictSame(loadConfig({}), DEFAULTS)
})

t.test('an empty variable counts as absent, and variables of other programs are ignored', async (t) => {
  const names = settingsTable().match(/LATCHKEY_\w+/g) as string[]
  const empty = Object.fromEntries(names.map((name) => [name, '']))
  t.strictSame(loadConfig({ ...empty, LATCHKEY_GONE: undefined }), DEFAULTS)
  t.strictSame(loadConfig({ PORT: 'x', MY_LATCHKEY_PORT: 'x', LATCHKEYS: 'x', NODE_ENV: 'test' }), DEFAULTS)
})

t.test('every variable is read', async (t) => {
  t.strictSame(
    loadConfig({
      LATCHKEY_HOST: '0.0.0.0',
      LATCHKEY_PORT: '8080',
      LATCHKEY_ISSUER: 'https://login.example.com/auth',
      LATCHKEY_INSECURE_HTTP: 'true',
      LATCHKEY_DATA_DIR: '/var/lib/latchkey',
      LATCHKEY_DATABASE_URL: 'sqlite:/srv/latchkey.db',
      LATCHKEY_SEALING_KEY_FILE: '/run/secrets/key',
      LATCHKEY_ACCESS_TOKEN_TTL: '60',
      LATCHKEY_REFRESH_LEEWAY: '0',
      LATCHKEY_LOGIN_IDLE_TTL: '600',
      LATCHKEY_LOGIN_ABSOLUTE_TTL: '3600',
      LATCHKEY_SEALING_KEY_PREVIOUS_FILE: '/run/secrets/key-before',
      LATCHKEY_SIGNING_ALG: 'EdDSA',
      LATCHKEY_KEY_ROTATION: '7',
      LATCHKEY_JWKS_MAX_AGE: '60',
      LATCHKEY_ARGON2_MEMORY: '65536',
      LATCHKEY_ARGON2_PASSES: '3',
      LATCHKEY_ARGON2_LANES: '4',
      LATCHKEY_ADMIN_USERNAME: 'root',
      LATCHKEY_ADMIN_PASSWORD: 'correct horse battery staple',
      LATCHKEY_PASSWORD_MIN_LENGTH: '12',
      LATCHKEY_THROTTLE: 'false',
      LATCHKEY_TRUSTED_PROXIES: '10.0.0.0/8, 192.0.2.1,fd00::/8',
      LATCHKEY_LOGOUT_NETWORKS: '10.0.0.0/8,::1',
      LATCHKEY_CORS_ORIGINS: 'https://app.example.com,http://localhost:5173',
      LATCHKEY_NAME: 'Example',
      LATCHKEY_LOGO_FILE: '/etc/latchkey/logo.svg',
      LATCHKEY_ACCENT: '#b00020',
      LATCHKEY_DOCS: 'false',
      LATCHKEY_LOG_LEVEL: 'warn'
    }),
    {
      host: '0.0.0.0',
      port: 8080,
      issuer: 'https://login.example.com/auth',
      insecureHttp: true,
      dataDir: '/var/lib/latchkey',
      databaseUrl: 'sqlite:/srv/latchkey.db',
      sealingKeyFile: '/run/secrets/key',
      sealingKeyPreviousFile: '/run/secrets/key-before',
      accessTokenTtl: 60,
      refreshLeeway: 0,
      loginIdleTtl: 600,
      loginAbsoluteTtl: 3600,
      signingAlg: 'EdDSA',
      keyRotation: 7,
      jwksMaxAge: 60,
      argon2Memory: 65_536,
      argon2Passes: 3,
      argon2Lanes: 4,
      adminUsername: 'root',
      adminPassword: 'correct horse battery staple',
      passwordMinLength: 12,
      throttle: false,
      trustedProxies: ['10.0.0.0/8', '192.0.2.1', 'fd00::/8'],
      logoutNetworks: ['10.0.0.0/8', '::1'],
      corsOrigins: ['https://app.example.com', 'http://localhost:5173'],
      name: 'Example',
      logoFile: '/etc/latchkey/logo.svg',
      accent: '#b00020',
      docs: false,
      logLevel: 'warn'
    }
  )
})

t.test('absent settings are derived from given ones', async (t) => {
  t.equal(loadConfig({ LATCHKEY_PORT: '8080' }).issuer, 'http://localhost:8080')
  t.equal(loadConfig({ LATCHKEY_PORT: '8080', LATCHKEY_ISSUER: 'https://a.example' }).issuer, 'https://a.example')
  const { databaseUrl, sealingKeyFile } = loadConfig({ LATCHKEY_DATA_DIR: '/srv/l' })
  t.strictSame([databaseUrl, sealingKeyFile], ['sqlite:/srv/l/latchkey.db', '/srv/l/sealing-key'])
  t.equal(loadConfig({ LATCHKEY_SEALING_KEY: KEY }).sealingKeyFile, undefined)
  t.equal(loadConfig({ LATCHKEY_DATABASE_URL: 'sqlite::memory:' }).sealingKeyFile, 'data/sealing-key')
})

t.test('an issuer that is derived from a port is a valid setting', async (t) => {
  for (const port of ['0', '1', '80', '443', '3000', '65535']) {
    const { issuer } = loadConfig({ LATCHKEY_PORT: port })
    t.strictSame(problems({ LATCHKEY_ISSUER: issuer }), [], `${port}: ${issuer}`)
  }
})

for (const [name, { allowed, refused, faults, says, secret }] of Object.entries(SETTINGS)) {
  t.test(`${name} is ${says}`, async (t) => {
    for (const value of allowed) t.strictSame(problems({ [name]: value }), [], value)
    for (const value of refused) {
      const what = secret || value.includes('@') ? 'another value' : JSON.stringify(value)
      const fault = faults?.[value] ? `: ${faults[value]}` : ''
      t.strictSame(problems({ [name]: value }), [`${name} must be ${says}; got ${what}${fault}`], value)
    }
  })
}

t.test('a plain-http issuer on another host than loopback needs LATCHKEY_INSECURE_HTTP=true', async (t) => {
  const env = { LATCHKEY_ISSUER: 'http://id.example.com' }
  const refused = [
    `LATCHKEY_ISSUER must be ${SETTINGS.LATCHKEY_ISSUER?.says}; got "http://id.example.com": it is http on a host that is not loopback`
  ]
  t.strictSame(problems(env), refused)
  t.strictSame(problems({ ...env, LATCHKEY_INSECURE_HTTP: 'false' }), refused)
  t.equal(loadConfig({ ...env, LATCHKEY_INSECURE_HTTP: 'true' }).issuer, 'http://id.example.com')
  for (const issuer of ['http://id.example.com/', 'ftp://id.example.com', 'http://u@id.example.com'])
    t.equal(problems({ LATCHKEY_ISSUER: issuer, LATCHKEY_INSECURE_HTTP: 'true' }).length, 1, issuer)
})

t.test('every start with a plain-http issuer on another host than loopback warns', async (t) => {
  const warnings = async (env: Record<string, string>) => {
    const lines: string[] = []
    await build(t, {
      env,
      logger: { level: 'warn', stream: { write: (line) => void lines.push(JSON.parse(line).msg) } }
    })
    return lines.filter((line) => !line.startsWith('LATCHKEY_THROTTLE'))
  }
  t.strictSame(await warnings({ LATCHKEY_ISSUER: 'http://id.example.com', LATCHKEY_INSECURE_HTTP: 'true' }), [
    'http://id.example.com is plain http on a host that is not loopback: everyone on the network can read tokens and passwords. Use https'
  ])
  t.strictSame(await warnings({ LATCHKEY_ISSUER: 'http://localhost:3000', LATCHKEY_INSECURE_HTTP: 'true' }), [])
})

t.test(
  'a start with an https issuer demands LATCHKEY_TRUSTED_PROXIES in one line, and no other start does [UA3]',
  async (t) => {
    const start = (env: Record<string, string>) => () => loadConfig(env, { listens: true })
    const https = { LATCHKEY_ISSUER: 'https://id.example.com' }
    for (const env of [https, { LATCHKEY_ISSUER: 'https://localhost' }, { ...https, LATCHKEY_TRUSTED_PROXIES: '' }])
      t.throws(start(env), {
        message:
          'LATCHKEY_TRUSTED_PROXIES is missing; an https issuer has a proxy in front of this service: set the addresses or networks of the proxies (10.0.0.0/8, but no /0), separated by commas; or none, if the proxy keeps the address of each caller'
      })
    t.strictSame(start({ ...https, LATCHKEY_TRUSTED_PROXIES: '10.0.0.1' })().trustedProxies, ['10.0.0.1'])
    t.strictSame(start({ ...https, LATCHKEY_TRUSTED_PROXIES: 'none' })().trustedProxies, [])
    for (const env of [{}, { LATCHKEY_ISSUER: 'http://127.0.0.1:3000' }]) t.doesNotThrow(start(env))
    t.doesNotThrow(() => loadConfig(https), 'a command needs no proxy')
  }
)

t.test('the first admin logs in with every allowed password', async (t) => {
  for (const password of [
    `${'ü'.repeat(509)}uvxyz`,
    `${'🔑'.repeat(255)}abcd`,
    `${'x'.repeat(1020)}abcd`,
    `${' '.repeat(20)}é à ç ñ`
  ]) {
    const env = { LATCHKEY_ADMIN_PASSWORD: password }
    t.strictSame(problems(env), [])
    const { login } = await build(t, { env })
    t.type(await login('admin', 'profile', password), 'string', password.slice(0, 5))
  }
})

t.test('all problems are reported together, one line for each', async (t) => {
  t.strictSame(
    problems({
      LATCHKEY_PORT: 'x',
      LATCHKEY_TYPO: '1',
      LATCHKEY_DOCS: 'maybe',
      LATCHKEY_TRUSTED_PROXIES: 'a,b,c',
      LATCHKEY_ADMIN_PASSWORD: 'short'
    }).toSorted(),
    [
      'LATCHKEY_ADMIN_PASSWORD must be a text of at least LATCHKEY_PASSWORD_MIN_LENGTH characters and at most 1024 bytes; got another value',
      'LATCHKEY_DOCS must be true or false; got "maybe"',
      'LATCHKEY_PORT must be an integer from 0 to 65535; got "x"',
      'LATCHKEY_TRUSTED_PROXIES must be addresses or networks (10.0.0.0/8, but no /0), separated by commas, or none; got "a,b,c"',
      'LATCHKEY_TYPO is not a setting; "latchkey settings" lists the settings'
    ]
  )
})

t.test('an unknown setting is refused, and its value is not repeated', async (t) => {
  for (const name of ['LATCHKEY_PASSWORD', 'LATCHKEY_', 'LATCHKEY_constructor', 'LATCHKEY___proto__']) {
    t.strictSame(problems({ [name]: 'hunter2' }), [`${name} is not a setting; "latchkey settings" lists the settings`])
  }
})

t.test(
  'a setting that Docker, Windows or Kubernetes wrote in another way than it was meant is refused in words that say so',
  async (t) => {
    const quotes = 'is in quotes, and the quotes are part of the value; remove them'
    const control = 'holds a control character, for example from a file with the line endings of Windows'
    const reference = 'holds a reference to a variable, which nothing replaces; write the value itself'
    for (const [name, value, reason] of [
      ['LATCHKEY_ADMIN_PASSWORD', '$(THE_ADMIN_PASSWORD)', reference],
      ['LATCHKEY_ADMIN_PASSWORD', `prefix-\${cat_of_a_file}`, reference],
      ['LATCHKEY_DATABASE_URL', 'sqlite:$(DATA_DIR)/latchkey.db', reference],
      ['LATCHKEY_DATA_DIR', '"/data"', quotes],
      ['LATCHKEY_ADMIN_PASSWORD', "'correct horse battery staple'", quotes],
      ['LATCHKEY_DATA_DIR', './data\r', control],
      ['LATCHKEY_HOST', '0.0.0.0\r', control],
      ['LATCHKEY_ADMIN_PASSWORD', 'correct horse battery staple\r', control],
      ['LATCHKEY_SEALING_KEY_FILE', 'a\nb', control]
    ] as const)
      t.strictSame(problems({ [name]: value }), [`${name} ${reason}`])
    for (const text of ["it's", '$a{b}', '(x)$']) t.equal(loadConfig({ LATCHKEY_DATA_DIR: text }).dataDir, text)
  }
)

t.test('a secret is never repeated', async (t) => {
  for (const env of [
    { LATCHKEY_DATABASE_URL: 'mysql://root:hunter2@db/latchkey' },
    { LATCHKEY_SEALING_KEY: 'hunter2' },
    { LATCHKEY_ADMIN_PASSWORD: 'hunter2' },
    { LATCHKEY_DATABASE_URL: 'postgres://root:hunter2@db/latchkey' },
    { ...POSTGRES, LATCHKEY_ADMIN_PASSWORD: 'hunter2', LATCHKEY_SEALING_KEY_FILE: 'key' }
  ]) {
    const lines = problems(env)
    t.ok(lines.length > 0)
    t.notMatch(lines.join('\n'), /hunter2/)
    t.notMatch(lines.join('\n'), new RegExp(KEY.slice(0, 20)))
  }
})

t.test('a password is never printed, in whatever place of the URL of the database it is [UA10]', async (t) => {
  const socket = '/latchkey?host=/run/postgresql'
  for (const url of [
    'postgres://root:hunter2@db:5433/latchkey?sslmode=verify-full#x',
    'postgres://root:h%75nter2@db/latchkey',
    'postgres://db/latchkey?user=root&password=hunter2',
    `postgres://root:hunter2@${socket}`,
    `postgres://${socket}&user=root&password=hunter2`,
    'postgres://%2Frun%2Fpostgresql/latchkey?password=hunter2'
  ]) {
    t.strictSame(problems({ ...POSTGRES, LATCHKEY_DATABASE_URL: url }), [], url)
    t.notMatch(withoutCredentials(url), /h(u|%75)nter2|root/)
  }
  t.equal(withoutCredentials('postgres://root:hunter2@db:5433/latchkey?x=y'), 'postgres://db:5433/latchkey')
  // A character of the password that is not encoded makes its rest a port, a database, a parameter or a fragment.
  for (const character of ['/', '?', '#', '/7@', '?7@', '#7@'])
    for (const password of [`hunter2${character}hunter2`, `12${character}hunter2`]) {
      const url = `postgres://root:${password}@db/latchkey`
      const lines = problems({ ...POSTGRES, LATCHKEY_DATABASE_URL: url })
      t.match(lines, [/^LATCHKEY_DATABASE_URL must be .* got another value$/], url)
      t.notMatch(lines.join(), /hunter2/)
    }
})

t.test('on PostgreSQL the sealing key must be given, and in one place only', async (t) => {
  const key = '32 bytes in base64 (openssl rand -base64 32)'
  const { LATCHKEY_DATABASE_URL } = POSTGRES
  t.strictSame(problems({ LATCHKEY_DATABASE_URL }), [
    `LATCHKEY_SEALING_KEY is missing; PostgreSQL needs it or LATCHKEY_SEALING_KEY_FILE: ${key}`
  ])
  t.strictSame(problems({ LATCHKEY_DATABASE_URL, LATCHKEY_SEALING_KEY: '' }).length, 1)
  t.equal(loadConfig(POSTGRES).sealingKeyFile, undefined)
  t.equal(loadConfig({ ...POSTGRES, LATCHKEY_DATABASE_URL: 'postgresql://db/latchkey' }).sealingKey, KEY)
  const fromFile = loadConfig({ LATCHKEY_DATABASE_URL, LATCHKEY_SEALING_KEY_FILE: '/run/secrets/key' })
  t.strictSame([fromFile.sealingKey, fromFile.sealingKeyFile], [undefined, '/run/secrets/key'])

  const both = ['LATCHKEY_SEALING_KEY and LATCHKEY_SEALING_KEY_FILE are both set; set only one of them']
  t.strictSame(problems({ ...POSTGRES, LATCHKEY_SEALING_KEY_FILE: 'key' }), both)
  t.strictSame(problems({ LATCHKEY_SEALING_KEY: KEY, LATCHKEY_SEALING_KEY_FILE: 'key' }), both)
  t.strictSame(problems({ LATCHKEY_SEALING_KEY_PREVIOUS: KEY, LATCHKEY_SEALING_KEY_PREVIOUS_FILE: 'key' }), [
    'LATCHKEY_SEALING_KEY_PREVIOUS and LATCHKEY_SEALING_KEY_PREVIOUS_FILE are both set; set only one of them'
  ])
})

t.test('loaded settings share no array with other loads', async (t) => {
  const config = loadConfig({})
  config.corsOrigins.push('https://evil.example')
  config.trustedProxies.push('0.0.0.0/0')
  t.strictSame(loadConfig({}), DEFAULTS)
})

t.test('the table has every setting with its allowed values and its default', async (t) => {
  const [head, rule, ...rows] = settingsTable().split('\n')
  t.strictSame([head, rule], ['| Variable | Meaning | Allowed | Default |', '| --- | --- | --- | --- |'])
  t.strictSame(rows.map((row) => /^\| `(\w+)` \|/.exec(row)?.[1]).toSorted(), Object.keys(SETTINGS).toSorted())
  for (const row of rows) {
    const [, name = '', what, allowed, fallback] = row.split(/(?<!\\) ?\| ?/)
    t.ok(what && fallback, name)
    t.equal(allowed, SETTINGS[name.replaceAll('`', '')]?.says)
  }
  t.match(
    rows.find((row) => row.includes('ACCESS_TOKEN_TTL')),
    / \| `300` s \|$/
  )
  t.match(
    rows.find((row) => row.includes('LATCHKEY_HOST')),
    / \| `127.0.0.1` \|$/
  )
  t.match(
    rows.find((row) => row.includes('CORS_ORIGINS')),
    / \| none \|$/
  )
})

t.test('a trusted network that holds all addresses is refused with the allowed values', async (t) => {
  for (const network of ['0.0.0.0/0', '::/0'])
    t.throws(() => loadConfig({ LATCHKEY_TRUSTED_PROXIES: network }), {
      message: `LATCHKEY_TRUSTED_PROXIES must be addresses or networks (10.0.0.0/8, but no /0), separated by commas, or none; got "${network}"`
    })
})

t.test('a refused value that may be a URL with a password is not repeated [UA10]', async (t) => {
  for (const [name, value] of [
    ['LATCHKEY_ISSUER', 'https://u:sesame-opens@id.example.com'],
    ['LATCHKEY_CORS_ORIGINS', 'https://u:sesame-opens@app.example.com']
  ] as const)
    t.throws(() => loadConfig({ [name]: value }), {
      message: new RegExp(`^${name} must be .+; got another value(: it has a username or a password)?$`)
    })
})
