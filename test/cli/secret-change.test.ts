import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createDatabase, environment, ISSUER, onEachDatabase } from '../helper.ts'
import { plant } from '../secrets.ts'
import { command } from './command.ts'
import { serve } from './process.ts'

const CALLERS = 6
const OVERLAP_S = 3

onEachDatabase(
  t,
  'a secret changes under load without a refusal: both are good in the overlap, and the old one dies at its end',
  async (t, database) => {
    const env = { ...environment(await createDatabase(t, database, 'ready')), LATCHKEY_ISSUER: ISSUER }
    const servers = await Promise.all((database === 'sqlite' ? [0] : [0, 1]).map(() => serve(t, env)))
    const client = async (...args: string[]) => {
      const { code, stdout, stderr } = await command(env, ['client', ...args, '--json'])
      if (code !== 0) throw new Error(stderr)
      const made = JSON.parse(stdout)
      plant(made.client_secret)
      return made
    }
    const old = (await client('add', 'Worker', '--id', 'worker', '--grant', 'client_credentials', '--scope', 'profile'))
      .client_secret as string

    let sent = 0
    async function ask(secret: string): Promise<number> {
      const { origin } = servers[sent++ % servers.length] as (typeof servers)[0]
      const response = await fetch(`${origin}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${Buffer.from(`worker:${secret}`).toString('base64')}` },
        body: new URLSearchParams({ grant_type: 'client_credentials' })
      })
      await response.arrayBuffer()
      return response.status
    }

    let secret = old
    let working = true
    const statuses: Record<number, number> = {}
    const load = Promise.all(
      Array.from({ length: CALLERS }, async () => {
        while (working) {
          const status = await ask(secret)
          statuses[status] = (statuses[status] ?? 0) + 1
          await sleep(5)
        }
      })
    )
    await sleep(500)
    const { client_secret: next } = await client('secret', 'add', 'worker', '--others-expire-in', String(OVERLAP_S))
    const ends = performance.now() + OVERLAP_S * 1000
    t.strictSame([await ask(old), await ask(next)], [200, 200], 'both are good')
    secret = next
    while (performance.now() < ends) await sleep(10)
    await sleep(500)
    working = false
    await load
    t.strictSame(Object.keys(statuses), ['200'], `${statuses[200]} requests, none refused`)
    t.strictSame(
      await Promise.all(servers.flatMap(() => [ask(old), ask(next)])),
      servers.flatMap(() => [401, 200]),
      'the old one is over'
    )
    t.strictSame((await client('show', 'worker')).secrets.length, 1)
  }
)
