import { randomBytes } from 'node:crypto'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeProtectedHeader } from 'jose'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, createDatabase, type Database, environment, NO_KEY, onEachDatabase, PASSWORD } from '../helper.ts'
import { plant } from '../secrets.ts'
import { sql } from '../sql.ts'
import { command, refused } from './command.ts'
import { fresh } from './process.ts'

const WRONG_KEY =
  'the database was sealed with another sealing key: use that key, or set it as LATCHKEY_SEALING_KEY_PREVIOUS'
const RESEAL_FIRST = 'The sealing key is being replaced: run "latchkey key reseal" first'

/** Sets the creation of the next key to 1970, so that the key was published long enough to sign. */
const age = (env: Record<string, string>) =>
  sql({ env }, `update signing_keys set created_at = 1000 where state = 'next'`)

onEachDatabase(
  t,
  'keys are listed, rotated and retired, and --json prints what the API returns',
  async (t, database) => {
    const { env, login, get } = await build(t, { database })
    const key = async (name: string, ...args: string[]) => {
      const { code, stdout, stderr } = await command(env, ['key', name, '--json', ...args])
      t.strictSame([code, stderr], [0, ''])
      return JSON.parse(stdout)
    }
    const shown = async () => (await get('/keys', await login('admin', 'keys:read'))).json().items
    const [next, signing] = (await key('list')).toSorted((a: { state: string }) => (a.state === 'next' ? -1 : 1))
    t.strictSame([next.state, signing.state], ['next', 'signing'])
    t.strictSame(await key('list'), await shown())

    await age(env)
    t.match(await key('rotate'), { kid: next.kid, state: 'signing' })
    const retired = await key('retire', '--compromised', '--', signing.kid)
    t.match(retired, { kid: signing.kid, state: 'retired' })
    t.strictSame(
      (await shown()).find(({ kid }: { kid: string }) => kid === signing.kid),
      retired
    )
  }
)

t.test('without --json the output is one line, or an aligned table', async (t) => {
  const env = environment(await createDatabase(t, 'sqlite', 'ready'))
  const key = (...args: string[]) => command(env, ['key', ...args])
  const kids = await sql<{ kid: string; state: string }>({ env }, 'select kid, state from signing_keys')
  const of = (state: string) => kids.find((each) => each.state === state)?.kid as string

  const [head = '', ...lines] = (await key('list')).stdout.split('\n')
  t.match(head, /^KID {42}ALG {4}STATE {4}CREATED {19}SIGNS SINCE {15}VERIFIES UNTIL {2}RETIRED$/)
  t.equal(lines.length, 3)
  t.ok(lines.some((line) => line === `${of('next')}  ES256  next     2026-01-01T12:00:00.000Z`))

  await age(env)
  t.strictSame(await key('rotate'), { code: 0, stdout: `key ${of('next')} signs now\n`, stderr: '' })
  t.match(await key('rotate'), {
    code: 1,
    stdout: '',
    stderr: /^The next key was published a short time ago: it can sign from \S+Z on\n$/
  })
  t.match(await key('retire', '--', of('signing')), {
    code: 1,
    stdout: '',
    stderr: /^Tokens that the key signed can be valid until \S+Z\n$/
  })
  for (let times = 0; times < 2; times++)
    t.strictSame(await key('retire', '--compromised', '--', of('signing')), {
      code: 0,
      stdout: `key ${of('signing')} is retired\n`,
      stderr: ''
    })
  t.strictSame(
    await key('retire', '--', of('next')),
    refused('The key is signing or next: rotate the keys until the key is verifying, or retire it as compromised')
  )
  t.strictSame(
    await key('retire', NO_KEY),
    refused(`There is no key "${NO_KEY}"; "latchkey key list" lists the existing ones`)
  )
  t.match(await key(), { code: 2, stdout: '', stderr: 'Usage: latchkey key' })
  for (const args of [['retire'], ['rotate', 'x'], ['list', '--all'], ['retire', NO_KEY, '--compromized']])
    t.match(await key(...args), { code: 2, stdout: '', stderr: /^error: .+; see "latchkey help key[ a-z]*"\n$/ })
  for (const name of ['list', 'rotate', 'retire', 'reseal'])
    t.match(await key(name, '--help'), { code: 0, stdout: `Usage: latchkey key ${name}`, stderr: '' })
})

/** Returns every sealed value of the database, sorted. */
async function sealedValues(env: Record<string, string>): Promise<string[]> {
  const rows = await sql<{ sealed: string }>(
    { env },
    `select sealed_private_key as sealed from signing_keys where sealed_private_key <> ''
      union all select sealed_key from refresh_keys union all select value from sealed_values`
  )
  return rows.map(({ sealed }) => sealed).toSorted()
}

const newKey = () => {
  const key = randomBytes(32).toString('base64')
  plant(key)
  return key
}

/** Opens an app with a next, a signing and a verifying key, and with tokens (`before`) that must survive a change of the sealing key. */
async function settled(t: Test, database: Database) {
  const world = await build(t, { at: await createDatabase(t, database, 'ready') })
  const { env } = world
  await age(env)
  await world.app.auth.keys.rotate(OPERATOR)
  const login = { grant_type: 'password', username: 'alice', password: PASSWORD }
  const before = (await world.token(login)).json()
  return {
    ...world,
    before,
    at: { url: env.LATCHKEY_DATABASE_URL as string, dataDir: env.LATCHKEY_DATA_DIR as string },
    key: (extra: Record<string, string>, ...args: string[]) => command({ ...env, ...extra }, ['key', ...args])
  }
}

onEachDatabase(t, 'reseal seals everything with the new key once, and tokens stay valid [KS3]', async (t, database) => {
  const { env, key, at, before, app, clock } = await settled(t, database)
  const register = (id: string, idTokenAlg: 'RS256' | null) =>
    app.auth.clients.create(OPERATOR, {
      ...{ id, name: id, method: 'none', firstParty: true, idTokenAlg },
      ...{ grantTypes: ['password'], scopes: ['openid'] }
    })
  await register('own', null)
  await register('other', 'RS256')
  const both = { LATCHKEY_SEALING_KEY: newKey(), LATCHKEY_SEALING_KEY_PREVIOUS: env.LATCHKEY_SEALING_KEY as string }
  const after = { LATCHKEY_SEALING_KEY: both.LATCHKEY_SEALING_KEY }
  const values = await sealedValues(env)
  t.equal(values.length, 8, 'two keys of each algorithm, two refresh keys, the canary and the key of the dummy hashes')

  t.strictSame(await key(both, 'reseal'), {
    code: 0,
    stdout: '8 values were sealed with the current sealing key\n',
    stderr: ''
  })
  const resealed = await sealedValues(env)
  t.notOk(resealed.some((value) => values.includes(value)))
  t.equal(new Set(resealed.map((value) => value.split('.')[0])).size, 1)
  const again = { code: 0, stdout: 'every value is already sealed with the current sealing key\n', stderr: '' }
  t.strictSame(await key(both, 'reseal'), again)
  t.strictSame(await key(after, 'reseal'), again)
  t.strictSame(JSON.parse((await key(after, 'reseal', '--json')).stdout), { resealed: 0 })
  t.strictSame(await sealedValues(env), resealed)

  await age(env)
  t.equal((await key(after, 'rotate')).code, 0, 'keys rotate with the new key alone')
  t.strictSame(await key({}, 'list'), refused(WRONG_KEY), 'the previous key alone opens nothing')
  const next = await build(t, { at, env: after, clock })
  t.equal((await next.get('/users/me', before.access_token)).statusCode, 200)
  const renewed = await next.token({ grant_type: 'refresh_token', refresh_token: before.refresh_token })
  t.equal(renewed.statusCode, 200)
  t.equal((await next.get('/users/me', renewed.json().access_token)).statusCode, 200)
  t.equal((await next.get('/users/me', await next.login('alice'))).statusCode, 200)
  for (const [id, alg] of [
    ['own', 'ES256'],
    ['other', 'RS256']
  ] as const) {
    const form = { client_id: id, grant_type: 'password', username: 'alice', password: PASSWORD, scope: 'openid' }
    t.equal(decodeProtectedHeader((await next.token(form)).json().id_token).alg, alg)
  }
  await app.close()
})

onEachDatabase(t, 'reseal refuses a wrong key and a missing previous key, and changes nothing', async (t, database) => {
  const { env, key } = await settled(t, database)
  const values = await sealedValues(env)
  const right = env.LATCHKEY_SEALING_KEY as string
  const wrong: Record<string, string>[] = [
    { LATCHKEY_SEALING_KEY: newKey() },
    { LATCHKEY_SEALING_KEY: newKey(), LATCHKEY_SEALING_KEY_PREVIOUS: newKey() }
  ]
  for (const each of wrong) t.strictSame(await key(each, 'reseal'), refused(WRONG_KEY))
  t.strictSame(
    await key({ LATCHKEY_SEALING_KEY: newKey(), LATCHKEY_SEALING_KEY_PREVIOUS_FILE: '/nowhere/key' }, 'reseal'),
    refused('the file /nowhere/key of the previous sealing key is missing (LATCHKEY_SEALING_KEY_PREVIOUS_FILE)')
  )
  t.strictSame(await sealedValues(env), values)

  // The previous key is wrong, but every value is sealed with the current key.
  const other = { LATCHKEY_SEALING_KEY: right, LATCHKEY_SEALING_KEY_PREVIOUS: newKey() }
  t.match(await key(other, 'reseal'), {
    code: 0,
    stdout: 'every value is already sealed with the current sealing key\n'
  })

  // Neither key opens one of the values: no other value is resealed either.
  await sql({ env }, `update signing_keys set sealed_private_key = 'x' || sealed_private_key where state = 'next'`)
  const broken = await sealedValues(env)
  t.strictSame(
    await key({ LATCHKEY_SEALING_KEY: newKey(), LATCHKEY_SEALING_KEY_PREVIOUS: right }, 'reseal'),
    refused(WRONG_KEY)
  )
  t.strictSame(await sealedValues(env), broken)
})

onEachDatabase(
  t,
  'before reseal an instance with the new sealing key rotates no key, so the previous sealing key opens everything',
  async (t, database) => {
    const { env, at, key, clock, get, login, app } = await settled(t, database)
    const changed = {
      LATCHKEY_SEALING_KEY: newKey(),
      LATCHKEY_SEALING_KEY_PREVIOUS: env.LATCHKEY_SEALING_KEY as string
    }
    const next = await build(t, { at, env: changed, clock })
    await age(env)
    const before = await sealedValues(env)
    t.strictSame(await key(changed, 'rotate'), refused(RESEAL_FIRST))
    const admin = await next.login('admin', 'keys:read keys:write')
    const post = await next.send(admin, 'POST', '/keys/rotate')
    t.strictSame([post.statusCode, post.json().detail], [409, RESEAL_FIRST])
    clock.advance(40 * 86_400)
    t.equal(await next.app.auth.keys.maintain(), 'postponed')
    for (const { kid, state } of await next.app.store.keys.list()) {
      if (state === 'verifying') continue
      t.strictSame(await key(changed, 'retire', '--compromised', '--', kid), refused(RESEAL_FIRST), state)
    }
    t.strictSame(await sealedValues(env), before)

    // The instance that has only the previous sealing key works as before, and may rotate keys.
    t.equal((await get('/users/me', await next.login('alice'))).statusCode, 200)
    t.equal((await next.get('/users/me', await login('alice'))).statusCode, 200)
    t.equal(await app.auth.keys.maintain(), 'rotated')
    t.equal((await next.get('/users/me', await login('alice'))).statusCode, 200)
    t.equal((await get('/users/me', await next.login('alice'))).statusCode, 200)

    t.match(await key(changed, 'reseal'), { code: 0, stdout: '7 values were sealed with the current sealing key\n' })
    clock.advance(40 * 86_400)
    t.equal(await next.app.auth.keys.maintain(), 'rotated', 'the postponed rotation happens')
    await t.rejects(
      app.auth.keys.rotate(OPERATOR),
      { code: 'conflict' },
      'an instance with only the previous sealing key rotates no key after reseal'
    )
    t.equal((await next.get('/users/me', await next.login('alice'))).statusCode, 200)
  }
)

t.test('a compromised key that no longer signs is retired also while the sealing key changes', async (t) => {
  const { env, key } = await settled(t, 'sqlite')
  const changed = { LATCHKEY_SEALING_KEY: newKey(), LATCHKEY_SEALING_KEY_PREVIOUS: env.LATCHKEY_SEALING_KEY as string }
  const [row] = await sql<{ kid: string }>({ env }, `select kid from signing_keys where state = 'verifying'`)
  t.equal((await key(changed, 'retire', '--compromised', '--', row?.kid as string)).code, 0)
})

t.test('the file of the sealing key is changed as docs/operations describes', async (t) => {
  const first = await fresh(t)
  const { dir } = first
  const env = { ...first.env, LATCHKEY_ADMIN_PASSWORD: PASSWORD }
  t.equal((await command(env, ['migrate'])).code, 0)
  const [file, old] = [join(dir, 'sealing-key'), join(dir, 'sealing-key.old')]
  copyFileSync(file, old)
  writeFileSync(file, `${newKey()}\n`)
  t.strictSame(await command(env, ['key', 'reseal']), refused(WRONG_KEY))
  const during = { ...env, LATCHKEY_SEALING_KEY_PREVIOUS_FILE: old }
  t.match(await command(during, ['key', 'list']), { code: 0 })
  t.match(await command(during, ['key', 'reseal']), {
    code: 0,
    stdout: '4 values were sealed with the current sealing key\n'
  })
  t.match(await command(env, ['key', 'list']), { code: 0 })
  t.not(readFileSync(file, 'utf8'), readFileSync(old, 'utf8'))
  t.equal(loadConfig(during).sealingKeyPreviousFile, old)
})
