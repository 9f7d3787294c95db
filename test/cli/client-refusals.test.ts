import t from 'tap'
import { NOBODY } from '../helper.ts'
import { clientTerminal, refused, wrong } from './command.ts'

const noSecret = (id: string) => `There is no secret "${id}"; "latchkey client show <client>" lists the existing ones`

t.test('a refusal of the domain is one line, and changes nothing', async (t) => {
  const { client, json } = await clientTerminal(t)
  await json('add', 'Worker', '--id', 'worker')
  await json('add', 'Page', '--id', 'page', '--public')
  const before = [await client(['list', '--json']), await client(['show', 'worker'])]
  const BUILT_IN = 'The client of /docs cannot be changed; LATCHKEY_DOCS=false switches it off'
  const MISSING = 'There is no client "none"; "latchkey client list" lists the existing ones'
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
    [['add', 'X', '--scope', 'none'], 'There is no scope "none"; "latchkey resource list" lists the existing ones'],
    [
      ['add', 'X', '--resource', 'none'],
      'There is no resource "none"; "latchkey resource list" lists the existing ones'
    ],
    [
      ['add', 'X', '--redirect-uri', 'http://a.example'],
      'The redirect URI "http://a.example" is not allowed: http is for loopback hosts only: use https'
    ],
    [['add', 'X', '--access-token-ttl', '2h'], 'The lifetime of an access token is 1 to 3600 seconds'],
    [['add', 'X', '--access-token-ttl', '0'], 'The lifetime of an access token is 1 to 3600 seconds'],
    [['add', 'X', '--session-idle-ttl', '366d'], 'The lifetime of a session is 1 to 31536000 seconds'],
    [['set', 'worker', '--session-absolute-ttl', '0'], 'The lifetime of a session is 1 to 31536000 seconds'],
    [
      ['set', 'worker', '--grant', 'magic'],
      'There is no grant "magic"; the grants are authorization_code, password, refresh_token, client_credentials'
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
  const { client } = await clientTerminal(t)
  const lists = '; "latchkey resource list" lists the existing ones'
  t.strictSame(
    await client(['add', 'X', '--scope', 'profil']),
    refused(`There is no scope "profil", did you mean "profile"?${lists}`)
  )
  const long = 'x'.repeat(10_000)
  t.strictSame(
    await client(['add', 'X', '--scope', long.slice(0, 500)]),
    refused(`There is no scope "${'x'.repeat(100)}"…${lists}`)
  )
  t.strictSame(
    await client(['show', long]),
    refused(`There is no client "${'x'.repeat(100)}"…; "latchkey client list" lists the existing ones`)
  )
})

t.test('wrong usage exits with 2 and one line that names the help of the command', async (t) => {
  const { client, json } = await clientTerminal(t)
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
