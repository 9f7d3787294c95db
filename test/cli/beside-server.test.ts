import t from 'tap'
import { createDatabase, environment, onEachDatabase, PASSWORD } from '../helper.ts'
import { command } from './command.ts'
import { load } from './load.ts'
import { launch, login, me, run, serve } from './process.ts'

const USERS = Math.ceil(Number(process.env.LATCHKEY_ROUNDS ?? 1) / 5)
const OTHER = 'another horse battery staple'

onEachDatabase(t, 'beside a running server', async (t, database) => {
  const env = environment(await createDatabase(t, database, 'ready'))
  const { origin } = await serve(t, env)
  const user = (args: string[], input = '') => command(env, ['user', ...args], input)

  await t.test('a change by a command is effective at the next request', async (t) => {
    t.match(await user(['add', 'bob'], `${PASSWORD}\n`), { code: 0, stdout: 'user bob was added\n', stderr: '' })
    const first = await login(origin, 'bob', PASSWORD)
    t.equal((await me(origin, first)).status, 200)

    t.match(await user(['passwd', 'bob'], `${OTHER}\n`), { code: 0, stdout: 'user bob has a new password\n' })
    t.equal((await me(origin, first)).status, 401)
    await t.rejects(login(origin, 'bob', PASSWORD), /invalid_grant/)
    const second = await login(origin, 'bob', OTHER)

    t.match(await user(['disable', 'bob']), { code: 0, stdout: 'user bob is disabled\n' })
    t.equal((await me(origin, second)).status, 401)
    await t.rejects(login(origin, 'bob', OTHER), /invalid_grant/)
    t.match(await user(['enable', 'bob']), { code: 0 })
    t.equal((await me(origin, await login(origin, 'bob', OTHER))).status, 200)
  })

  if (database === 'postgres') return
  await t.test('users are added while the server is busy, and no request fails', async (t) => {
    const busy = load(origin, 'alice', PASSWORD)
    const names = Array.from({ length: USERS }, (_, index) => `user${index}`)
    for (const name of names) t.match(await run(['user', 'add', name], env, PASSWORD), { code: 0, stderr: '' })
    const { sent, failures } = await busy.stop()
    t.strictSame(failures, [])
    t.ok(sent > 0, `${sent} requests`)
    const listed = JSON.parse((await user(['list', '--search', 'user', '--json'])).stdout)
    t.strictSame(
      listed.map(({ username }: { username: string }) => username),
      names
    )
    for (const name of names) t.equal((await me(origin, await login(origin, name, PASSWORD))).status, 200)
  })
})

t.test('the exit code is 0 for success, 1 for a refusal and 2 for wrong usage', async (t) => {
  const env = environment(await createDatabase(t, 'sqlite', 'ready'))
  const shown = await command(env, ['user', 'show', 'alice', '--json'])
  t.equal(shown.code, 0)
  t.equal(JSON.parse(shown.stdout).username, 'alice')
  t.match(await command(env, ['user', 'add']), { code: 2 })
  t.strictSame(await run(['user', 'add', 'bob'], env, 'short\n'), {
    code: 1,
    signal: null,
    stdout: '',
    stderr: 'A password has at least 15 characters\n'
  })
})

t.test('a reader that closes the pipe early causes no failure', async (t) => {
  const { child, exited } = launch(['settings'], {})
  child.stdout.destroy()
  t.match(await exited, { code: 0, stdout: '', stderr: '' })
})
