import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { load } from '../test/cli/load.ts'
import { freePort, greeted, launch, login, me, run } from '../test/cli/process.ts'

/**
 * Adds users with commands, one process after the other, while a server on the same SQLite file handles `GET /users/me`
 * and logins. Prints how many users and requests were lost, and the delays of the server's event loop.
 *
 *     node bench/cli-beside-server.ts [users, 100]
 */
const USERS = Number(process.argv[2] ?? 100)
const PASSWORD = 'correct horse battery staple'

const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const port = String(await freePort())
const origin = `http://localhost:${port}`
const env = {
  LATCHKEY_DATA_DIR: directory,
  LATCHKEY_ADMIN_PASSWORD: PASSWORD,
  LATCHKEY_PORT: port,
  LATCHKEY_LOG_LEVEL: 'warn'
}
const print = (label: string, value: string) => process.stdout.write(`${label.padEnd(48)} ${value}\n`)

const server = launch(['serve'], { ...env, NODE_OPTIONS: '--import ./bench/event-loop-delay.ts' })
try {
  await greeted(server)
  await me(origin, await login(origin, 'admin', PASSWORD))

  server.child.kill('SIGCONT') // restarts the measurement of event-loop-delay.ts
  const busy = load(origin, 'admin', PASSWORD)
  const started = performance.now()
  let added = 0
  for (let index = 0; index < USERS; index++) {
    const { code, stderr } = await run(['user', 'add', `user${index}`], env, PASSWORD)
    if (code === 0) added++
    else process.stdout.write(stderr)
  }
  const seconds = (performance.now() - started) / 1000
  const { sent, failures } = await busy.stop()
  server.child.kill('SIGTERM')
  const { stdout } = await server.exited
  const [line = ''] = stdout.trim().split('\n').slice(-1)
  const { resolution, p99, max, samples } = JSON.parse(line)

  const listed = JSON.parse((await run(['user', 'list', '--search', 'user', '--json'], env)).stdout)
  print('users added, users listed afterwards', `${added}, ${listed.length} of ${USERS} in ${seconds.toFixed(0)} s`)
  print('requests in the meantime, failed requests', `${sent}, ${failures.length}`)
  for (const failure of new Set(failures)) process.stdout.write(`  ${failure}\n`)
  print('event loop delay of the server, p99 (limit 50)', `${p99} ms`)
  print('event loop delay of the server, max', `${max} ms`)
  print('  measured every', `${resolution} ms, ${samples} samples, resolution not subtracted`)
} finally {
  server.child.kill('SIGKILL')
  await server.exited
  rmSync(directory, { recursive: true, force: true })
}
