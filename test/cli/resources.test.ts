import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { BUILT_IN_SCOPES } from '../../src/domain/built-in.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { prepare } from '../../src/first-start.ts'
import { build, createDatabase, environment, ISSUER, onEachDatabase } from '../helper.ts'
import { command, done, keyboard, refused, wrong } from './command.ts'

const URI = 'https://orders.example'

async function terminal(t: Test) {
  const env = environment(await createDatabase(t, 'sqlite', 'ready'))
  return (args: string[], stdin?: Parameters<typeof command>[2]) => command(env, ['resource', ...args], stdin)
}

onEachDatabase(
  t,
  'resources are added, changed and deleted, and --json prints what the API returns',
  async (t, database) => {
    const { env, login, get, app } = await build(t, { database })
    for (const id of ['one', 'two']) await app.auth.clients.create(OPERATOR, { id, name: id })
    const resource = async (...args: string[]) => {
      const { code, stdout, stderr } = await command(env, ['resource', ...args, '--json'])
      t.strictSame([code, stderr], [0, ''], args.join(' '))
      return JSON.parse(stdout)
    }
    const shown = async () => (await get('/resources', await login('admin', 'resources:read'))).json().items
    const scopes = ['--scope', 'orders:write', 'orders:read=See orders', '--scope', 'orders=a=b=']
    const orders = {
      id: 'orders',
      resource: URI,
      name: 'Orders',
      scopes: [
        { name: 'orders', description: 'a=b=' },
        { name: 'orders:read', description: 'See orders' },
        { name: 'orders:write', description: '' }
      ],
      introspection_clients: ['one', 'two']
    }
    t.strictSame(
      await resource('add', 'orders', URI, '--name', 'Orders', ...scopes, '--introspect', 'two', 'one'),
      orders
    )
    const plain = { id: 'plain', resource: 'urn:plain', name: 'plain', scopes: [], introspection_clients: [] }
    t.strictSame(await resource('add', 'plain', 'urn:plain'), plain)
    t.strictSame(await resource('list'), await shown())
    t.strictSame((await shown()).slice(1), [orders, plain])

    const steps: [args: string[], change: object][] = [
      [['set', 'orders', '--name', 'O'], { name: 'O' }],
      [['set', 'orders', '--introspect', 'one'], { introspection_clients: ['one'] }],
      [['set', 'orders', '--no-introspect'], { introspection_clients: [] }],
      [
        ['set', 'orders', '--name', 'Orders', '--introspect', 'two', 'one'],
        { name: 'Orders', introspection_clients: ['one', 'two'] }
      ],
      [
        ['scope', 'orders', '--add', 'orders:drop=Drop orders', 'orders:read'],
        {
          scopes: [
            { name: 'orders', description: 'a=b=' },
            { name: 'orders:drop', description: 'Drop orders' },
            { name: 'orders:read', description: 'See orders' },
            { name: 'orders:write', description: '' }
          ]
        }
      ],
      [
        ['scope', 'orders', '--remove', 'orders', 'orders:write', '--add', 'orders:timeout', '--yes'],
        {
          scopes: [
            { name: 'orders:drop', description: 'Drop orders' },
            { name: 'orders:read', description: 'See orders' },
            { name: 'orders:timeout', description: '' }
          ]
        }
      ],
      [
        ['scope', 'orders', '--remove', 'orders:timeout', 'orders:drop', '--yes'],
        { scopes: [{ name: 'orders:read', description: 'See orders' }] }
      ],
      [['scope', 'orders', '--add', 'orders:read='], { scopes: [{ name: 'orders:read', description: '' }] }],
      [
        ['scope', 'orders', '--remove', 'orders:read', '--add', 'orders:read=Again', '--yes'],
        { scopes: [{ name: 'orders:read', description: 'Again' }] }
      ],
      [['scope', 'orders', '--remove', 'orders:read', '--yes'], { scopes: [] }]
    ]
    let expected: object = orders
    for (const [args, change] of steps) {
      expected = { ...expected, ...change }
      t.strictSame(await resource(...args), expected, args.join(' '))
      t.strictSame((await shown())[1], expected)
    }
    t.match(await resource('set', 'latchkey', '--introspect', 'one'), {
      resource: ISSUER,
      introspection_clients: ['one']
    })
    t.strictSame(await resource('delete', 'orders', '--yes'), expected)
    t.strictSame((await shown()).length, 2)
  }
)

t.test('without --json the output is one line, or an aligned table', async (t) => {
  const resource = await terminal(t)
  t.strictSame(await resource(['add', 'orders', URI, '--scope', 'orders:read']), done('resource orders was added\n'))
  t.strictSame(
    await resource(['scope', 'orders', '--add', 'orders:write=Change orders']),
    done('resource orders has the scopes orders:read orders:write\n')
  )
  t.strictSame(await resource(['set', 'orders', '--introspect', 'docs']), done('resource orders was changed\n'))
  const own = [...BUILT_IN_SCOPES.map(({ name }) => name), 'revocations:read', 'tokens:introspect'].toSorted().join(' ')
  t.strictSame(
    await resource(['list']),
    done(
      [
        `ID        RESOURCE                NAME      ${'SCOPES'.padEnd(own.length)}  INTROSPECTED BY`,
        `latchkey  ${ISSUER}   Latchkey  ${own}`,
        `orders    ${URI}  orders    ${'orders:read orders:write'.padEnd(own.length)}  docs`,
        ''
      ].join('\n')
    )
  )
  t.strictSame(
    await resource(['scope', 'orders', '--remove', 'orders:read', 'orders:write', '--yes']),
    done('resource orders has no scopes\n')
  )
  t.strictSame(await resource(['delete', 'orders', '--yes']), done('resource orders was deleted\n'))
})

t.test('a refusal of the domain is one line, and changes nothing', async (t) => {
  const resource = await terminal(t)
  await resource(['add', 'orders', URI, '--scope', 'orders:read'])
  const before = await resource(['list', '--json'])
  const MISSING = 'There is no resource "none"; "latchkey resource list" lists the existing ones'
  const NAME =
    'A scope name is one or more words joined by colons (orders:read), at most 128 characters; a word begins with a letter and has only a-z, 0-9, dot, hyphen and underscore'
  const RESERVED = 'The scope name profile is reserved for Latchkey'
  const TAKEN = 'A scope with this name already exists'
  const STAY = 'The scopes of Latchkey’s own API cannot be changed'
  for (const [args, line] of [
    [['add', 'orders', 'urn:x'], 'A resource with this id already exists'],
    [['add', 'x', URI], 'A resource with this identifier already exists'],
    [['add', 'x', ISSUER], 'This URI identifies Latchkey’s own API'],
    [
      ['add', 'Orders', 'urn:x'],
      'The id of a resource has 1 to 64 characters of a-z, 0-9, dot, hyphen and underscore, and begins with a letter'
    ],
    [['add', 'x', 'orders'], 'A resource must be an absolute URI without fragment (RFC 8707)'],
    [
      ['add', 'x', 'localhost:4000'],
      'A resource must be an absolute URI without fragment (RFC 8707); write the scheme too: "http://localhost:4000"'
    ],
    [['add', 'x', 'https://x.example/#y'], 'A resource must be an absolute URI without fragment (RFC 8707)'],
    [['add', 'x', 'urn:x', '--name', ''], 'A name has 1 to 200 characters and no control characters'],
    [['add', 'x', 'urn:x', '--scope', 'Orders'], NAME],
    [['add', 'x', 'urn:x', '--scope', '=x'], NAME],
    [['add', 'x', 'urn:x', '--scope', 'a', 'a=b'], 'A scope is named twice'],
    [
      ['add', 'x', 'urn:x', '--scope', `a=${'x'.repeat(201)}`],
      'A description has at most 200 characters and no control characters'
    ],
    [['add', 'x', 'urn:x', '--scope', 'orders:read'], TAKEN],
    [['add', 'x', 'urn:x', '--scope', 'profile'], RESERVED],
    [
      ['add', 'x', 'urn:x', '--introspect', 'none'],
      'There is no client "none"; "latchkey client list" lists the existing ones'
    ],
    [['scope', 'none', '--add', 'a'], MISSING],
    [['scope', 'orders', '--add', 'profile'], RESERVED],
    [['scope', 'orders', '--add', 'A'], NAME],
    [['scope', 'orders', '--remove', 'orders:write', '--yes'], 'The resource orders has no scope "orders:write"'],
    [
      ['scope', 'orders', '--remove', 'orders:read', 'orders:timeout', '--yes'],
      'The resource orders has no scope "orders:timeout"'
    ],
    [
      ['scope', 'orders', '--remove', 'order:read', '--yes'],
      'The resource orders has no scope "order:read", did you mean "orders:read"?'
    ],
    [['scope', 'orders', '--remove', 'profile', '--yes'], 'The resource orders has no scope "profile"'],
    [['scope', 'latchkey', '--add', 'a'], STAY],
    [['scope', 'latchkey', '--remove', 'profile', '--yes'], STAY],
    [['set', 'none', '--name', 'x'], MISSING],
    [
      ['set', 'orders', '--introspect', 'none'],
      'There is no client "none"; "latchkey client list" lists the existing ones'
    ],
    [['delete', 'none', '--yes'], MISSING],
    [['delete', 'latchkey', '--yes'], 'Latchkey’s own API cannot be deleted']
  ] as const)
    t.strictSame(await resource([...args]), refused(line), args.join(' ').slice(0, 80))
  t.strictSame(await resource(['list', '--json']), before)
})

t.test('wrong usage exits with 2 and one line that names the help of the command', async (t) => {
  const resource = await terminal(t)
  t.strictSame(await resource(['scope', 'latchkey']), wrong('there is nothing to change: give --add or --remove\n'))
  t.strictSame(await resource(['set', 'latchkey']), wrong('there is nothing to change: see --help\n'))
  t.match(await resource([]), { code: 2, stdout: '', stderr: 'Usage: latchkey resource' })
  for (const args of [
    ['add'],
    ['add', 'orders'],
    ['add', 'orders', URI, 'x'],
    ['add', 'orders', URI, '--scopes', 'a'],
    ['scope', 'latchkey', '--remove'],
    ['set', 'latchkey', '--resource', 'x'],
    ['list', 'x'],
    ['show', 'latchkey'],
    ['delete']
  ])
    t.match(
      await resource(args),
      { code: 2, stdout: '', stderr: /^error: .+; see "latchkey help resource[ a-z]*"\n$/ },
      args.join(' ')
    )
  for (const name of ['add', 'list', 'scope', 'set', 'delete'])
    t.match(await resource([name, '--help']), { code: 0, stdout: `Usage: latchkey resource ${name}`, stderr: '' })
})

t.test('a resource is deleted after its id is typed again, or with --yes', async (t) => {
  const resource = await terminal(t)
  await resource(['add', 'orders', URI])
  t.match(await resource(['delete', 'orders'], keyboard('order\r').stream), { code: 1, stdout: '' })
  t.strictSame(await resource(['delete', 'orders']), wrong('there is no terminal to ask on: add --yes to confirm\n'))
  t.strictSame(
    await resource(['delete', 'none']),
    refused('There is no resource "none"; "latchkey resource list" lists the existing ones')
  )
  t.equal(JSON.parse((await resource(['list', '--json'])).stdout).length, 2)
  t.match(await resource(['delete', 'orders'], keyboard('orders\r').stream), {
    code: 0,
    stdout: 'resource orders was deleted\n'
  })
})

t.test('a server does not start with the URI of a resource as its issuer [UA9]', async (t) => {
  const at = await createDatabase(t, 'sqlite', 'ready')
  t.equal((await command(environment(at), ['resource', 'add', 'orders', URI])).code, 0)
  const { app, env } = await build(t, { at, env: { LATCHKEY_ISSUER: URI, LATCHKEY_TRUSTED_PROXIES: 'none' } })
  await t.rejects(prepare(app, loadConfig(env)), {
    name: 'SetupError',
    message: `LATCHKEY_ISSUER must not be the URI of a resource; got ${URI}: delete this resource with "latchkey resource delete", or set another issuer`
  })
})

/** Returns the command lines that the script of the service `register` runs. `again` runs the script once more. */
function registration(t: Test) {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const [, script = ''] = /^ {6}- \|\n((?: {8}.*\n)+)/m.exec(readFileSync('compose.yaml', 'utf8')) ?? []
  const node = '#!/bin/sh\n[ "$1" = -p ] && exec echo secret\nprintf "%s\\t" "$@" >> calls; echo >> calls\n'
  writeFileSync(join(directory, 'node'), node, { mode: 0o755 })
  const calls = () => {
    const text = script.replaceAll('$$', '$').replaceAll(/\/(secrets|tmp)\//g, `${directory}/`)
    execFileSync('sh', ['-ec', text], { cwd: directory, env: { PATH: `${directory}:${process.env.PATH}` } })
    const lines = readFileSync(join(directory, 'calls'), 'utf8').trimEnd().split('\n')
    return lines.map((line) => line.trimEnd().split('\t').slice(1))
  }
  return { first: calls(), again: calls }
}

t.test('the registration in compose.yaml can be repeated after it was interrupted, and runs once', async (t) => {
  const env = environment(await createDatabase(t, 'sqlite', 'ready'))
  const { first, again } = registration(t)
  for (const attempt of ['first', 'second'])
    for (const args of first) {
      const { code, stderr } = await command(env, args)
      if (args[1] === 'add') t.strictSame([code, stderr], [0, ''], `${attempt} attempt: ${args.join(' ')}`)
    }
  t.strictSame(again(), first)
})
