import { readdir, readFile } from 'node:fs/promises'
import { setPriority } from 'node:os'

/** The priority of the threads (`man 7 sched`): the main thread gets ten times as much of a busy core as each of them. */
const NICE = 10

/**
 * Lowers the priority of the thread pool, in which passwords are hashed, so that many logins do not delay other requests on a busy core.
 * Only Linux has a priority for each thread; elsewhere nothing changes. The pool has all of its threads after its first use, which is the
 * reading of the directory.
 */
export async function lowerThreadPool(): Promise<void> {
  if (process.platform !== 'linux') return
  for (const thread of await readdir('/proc/self/task')) {
    const name = await readFile(`/proc/self/task/${thread}/comm`, 'utf8').catch(() => '')
    if (name.startsWith('libuv-worker')) setPriority(Number(thread), NICE)
  }
}
