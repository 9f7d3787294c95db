import { setImmediate as nextTick } from 'node:timers/promises'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, createDatabase, onEachDatabase, PASSWORD, type TestApp } from '../helper.ts'

// test/domain/refresh-races.test.ts tests parallel uses of one token.

/** The number of races of each kind. */
const ROUNDS = 2 * Number(process.env.LATCHKEY_ROUNDS ?? 1)

interface Tokens {
  access_token: string
  refresh_token: string
}

async function enter({ token }: TestApp): Promise<Tokens> {
  const response = await token({
    grant_type: 'password',
    username: 'alice',
    password: PASSWORD,
    scope: 'account profile'
  })
  if (response.statusCode !== 200) throw new Error(response.body)
  return response.json()
}

const refresh = ({ token }: TestApp, refresh_token: string) => token({ grant_type: 'refresh_token', refresh_token })

const revoke = ({ inject }: TestApp, token: string) =>
  inject({
    method: 'POST',
    url: '/revoke',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: new URLSearchParams({ token }).toString()
  })

/** Waits for a random time. */
async function later(turnsMax: number): Promise<void> {
  for (let turns = Math.floor(Math.random() * turnsMax); turns > 0; turns--) await nextTick()
}

/** Everything that ends a session. */
const endings: Record<string, (on: TestApp, old: Tokens, current: Tokens) => Promise<unknown>> = {
  'a replay': (on, old) => refresh(on, old.refresh_token),
  'a revocation of the refresh token': (on, _, current) => revoke(on, current.refresh_token),
  'a revocation of a previous refresh token': (on, old) => revoke(on, old.refresh_token),
  'the user': (on, _, current) => on.send(current.access_token, 'DELETE', '/users/me/sessions'),
  'a new password': async ({ app: { auth } }) =>
    auth.users.setPassword(OPERATOR, { id: (await auth.users.find('alice')).id, password: PASSWORD }),
  'disabling the user': async ({ app: { auth } }) => {
    const { id } = await auth.users.find('alice')
    await auth.users.change(OPERATOR, id, { disabled: true })
    await auth.users.change(OPERATOR, id, { disabled: false })
  },
  'disabling the client': async ({ app: { store }, clock }) => {
    await store.clients.change(OPERATOR, { id: 'docs', changes: { disabled: true }, now: clock.now() })
    await store.clients.change(OPERATOR, { id: 'docs', changes: { disabled: false }, now: clock.now() })
  }
}

onEachDatabase(t, 'a session that ends while it is renewed has no valid successor [RF4]', async (t, database) => {
  const at = await createDatabase(t, database, 'ready')
  const apps = [await build(t, { at }), await build(t, { at })] as const
  for (const [name, end] of Object.entries(endings)) {
    const seen = { renewed: 0, refused: 0 }
    for (let round = 0; round < ROUNDS; round++) {
      const old = await enter(apps[0])
      const current = (await refresh(apps[1], old.refresh_token)).json<Tokens>()
      for (const { clock } of apps) clock.advance(61)
      const [renewal] = await Promise.all([
        later(30).then(() => refresh(apps[0], current.refresh_token)),
        later(database === 'sqlite' ? 30 : 120).then(() => end(apps[1], old, current))
      ])
      // 401 means that the client was disabled at this moment.
      if (![200, 400, 401].includes(renewal.statusCode)) t.fail(`${renewal.statusCode} ${renewal.body}`)
      const next = renewal.statusCode === 200 ? [renewal.json<Tokens>()] : []
      seen[next.length === 1 ? 'renewed' : 'refused']++
      for (const { access_token, refresh_token } of [old, current, ...next]) {
        const statuses = [
          (await apps[0].get('/users/me', access_token)).statusCode,
          (await refresh(apps[1], refresh_token)).statusCode
        ]
        if (statuses.join() !== '401,400') t.strictSame(statuses, [401, 400], `${name}, round ${round}`)
      }
    }
    t.equal(seen.renewed + seen.refused, ROUNDS, `ended by ${name}: ${JSON.stringify(seen)}`)
  }
})
