import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { basic } from '../basic.ts'
import { onEachDatabase } from '../helper.ts'
import { plant } from '../secrets.ts'
import { command } from './command.ts'
import { startInstances } from './instances.ts'

const CALLERS = 3
/** Seconds. */
const OVERLAP = 3600
/** Average number of requests of each caller before and after each change. */
const REQUESTS = 8

onEachDatabase(
  t,
  'a secret changes under load without a refusal: both secrets are valid in the overlap, and the previous one expires at its end',
  async (t, database) => {
    let ahead = 0
    const clock = { now: () => Date.now() + ahead, sleep: async () => {} }
    const servers = await startInstances(t, { database, count: database === 'sqlite' ? 1 : 2, clock })
    const env = (servers[0] as (typeof servers)[0]).env
    const client = async (...args: string[]) => {
      const { code, stdout, stderr } = await command(env, ['client', ...args, '--json'])
      if (code !== 0) throw new Error(stderr)
      const made = JSON.parse(stdout)
      plant(made.client_secret)
      return made
    }
    const old = (
      await client('add', 'Worker', '--id', 'worker', '--grant', 'client_credentials', '--scope', 'users:read')
    ).client_secret as string

    let sent = 0
    async function ask(secret: string): Promise<number> {
      const { origin } = servers[sent++ % servers.length] as (typeof servers)[0]
      const response = await fetch(`${origin}/token`, {
        method: 'POST',
        headers: { authorization: basic('worker', secret) },
        body: new URLSearchParams({ grant_type: 'client_credentials' })
      })
      await response.arrayBuffer()
      return response.status
    }

    let secret = old
    let working = true
    let answered = 0
    const statuses = new Set<number>()
    const load = Array.from({ length: CALLERS }, async () => {
      while (working) {
        statuses.add(await ask(secret))
        answered++
        await sleep(1)
      }
    })
    const waitForRequests = async () => {
      const enough = answered + CALLERS * REQUESTS
      while (answered < enough) await sleep(5)
    }
    await waitForRequests()
    const { client_secret: next } = await client('secret', 'add', 'worker', '--others-expire-in', String(OVERLAP))
    t.strictSame([await ask(old), await ask(next)], [200, 200], 'both are valid')
    secret = next
    await waitForRequests()
    ahead = OVERLAP * 1000
    await waitForRequests()
    working = false
    await Promise.all(load)
    t.strictSame([...statuses], [200], `${answered} requests, none refused`)
    t.strictSame(
      await Promise.all([old, next].flatMap((each) => servers.map(() => ask(each)))),
      [401, 200].flatMap((status) => servers.map(() => status)),
      'the old one has expired at every server'
    )
    const { get, login } = servers[0] as (typeof servers)[0]
    t.equal((await get('/clients/worker', await login('admin', 'clients:read'))).json().secrets.length, 1)
  }
)
