import t from 'tap'
import { basic } from '../basic.ts'
import { build, NOBODY, onEachDatabase, PASSWORD } from '../helper.ts'
import { CLIENT_DEFAULTS } from '../routes/api.ts'
import { command } from './command.ts'

onEachDatabase(
  t,
  'the sessions of a user are listed and ended, and --json prints what the API returns',
  async (t, database) => {
    const { env, login, get } = await build(t, { database, clock: { now: Date.now, sleep: async () => {} } })
    const session = (...args: string[]) => command(env, ['session', ...args])
    const [first, second] = [await login('alice'), await login('alice')]
    const me = async (token: string) => (await get('/users/me', token)).statusCode

    const { items } = (await get('/users/me/sessions', first)).json()
    const listed = await session('list', 'ALICE', '--json')
    t.strictSame([listed.code, listed.stderr], [0, ''])
    t.strictSame(
      JSON.parse(listed.stdout),
      items.map((item: object) => ({ ...item, current: false }))
    )
    const table = (await session('list', 'alice')).stdout.split('\n')
    t.match(table[0], /^ID +CLIENT +SCOPES +ADDRESS +CREATED +LAST USED +EXPIRES$/)
    t.equal(table.length, 4)

    t.strictSame(await session('revoke', 'alice', items[0].id), {
      code: 0,
      stdout: '1 session has ended\n',
      stderr: ''
    })
    t.strictSame([await me(first), await me(second)], [401, 200])
    const gone = (id: string) => ({
      code: 1,
      stdout: '',
      stderr: `There is no session "${id}"; "latchkey session list <username>" lists every session\n`
    })
    t.strictSame(await session('revoke', 'alice', items[0].id), gone(items[0].id))
    t.strictSame(await session('revoke', 'admin', items[1].id), gone(items[1].id), 'not under another user')
    t.strictSame(await session('revoke', 'alice', '--all', '--json'), {
      code: 0,
      stdout: '{\n  "ended": 1\n}\n',
      stderr: ''
    })
    t.equal(await me(second), 401)
    t.strictSame(await session('revoke', 'alice', '--all'), { code: 0, stdout: '0 sessions have ended\n', stderr: '' })
    t.match(await session('revoke', 'alice'), { code: 2, stderr: 'give the id of one session, or --all\n' })
    t.match(await session('revoke', 'alice', NOBODY, '--all'), { code: 2 })
    t.match(await session('list', 'nobody'), {
      code: 1,
      stderr: 'There is no user "nobody"; "latchkey user list" lists every user\n'
    })
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

    const refused = (stderr: string) => ({ code: 1, stdout: '', stderr })
    t.strictSame(await client('add', 'Again', '--id', 'orders'), refused('A client with this id already exists\n'))
    t.strictSame(
      await client('add', 'X', '--scope', 'none:such'),
      refused('There is no scope "none:such"; "latchkey resource list" lists every scope\n')
    )
    t.strictSame(
      await client('add', 'X', '--grant', 'magic'),
      refused('There is no grant "magic"; the grants are password, refresh_token, client_credentials\n')
    )
    t.strictSame(
      await client('disable', 'none'),
      refused('There is no client "none"; "latchkey client list" lists every client\n')
    )
    t.strictSame(
      await client('disable', 'docs'),
      refused('The client of /docs cannot be changed; LATCHKEY_DOCS=false switches it off\n')
    )
  }
)
