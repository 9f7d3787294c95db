import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'

/** Starts a process that holds the lock of the database until it is released or killed. */
export async function lock(t: Test, file: string): Promise<{ release: () => void; process: ChildProcess }> {
  const script = `
    import { DatabaseSync } from 'node:sqlite'
    const database = new DatabaseSync(process.argv[1], { timeout: 5000 })
    database.exec('begin immediate')
    process.stdout.write('locked')
    process.stdin.on('end', () => database.exec('commit')).resume()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, file], {
    stdio: ['pipe', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return { release: () => child.stdin.end(), process: child }
}
