import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createDatabase, type Database, environment, PASSWORD } from '../helper.ts'
import { freePort, me, serve } from './process.ts'

const SCALE = Number(process.env.LATCHKEY_ROUNDS ?? 1)
const ROUNDS: Record<Database, number> = { sqlite: Math.ceil(SCALE * 0.4), postgres: Math.ceil(SCALE * 0.1) }
const CLIENTS = 4

interface Tokens {
  access_token: string
  refresh_token: string
}

/** The status is `lost` when the server did not answer, and `refused` when it did not even accept the connection. */
type Answer = { status: number; body: Tokens } | { status: 'lost' | 'refused'; body: null }

async function post(origin: string, form: Record<string, string>): Promise<Answer> {
  try {
    const response = await fetch(`${origin}/token`, { method: 'POST', body: new URLSearchParams(form) })
    return { status: response.status, body: (await response.json()) as Tokens }
  } catch (error) {
    const { cause } = error as Error & { cause?: { code?: string } }
    return { status: cause?.code === 'ECONNREFUSED' ? 'refused' : 'lost', body: null }
  }
}

const refresh = (origin: string, refresh_token: string) => post(origin, { grant_type: 'refresh_token', refresh_token })

async function enter(origin: string): Promise<Tokens[]> {
  const answer = await post(origin, { grant_type: 'password', username: 'alice', password: PASSWORD })
  if (answer.status !== 200) throw new Error(`a login: ${JSON.stringify(answer)}`)
  return [answer.body as Tokens]
}

for (const database of ['sqlite', 'postgres'] as const) {
  const rounds = ROUNDS[database]
  t.test(
    `kill -9 during refreshes loses no acknowledged renewal and no session, and no refresh token gets two successors (${database}) [F1 RF6]`,
    async (t) => {
      const env = {
        ...environment(await createDatabase(t, database, 'ready')),
        LATCHKEY_PORT: String(await freePort()),
        // A busy machine may take long to start it again.
        LATCHKEY_REFRESH_LEEWAY: '60'
      }
      const problems: string[] = []
      const seen = { renewals: 0, unanswered: 0, replays: 0 }
      /** The successor of each token that was renewed. */
      const successors = new Map<string, string>()
      /** The tokens of each client, in order. */
      let clients: Tokens[][] = []

      /** Presents the newest token of a client, as tabs do that do not know of each other. */
      async function renew(origin: string, given: Tokens[], tabs: number): Promise<boolean> {
        const { refresh_token: token } = given.at(-1) as Tokens
        const answers = await Promise.all(Array.from({ length: tabs }, () => refresh(origin, token)))
        for (const answer of answers) {
          if (answer.status === 'lost') seen.unanswered++
          else if (answer.status === 'refused') continue
          else if (answer.status !== 200) problems.push(`${answer.status} ${JSON.stringify(answer.body)}`)
          else {
            const { refresh_token: successor } = answer.body
            if ((successors.get(token) ?? successor) !== successor) problems.push('a token has two successors')
            if (!successors.has(token)) {
              given.push(answer.body)
              seen.renewals++
            }
            successors.set(token, successor)
          }
        }
        return successors.has(token)
      }

      for (let round = 0; round <= rounds; round++) {
        const server = await serve(t, env)
        const { origin } = server
        if (round === 0) clients = await Promise.all(Array.from({ length: CLIENTS }, () => enter(origin)))

        // A client that lost an answer presents the same token again; the others go on.
        for (const given of clients) {
          if ((await me(origin, given.at(-1)?.access_token as string)).status !== 200)
            problems.push('a session is lost')
          if (!(await renew(origin, given, 2))) problems.push('a client cannot go on')
        }
        // If a renewal had been lost, an older token would be valid again. This check ends one session.
        const given = clients[round % CLIENTS] as Tokens[]
        const old = given.at(-3)
        if (old !== undefined) {
          seen.replays++
          const { refresh_token, access_token } = given.at(-1) as Tokens
          const statuses = [
            (await refresh(origin, old.refresh_token)).status,
            (await refresh(origin, refresh_token)).status,
            (await me(origin, access_token)).status
          ]
          if (statuses.join() !== '400,400,401') problems.push(`a replay: ${statuses}`)
          clients[round % CLIENTS] = await enter(origin)
        }
        if (round === rounds) break

        const before = clients.map((each) => each.length)
        let working = true
        const all = Promise.all(
          clients.map(async (each, index) => {
            while (working) await renew(origin, each, 1 + (index % 2))
          })
        )
        // Waits until each client has renewed three times, so that it has a used token for a replay.
        while (clients.some((each, index) => each.length < (before[index] as number) + 3)) await sleep(1)
        await sleep(Math.random() * 200)
        server.process.kill('SIGKILL')
        await server.exited
        working = false
        await all
      }
      t.strictSame(problems, [], JSON.stringify({ rounds, ...seen }))
      t.ok(seen.unanswered >= rounds, 'at least one answer was lost for each round')
      t.ok(seen.replays > 0)
    }
  )
}
