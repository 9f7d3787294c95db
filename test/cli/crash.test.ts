import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createDatabase, environment, PASSWORD } from '../helper.ts'
import { freePort, login, me, serve } from './process.ts'

const ROUNDS = Math.ceil(Number(process.env.LATCHKEY_ROUNDS ?? 1) / 5)

t.test('kill -9 while users are added and log in loses no acknowledged change [F1 F3]', async (t) => {
  const port = String(await freePort())
  const env = { ...environment(await createDatabase(t, 'sqlite', 'ready')), LATCHKEY_PORT: port }
  const users: string[] = []
  const tokens: string[] = []
  const lost: string[] = []

  // One more round checks what the last one acknowledged.
  for (let round = 0; round <= ROUNDS; round++) {
    const server = await serve(t, env)
    for (const token of tokens.splice(0))
      if ((await me(server.origin, token)).status !== 200) lost.push(`round ${round}: a token`)
    const admin = await login(server.origin, 'admin', PASSWORD, 'users:read users:write')
    const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json' }
    for (const username of users.splice(0)) {
      const response = await fetch(`${server.origin}/users?search=${username}`, { headers })
      const found = (await response.json()) as { items?: object[] }
      if (found.items?.length !== 1) lost.push(username)
      await login(server.origin, username, PASSWORD).catch(() => lost.push(`the password of ${username}`))
    }

    if (round === ROUNDS) break
    let working = true
    const until = async (work: (index: number) => Promise<void>) => {
      for (let index = 0; working; index++) await work(index).catch(() => {})
    }
    const add = async (index: number, worker: number) => {
      // The last hyphen: a search for the first user must not find the users 10 to 19.
      const username = `user-${round}-${worker}-${index}-`
      const body = JSON.stringify({ username, password: PASSWORD })
      const { status } = await fetch(`${server.origin}/users`, { method: 'POST', headers, body })
      if (status === 201) users.push(username)
    }
    const all = Promise.all([
      until((index) => add(index, 1)),
      until((index) => add(index, 2)),
      until(async () => void tokens.push(await login(server.origin, 'alice', PASSWORD)))
    ])
    while (users.length === 0 || tokens.length === 0) await sleep(5)
    await sleep(Math.random() * 400)
    server.process.kill('SIGKILL')
    await server.exited
    working = false
    await all
  }
  t.strictSame(lost, [], `${ROUNDS} rounds`)
})
