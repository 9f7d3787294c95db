import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Test } from 'tap'
import { search } from '../secrets.ts'

export interface Service {
  origin: string
  /** Cuts it off from the issuer, or puts it back. */
  send(message: 'cut' | 'back'): void
  /** `GET /orders` with that token. */
  call(token: string): Promise<number>
}

/** Starts a guarded service as a process of its own, ended with the test. */
export async function startService(t: Test, options: object): Promise<Service> {
  const child = fork(join(import.meta.dirname, 'guarded-service.ts'), [JSON.stringify(options)], { silent: true })
  const output: string[] = []
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => output.push(String(chunk)))
  t.teardown(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    search('outputs', 'a guarded service', output.join(''))
  })
  const failed = once(child, 'exit').then(() => Promise.reject(new Error(output.join(''))))
  const [origin] = (await Promise.race([once(child, 'message'), failed])) as [string]
  failed.catch(() => {})
  return {
    origin,
    send: (message) => void child.send(message),
    async call(token) {
      const response = await fetch(`${origin}/orders`, { headers: { authorization: `Bearer ${token}` } })
      await response.arrayBuffer()
      return response.status
    }
  }
}
