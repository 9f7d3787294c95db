import { readdirSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import argon2 from 'argon2'
import t from 'tap'
import { lowerThreadPool } from '../src/thread-pool.ts'

/** Returns the priorities of the threads of this process whose name begins like this. */
const prioritiesOf = (name: string) =>
  readdirSync('/proc/self/task')
    .filter((thread) => readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').startsWith(name))
    .map((thread) => getPriority(Number(thread)))

t.test(
  'every thread that hashes passwords has a lower priority than the main thread',
  { skip: process.platform !== 'linux' && 'only Linux has a priority for each thread' },
  async (t) => {
    const before = getPriority()
    await lowerThreadPool()
    await Promise.all(Array.from({ length: 8 }, () => argon2.hash('a password', { memoryCost: 1024, timeCost: 1 })))
    const pool = prioritiesOf('libuv-worker')
    t.equal(pool.length, Number(process.env.UV_THREADPOOL_SIZE ?? 4))
    t.ok(
      pool.every((priority) => priority > before),
      pool.join(' ')
    )
    t.equal(getPriority(process.pid), before)
  }
)
