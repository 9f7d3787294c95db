import t from 'tap'
import { clientTerminal, wrong } from './command.ts'

const IDENTITY = 'email openid profile'
const CODE = ['authorization_code']
const RENEWS = ['authorization_code', 'refresh_token']
const ADVICE =
  /\nNext: give issuer http:\/\/localhost:3000 and client_id app to an OpenID Connect library\. docs\/sign-in\.md has/

t.test(
  'a preset of "client add" fills in the rest of a client, and other options replace what it fills in',
  async (t) => {
    const { json } = await clientTerminal(t)
    const local = 'http://localhost:5173/callback'
    const presets: [args: string[], members: object][] = [
      [
        ['--spa', local],
        { token_endpoint_auth_method: 'none', grant_types: CODE, redirect_uris: [local], application_type: 'web' }
      ],
      [
        ['--web', 'https://a.example/cb', 'https://b.example/cb'],
        {
          token_endpoint_auth_method: 'client_secret_basic',
          grant_types: RENEWS,
          redirect_uris: ['https://a.example/cb', 'https://b.example/cb'],
          application_type: 'web'
        }
      ],
      [
        ['--native', 'com.example.app:/cb', '--redirect-uri', 'http://127.0.0.1/cb'],
        {
          token_endpoint_auth_method: 'none',
          grant_types: RENEWS,
          redirect_uris: ['com.example.app:/cb', 'http://127.0.0.1/cb'],
          application_type: 'native'
        }
      ]
    ]
    for (const [args, members] of presets) {
      const { client_secret, ...client } = await json('add', 'App', ...args)
      const always = { scope: IDENTITY, default_scope: IDENTITY, require_pkce: true, require_consent: true }
      t.match(client, { ...members, ...always, first_party: false }, args.join(' '))
      t.equal(client_secret === undefined, client.token_endpoint_auth_method === 'none')
    }
    t.match(await json('add', 'Worker', '--service', '--scope', 'users:read'), {
      grant_types: ['client_credentials'],
      scope: 'users:read',
      redirect_uris: [],
      client_secret: /^lks_/
    })
    t.match(
      await json(
        'add',
        'App',
        '--spa',
        local,
        '--scope',
        'openid',
        'users:read',
        '--first-party',
        '--grant',
        ...RENEWS
      ),
      {
        scope: 'openid users:read',
        grant_types: RENEWS,
        first_party: true
      }
    )
  }
)

t.test('a preset prints the next step, with the secret once', async (t) => {
  const { client } = await clientTerminal(t)
  const add = async (...args: string[]) => (await client(['add', 'App', '--id', 'app', ...args])).stdout
  const text = await add('--web', 'https://a.example/cb')
  t.match(text, /^client app was added\nclient_secret lks_[\w-]{43} {3}\(shown this once\)\n/)
  t.match(text, ADVICE)
  t.match(text, /\nUsers are asked for consent\. For an app of your own: latchkey client set app --first-party\n$/)
  await client(['delete', 'app', '--yes'])
  const own = await add('--spa', 'http://localhost:5173/callback', '--first-party')
  t.match(own, ADVICE)
  t.notMatch(own, /lks_|consent|port/)
  await client(['delete', 'app', '--yes'])
  t.match(
    await add('--spa', 'http://127.0.0.1/callback'),
    /\nThe port of http:\/\/127\.0\.0\.1\/callback is 80\. For a desktop .*: latchkey client set app --application-type native\n$/
  )
  await client(['delete', 'app', '--yes'])
  t.match(
    await add('--service', '--scope', 'users:read'),
    /\nNext: request tokens at http:\/\/localhost:3000\/token with/
  )
})

t.test('presets exclude each other, and a mistyped preset or URI gets a proposal', async (t) => {
  const { client } = await clientTerminal(t)
  const two = await client(['add', 'App', '--web', 'https://a.example/cb', '--service'])
  t.match(two, wrong("error: option '--web <redirect-uri...>' cannot be used with option '--service'"))
  t.match(await client(['add', 'App', '--sap', 'https://a.example/cb']), wrong('did you mean --spa?'))
  t.match(await client(['add', 'App', '--spa', 'localhost:5173/callback']), {
    code: 1,
    stdout: '',
    stderr: 'the scheme is missing: write http://localhost:5173/callback'
  })
  t.match(await client(['add', 'App', '--spa']), wrong("error: option '--spa <redirect-uri...>' argument missing"))
})

t.test('a client that needs no PKCE is added and changed with a warning [AC3]', async (t) => {
  const { client } = await clientTerminal(t)
  const warning = /^client old needs no PKCE, so a stolen code can be used: run "latchkey client set old --pkce"/
  t.match((await client(['add', 'Old', '--id', 'old', '--web', 'https://a.example/cb', '--no-pkce'])).stderr, warning)
  t.match((await client(['set', 'old', '--name', 'Older'])).stderr, warning)
  t.equal((await client(['set', 'old', '--pkce'])).stderr, '')
})
