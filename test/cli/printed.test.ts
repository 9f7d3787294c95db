import t from 'tap'
import { printableLine } from '../../src/printable.ts'
import { createDatabase, environment, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'
import { command, keyboard } from './command.ts'

/** Sequences that a terminal executes, characters that reorder a line, and a second line. */
const HOSTILE = 'a\u001b[2J\u009b31m\u009d0;title\u009c\u007f\u202evil\u2066\u061c\u2028\r\nb'
/** A control character other than a line feed, or a character that reorders or ends a line. */
const UNSAFE = /[^\P{Cc}\n]|[\p{Bidi_Control}\u2028\u2029]/u

/**
 * A database in which every display name, e-mail address and description that these commands print is hostile. The test writes them with
 * SQL, because the service refuses them.
 */
async function hostileDatabase(t: Parameters<typeof createDatabase>[0]) {
  const env = environment(await createDatabase(t, 'sqlite', 'ready'))
  await command(env, ['role', 'add', 'support'])
  await command(env, ['resource', 'add', 'orders', 'urn:orders', '--scope', 'orders:read'])
  await command(env, [
    'client',
    'add',
    'Worker',
    '--id',
    'worker',
    '--grant',
    'client_credentials',
    '--scope',
    'profile'
  ])
  for (const [table, column, where] of [
    ['users', 'full_name', "username = 'alice'"],
    ['users', 'email', "username = 'alice'"],
    ['roles', 'description', "name = 'support'"],
    ['resources', 'name', "id = 'orders'"],
    ['clients', 'name', "id = 'worker'"]
  ])
    await sql({ env }, `update ${table} set ${column} = $1 where ${where}`, HOSTILE)
  return env
}

t.test('no command prints a control or bidi character, in a table, in JSON and in an error [UA10]', async (t) => {
  const env = await hostileDatabase(t)
  const lists = [
    ['user', 'list'],
    ['user', 'show', 'alice'],
    ['role', 'list'],
    ['resource', 'list'],
    ['client', 'list'],
    ['client', 'show', 'worker']
  ]
  for (const args of lists) {
    const table = await command(env, args)
    const json = await command(env, [...args, '--json'])
    for (const { code, stdout, stderr } of [table, json]) {
      t.strictSame([code, stderr], [0, ''], args.join(' '))
      t.notOk(UNSAFE.test(stdout), args.join(' '))
      t.ok(stdout.includes(String.raw`\u202evil\u2066`), args.join(' '))
    }
    // The second line of the hostile text is `b`. A row of `client show` begins with `backchannel_`.
    t.notMatch(table.stdout, /\nb(?!ackchannel_)/, `${args.join(' ')}: the text stays in its row`)
    t.ok(JSON.stringify(JSON.parse(json.stdout)).includes(JSON.stringify(HOSTILE)), 'JSON keeps its meaning')
  }
  const errors = [
    [HOSTILE],
    ['user', HOSTILE],
    ['user', 'list', `--${HOSTILE}`],
    ['user', 'show', HOSTILE],
    ['user', 'roles', 'alice', HOSTILE],
    ['user', 'rename', 'alice', HOSTILE],
    ['user', 'delete', HOSTILE, '--yes'],
    ['role', 'delete', HOSTILE, '--yes'],
    ['role', 'add', 'x', '--scope', HOSTILE],
    ['session', 'list', HOSTILE],
    ['session', 'revoke', 'alice', HOSTILE],
    ['client', 'show', HOSTILE],
    ['client', 'add', 'x', '--grant', HOSTILE],
    ['client', 'add', 'x', '--jwks', HOSTILE],
    ['client', 'set', 'worker', '--access-token-ttl', HOSTILE],
    ['client', 'secret', 'delete', 'worker', HOSTILE],
    ['resource', 'add', 'x', HOSTILE],
    ['resource', 'scope', 'orders', '--remove', HOSTILE, '--yes'],
    ['key', 'retire', HOSTILE]
  ]
  for (const args of errors) {
    const { code, stdout, stderr } = await command(env, args, PASSWORD)
    // A name of an assertion must be plain text, too.
    const name = args.map(printableLine).join(' ')
    t.not(code, 0, name)
    t.not(stderr, '', name)
    t.notOk(UNSAFE.test(stdout + stderr), name)
  }
  for (const changed of [
    { LATCHKEY_PORT: HOSTILE },
    { [`LATCHKEY_${HOSTILE}`]: 'x' },
    { LATCHKEY_DATA_DIR: HOSTILE }
  ]) {
    const { stdout, stderr } = await command({ ...env, LATCHKEY_DATABASE_URL: '', ...changed }, ['user', 'list'])
    t.not(stderr, '')
    t.notOk(UNSAFE.test(stdout + stderr), printableLine(Object.keys(changed).join()))
  }
})

t.test('the question before a deletion escapes the name [UA10]', async (t) => {
  const env = await hostileDatabase(t)
  await sql({ env }, `update users set username = $1, username_key = $1 where username = 'alice'`, '\u202ealice')
  const { id } = JSON.parse((await command(env, ['user', 'list', '--json'])).stdout).at(-1)
  const { stderr } = await command(env, ['user', 'delete', id], keyboard('no\r').stream)
  t.ok(stderr.startsWith(String.raw`Type \u202ealice again to confirm: `))
})
