import { setImmediate as nextTick } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, createDatabase, type Database, onEachDatabase, PASSWORD, type TestApp } from '../helper.ts'

/** How many races of each kind. */
const ROUNDS = 2 * Number(process.env.LATCHKEY_ROUNDS ?? 2)
const BURSTS = 2 * Number(process.env.LATCHKEY_ROUNDS ?? 4)
const AT_ONCE = 100
const REFUSED = { error: 'invalid_grant', error_description: 'The refresh token is not valid' }

type Instances = [TestApp, TestApp]

/** Two instances on one database; an embedded database has one only. */
async function instances(test: Test, database: Database, leeway: number): Promise<Instances> {
  const at = await createDatabase(test, database, 'ready')
  const env = { LATCHKEY_REFRESH_LEEWAY: String(leeway) }
  const one = await build(test, { at, env })
  return [one, database === 'sqlite' ? one : await build(test, { at, env })]
}

interface Tokens {
  access_token: string
  refresh_token: string
}

async function enter({ token }: TestApp): Promise<Tokens> {
  const response = await token({ grant_type: 'password', username: 'alice', password: PASSWORD })
  if (response.statusCode !== 200) throw new Error(response.body)
  return response.json()
}

const refresh = ({ token }: TestApp, refresh_token: string) => token({ grant_type: 'refresh_token', refresh_token })

/** Presents one token many times at once, to both instances by turns. */
const burst = (apps: Instances, refreshToken: string) =>
  Promise.all(Array.from({ length: AT_ONCE }, (_, index) => refresh(apps[index % 2] as TestApp, refreshToken)))

async function later(most: number): Promise<void> {
  for (let turns = Math.floor(Math.random() * most); turns > 0; turns--) await nextTick()
}

// On PostgreSQL two server processes do the same: test/cli/refresh-races.test.ts.
t.test(
  'of a hundred refreshes of one token at once all get one and the same successor inside the leeway (sqlite) [RF3 RF6]',
  async (t) => {
    const apps = await instances(t, 'sqlite', 10)
    let { refresh_token: current } = await enter(apps[0])
    for (let round = 0; round < BURSTS; round++) {
      const answers = await burst(apps, current)
      const statuses = [...new Set(answers.map(({ statusCode }) => statusCode))]
      const successors = new Set(answers.map((answer) => answer.json<Tokens>().refresh_token))
      const accessTokens = answers.map((answer) => answer.json<Tokens>().access_token)
      const [successor = ''] = successors
      if (statuses.join() !== '200' || successors.size !== 1 || successor === current)
        t.strictSame([statuses, successors.size, successor !== current], [[200], 1, true], `round ${round}`)
      if (new Set(accessTokens).size !== AT_ONCE) t.fail(`round ${round}: an access token was given twice`)
      const { statusCode } = await apps[1].get('/users/me', accessTokens[round % AT_ONCE] as string)
      if (statusCode !== 200) t.fail(`round ${round}: an access token of the burst is not good`)
      current = successor
    }
    t.equal((await refresh(apps[1], current)).statusCode, 200, `after ${BURSTS} rounds the last successor is good`)
  }
)

t.test(
  'of a hundred refreshes of one token at once exactly one succeeds without a leeway, and the others have ended the session (sqlite) [RF1 RF3 F16]',
  async (t) => {
    const apps = await instances(t, 'sqlite', 0)
    const other = await enter(apps[0])
    for (let round = 0; round < BURSTS; round++) {
      const first = await enter(apps[0])
      const answers = await burst(apps, first.refresh_token)
      const won = answers.filter(({ statusCode }) => statusCode === 200)
      const lost = answers.filter(({ statusCode }) => statusCode !== 200)
      const refusals = new Set(lost.map((answer) => `${answer.statusCode} ${answer.body}`))
      if (won.length !== 1 || refusals.size !== 1)
        t.strictSame([won.length, [...refusals]], [1, [`400 ${JSON.stringify(REFUSED)}`]], `round ${round}`)
      if (!refusals.has(`400 ${JSON.stringify(REFUSED)}`)) t.fail([...refusals].join())
      const winner = won[0]?.json<Tokens>() as Tokens
      const after = await refresh(apps[round % 2] as TestApp, winner.refresh_token)
      const me = await apps[1].get('/users/me', winner.access_token)
      if (after.statusCode !== 400 || me.statusCode !== 401)
        t.strictSame(
          [after.statusCode, me.statusCode],
          [400, 401],
          `round ${round}: the session was replayed, and lives`
        )
    }
    const { statusCode } = await refresh(apps[1], other.refresh_token)
    t.equal(statusCode, 200, `after ${BURSTS} rounds the user's other session lives`)
  }
)

const revoke = ({ inject }: TestApp, token: string) =>
  inject({
    method: 'POST',
    url: '/revoke',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: new URLSearchParams({ token }).toString()
  })

/** What ends a session while it is being renewed. */
const endings: Record<string, (on: TestApp, old: Tokens, current: Tokens) => Promise<unknown>> = {
  'a replay': (on, old) => refresh(on, old.refresh_token),
  'a revocation of the token': (on, _, current) => revoke(on, current.refresh_token),
  'a revocation of an old token': (on, old) => revoke(on, old.refresh_token),
  'its owner': (on, _, current) => on.send(current.access_token, 'DELETE', '/users/me/sessions'),
  'a new password': async ({ app: { auth } }) =>
    auth.users.setPassword(OPERATOR, { id: (await auth.users.find('alice')).id, password: PASSWORD }),
  'the disabling of its user': async ({ app: { auth } }) => {
    const { id } = await auth.users.find('alice')
    await auth.users.change(OPERATOR, id, { disabled: true })
    await auth.users.change(OPERATOR, id, { disabled: false })
  },
  'the disabling of its client': async ({ app: { store }, clock }) => {
    await store.clients.change(OPERATOR, { id: 'docs', changes: { disabled: true }, now: clock.now() })
    await store.clients.change(OPERATOR, { id: 'docs', changes: { disabled: false }, now: clock.now() })
  }
}

for (const [what, end] of Object.entries(endings)) {
  onEachDatabase(
    t,
    `a session that is ended by ${what} while it is renewed has no successor [RF4]`,
    async (t, database) => {
      const apps = await instances(t, database, 10)
      const seen = { renewed: 0, refused: 0 }
      for (let round = 0; round < ROUNDS; round++) {
        const old = await enter(apps[0])
        const current = (await refresh(apps[1], old.refresh_token)).json<Tokens>()
        for (const { clock } of new Set(apps)) clock.advance(11)
        const [renewal] = await Promise.all([
          later(30).then(() => refresh(apps[0], current.refresh_token)),
          later(database === 'sqlite' ? 30 : 120).then(() => end(apps[1], old, current))
        ])
        // 401 is for a client that is disabled at that very moment.
        if (![200, 400, 401].includes(renewal.statusCode)) t.fail(`${renewal.statusCode} ${renewal.body}`)
        const next = renewal.statusCode === 200 ? [renewal.json<Tokens>()] : []
        seen[next.length === 1 ? 'renewed' : 'refused']++
        for (const { access_token, refresh_token } of [old, current, ...next]) {
          const statuses = [
            (await apps[0].get('/users/me', access_token)).statusCode,
            (await refresh(apps[1], refresh_token)).statusCode
          ]
          if (statuses.join() !== '401,400') t.strictSame(statuses, [401, 400], `round ${round}: the session lives on`)
        }
      }
      t.equal(seen.renewed + seen.refused, ROUNDS, JSON.stringify(seen))
    }
  )
}
