import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createDatabase, type Database, environment, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'
import { freePort, login, me, serve } from './process.ts'

const SCALE = Number(process.env.LATCHKEY_ROUNDS ?? 1)
const ROUNDS: Record<Database, number> = { sqlite: Math.ceil(SCALE * 0.2), postgres: Math.ceil(SCALE * 0.1) }

interface Key {
  kid: string
  state: string
}

for (const database of ['sqlite', 'postgres'] as const) {
  const rounds = ROUNDS[database]
  t.test(
    `after kill -9 during rotations and retirements one key signs, one is next, and every acknowledged change is stored (${database}) [F2 F3]`,
    async (t) => {
      const env = {
        ...environment(await createDatabase(t, database, 'ready')),
        LATCHKEY_PORT: String(await freePort()),
        LATCHKEY_JWKS_MAX_AGE: '1'
      }
      const problems: string[] = []
      const seen = { rotated: 0, retired: 0, unanswered: 0 }
      const gone = new Set<string>()
      const signed = new Set<string>()

      for (let round = 0; round <= rounds; round++) {
        const rows = await sql<Key & { sealed: string }>(
          { env },
          'select kid, state, sealed_private_key as sealed from signing_keys'
        )
        const withPrivateKey = rows.filter(({ sealed }) => sealed !== '').map(({ state }) => state)
        if (withPrivateKey.toSorted().join() !== 'next,signing') problems.push(`round ${round}: ${withPrivateKey}`)
        const current = await sql({ env }, "select id from refresh_keys where state = 'current'")
        if (current.length !== 1) problems.push(`round ${round}: ${current.length} refresh keys`)
        const back = rows.filter(({ kid, state }) => gone.has(kid) && state !== 'retired')
        if (back.length > 0) problems.push(`round ${round}: ${back.length} retired keys are not retired`)
        const lost = rows.filter(({ kid, state }) => signed.has(kid) && state === 'next')
        if (lost.length > 0) problems.push(`round ${round}: ${lost.length} rotations are lost`)
        const entries = await sql<{ id: string }>({ env }, "select id from revocations where kind = 'key'")
        const retired = rows.filter(({ state }) => state === 'retired').map(({ kid }) => kid)
        if (
          entries
            .map(({ id }) => id)
            .toSorted()
            .join() !== retired.toSorted().join()
        )
          problems.push(`round ${round}: the log and the keys differ`)

        const server = await serve(t, env)
        const { origin } = server
        const admin = await login(origin, 'admin', PASSWORD, 'profile keys:read keys:write')
        if ((await me(origin, admin)).status !== 200) problems.push(`round ${round}: a new token is refused`)
        if (round === rounds) break

        let working = true
        const send = async (method: string, path: string, body?: object) => {
          const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json' }
          const payload = body === undefined ? {} : { body: JSON.stringify(body) }
          const response = await fetch(`${origin}/keys${path}`, { method, headers, ...payload })
          return { status: response.status, answer: (await response.json()) as { items: Key[]; kid: string } }
        }
        const until = async (work: () => Promise<void>) => {
          while (working)
            await work().catch(() => {
              seen.unanswered++
              working = false
            })
        }
        const all = Promise.all([
          until(async () => {
            await sleep(20)
            const { status, answer } = await send('POST', '/rotate', {})
            if (status !== 200) return
            signed.add(answer.kid)
            seen.rotated++
          }),
          // Each retirement creates another next key. The pauses let one become old enough to sign, so that a rotation succeeds.
          until(async () => {
            const { answer } = await send('GET', '?limit=5')
            const next = answer.items.find(({ state }) => state === 'next')?.kid
            const { status } = await send('POST', `/${next}/retire`, { compromised: true })
            if (status !== 200) return
            gone.add(next as string)
            seen.retired++
            await sleep(seen.retired % 3 === 0 ? 1050 : 0)
          })
        ])
        const before = seen.retired + seen.rotated
        while (seen.retired + seen.rotated === before) await sleep(5)
        await sleep(Math.random() * (round % 2 === 0 ? 1500 : 200))
        server.process.kill('SIGKILL')
        await server.exited
        working = false
        await all
      }
      t.strictSame(problems, [], JSON.stringify({ rounds, ...seen }))
      t.ok(seen.unanswered > 0, 'answers were lost')
    }
  )
}
