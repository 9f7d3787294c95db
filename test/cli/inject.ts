import { StatementSync } from 'node:sqlite'

const failures: Record<string, () => unknown> = {
  fsync() {
    const { run } = StatementSync.prototype
    StatementSync.prototype.run = () => {
      StatementSync.prototype.run = run
      throw Object.assign(new Error('disk I/O error'), { code: 'ERR_SQLITE_ERROR', errcode: 1034 })
    }
  },
  exception() {
    throw new Error('an uncaught exception')
  },
  rejection: () => Promise.reject(new Error('an unhandled rejection')),
  memory() {
    for (const kept: number[][] = []; ; ) kept.push(new Array(100_000).fill(kept.length))
  }
}

/** Loaded with `--import`. SIGCONT prints `injected` and causes the failure that `TEST_FAILURE` names; `fsync` fails at the next write. */
process.on('SIGCONT', () => {
  process.stderr.write('injected\n')
  failures[process.env.TEST_FAILURE as string]?.()
})
