import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { residentMegabytes } from './speed/cpu.ts'

/**
 * From `npm start` in an empty data directory: seconds to listening and to the first token, and the memory of the server
 * when idle and ten seconds after 16 logins at once.
 */
const PORT = '3917'
const ORIGIN = `http://127.0.0.1:${PORT}`
const dataDir = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const started = performance.now()
const seconds = () => ((performance.now() - started) / 1000).toFixed(2)

const server = spawn('npm', ['start', '--silent'], {
  env: { PATH: process.env.PATH, HOME: process.env.HOME, LATCHKEY_DATA_DIR: dataDir, LATCHKEY_PORT: PORT },
  stdio: 'ignore'
})

/** Returns the process of the server: npm starts a shell, which `exec` replaces by the server. */
function serverPid(): number {
  const children = (pid: number) =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
  let pid = server.pid as number
  for (let [child] = children(pid); child !== undefined; [child] = children(pid)) pid = child
  return pid
}

async function login(): Promise<number> {
  const password = readFileSync(join(dataDir, 'admin-password'), 'utf8').trim()
  const body = new URLSearchParams({ grant_type: 'password', username: 'admin', password })
  const response = await fetch(`${ORIGIN}/token`, { method: 'POST', body })
  await response.json()
  return response.status
}

const print = (what: string, value: string) => process.stdout.write(`${what.padEnd(44)} ${value}\n`)
try {
  for (;;) {
    const live = await fetch(`${ORIGIN}/health/live`).catch(() => null)
    if (live?.ok) break
    if (performance.now() - started > 30_000) throw new Error('the server does not listen')
    await sleep(10)
  }
  print('npm start to listening (bound 2 s)', `${seconds()} s`)
  if ((await login()) !== 200) throw new Error('the login failed')
  print('npm start to the first token (bound 10 s)', `${seconds()} s`)
  await sleep(5000)
  print('memory when idle (bound 140 MB)', `${residentMegabytes(serverPid())} MB`)
  const statuses = await Promise.all(Array.from({ length: 16 }, login))
  print('16 logins at once', statuses.join(' '))
  await sleep(10_000)
  print('memory ten seconds later (bound 160 MB)', `${residentMegabytes(serverPid())} MB`)
} finally {
  process.kill(serverPid(), 'SIGTERM')
  await new Promise((resolve) => server.on('close', resolve))
  rmSync(dataDir, { recursive: true, force: true })
}
