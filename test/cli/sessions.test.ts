import t from 'tap'
import { build, NOBODY, onEachDatabase } from '../helper.ts'
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
      stderr: `There is no session "${id}"; "latchkey session list <username>" lists the existing ones\n`
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
      stderr: 'There is no user "nobody"; "latchkey user list" lists the existing ones\n'
    })
  }
)
