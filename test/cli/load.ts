import { setTimeout as sleep } from 'node:timers/promises'
import { login, me } from './process.ts'

const READERS = 3
const PAUSE = 20

/** Sends requests to a server until `stop`: one loop logs a user in, the others read the profile of this user. */
export function load(origin: string, username: string, password: string) {
  const failures: string[] = []
  let sent = 0
  let working = true
  let token = login(origin, username, password)

  async function repeat(request: () => Promise<void>): Promise<void> {
    while (working) {
      sent++
      await request().catch((error: Error) => failures.push(error.message))
      await sleep(PAUSE)
    }
  }
  const read = async () => {
    const { status } = await me(origin, await token)
    if (status !== 200) throw new Error(`GET /users/me: ${status}`)
  }
  const enter = async () => {
    const next = await login(origin, username, password)
    token = Promise.resolve(next)
  }
  const all = Promise.all([repeat(enter), ...Array.from({ length: READERS }, () => repeat(read))])

  return {
    async stop(): Promise<{ sent: number; failures: string[] }> {
      working = false
      await all
      return { sent, failures }
    }
  }
}
