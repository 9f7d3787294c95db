import { randomUUIDv7 } from 'node:crypto'
import { setImmediate as nextTick } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Caller, OPERATOR } from '../../src/domain/caller.ts'
import { build, createDatabase, type Database, onEachDatabase, PASSWORD } from '../helper.ts'

/** The number of races of each kind. */
const ROUNDS = Number(process.env.LATCHKEY_ROUNDS ?? 8)
const NOW = Date.UTC(2026, 0, 1, 12)

/** Builds two instances on one database. */
async function pair(test: Test, database: Database) {
  const at = await createDatabase(test, database, 'ready')
  return [await build(test, { at }), await build(test, { at })] as const
}

const asUser = (id: string): Caller => ({ ...OPERATOR, kind: 'user', id, clientId: 'docs', sid: id })

/** Waits for a random time. */
async function later(): Promise<void> {
  for (let turns = Math.floor(Math.random() * 12); turns > 0; turns--) await nextTick()
}

onEachDatabase(
  t,
  'of three admins that disable, demote or delete each other at once one stays [AD4]',
  async (t, database) => {
    const apps = await pair(t, database)
    const stores = apps.map(({ app }) => app.store)
    const [{ app }] = apps
    const first = await app.auth.users.find('admin')
    const { passwordHash } = (await app.store.users.credentials('admin')) ?? { passwordHash: '' }
    const done = { disabled: 0, demoted: 0, deleted: 0, refused: 0 }

    for (let round = 0; round < ROUNDS; round++) {
      const ids = await Promise.all(
        [1, 2, 3].map(async (number) => {
          const [id, username] = [randomUUIDv7(), `admin-${round}-${number}`]
          const forms = { username, usernameKey: username, lookAlike: username, mixesScripts: false }
          const user = { id, ...forms, email: null, emailKey: null, fullName: null }
          await app.store.users.create(OPERATOR, { ...user, roles: ['admin'], passwordHash, now: NOW })
          return id
        })
      )
      // Only these three are left when the admin of the first start is disabled.
      await app.store.users.change(OPERATOR, { id: first.id, changes: { disabled: true }, now: NOW })
      const results = await Promise.allSettled(
        ids.map(async (id, index) => {
          const { users } = stores[(round + index) % 2] as (typeof stores)[0]
          await later()
          const how = (['disabled', 'demoted', 'deleted'] as const)[Math.floor(Math.random() * 3)] ?? 'disabled'
          if (how === 'disabled')
            await users.change(asUser(ids[(index + 1) % 3] as string), { id, changes: { disabled: true }, now: NOW })
          else if (how === 'demoted') await users.change(OPERATOR, { id, changes: { roles: ['user'] }, now: NOW })
          else await users.delete(OPERATOR, { id, now: NOW })
          done[how]++
        })
      )
      const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []))
      done.refused += refused.length
      const left = await app.store.users.list({ after: null, limit: 100 }, { role: 'admin', disabled: false })
      if (left.length !== 1 || refused.join() !== 'conflict') t.strictSame([left.length, refused], [1, ['conflict']])

      await app.store.users.change(OPERATOR, { id: first.id, changes: { disabled: false }, now: NOW })
      for (const id of ids) await app.store.users.delete(OPERATOR, { id, now: NOW })
    }
    t.equal(done.refused, ROUNDS, JSON.stringify(done))
    t.equal(done.disabled + done.demoted + done.deleted, 2 * ROUNDS)
  }
)

onEachDatabase(
  t,
  'a login whose user is disabled or gets a new password meanwhile has no valid session [SC5 PW9]',
  async (t, database) => {
    const [one, two] = await pair(t, database)
    const { users } = two.app.store
    const { id } = await two.app.auth.users.find('alice')
    const hash = String((await users.credentials('alice'))?.passwordHash)
    const { hasher } = one.app
    const verify = hasher.verify
    const seen = { refused: 0, ended: 0 }

    for (let round = 0; round < ROUNDS; round++) {
      const verified = Promise.withResolvers<void>()
      const proceed = Promise.withResolvers<void>()
      hasher.verify = async (...args) => {
        const result = await verify(...args)
        verified.resolve()
        await proceed.promise
        return result
      }
      const login = one.token({ grant_type: 'password', username: 'alice', password: PASSWORD })
      await verified.promise
      const withdraw = async () => {
        if (round % 2 === 0) await users.change(OPERATOR, { id, changes: { disabled: true }, now: NOW })
        else await users.setPassword(OPERATOR, { id, hash, from: null, keep: null, now: NOW })
      }
      // In every third round it is done before the login proceeds.
      if (round % 3 === 0) await withdraw().then(proceed.resolve)
      else await Promise.all([later().then(withdraw), later().then(proceed.resolve)])

      const response = await login
      if (round % 2 === 0) await users.change(OPERATOR, { id, changes: { disabled: false }, now: NOW })
      if (response.statusCode === 200) {
        seen.ended++
        const { statusCode } = await two.get('/users/me', response.json().access_token)
        if (statusCode !== 401 || round % 3 === 0)
          t.fail(`round ${round}: the login was not refused, or its session is valid`)
      } else {
        seen.refused++
        if (response.json().error !== 'invalid_grant') t.fail(response.body)
      }
    }
    hasher.verify = verify
    t.equal(seen.refused + seen.ended, ROUNDS, JSON.stringify(seen))
    t.type(await one.login('alice'), 'string', 'the next login opens a session')
  }
)

onEachDatabase(t, 'a login whose user is deleted meanwhile is refused [SC5]', async (t, database) => {
  const [one, two] = await pair(t, database)
  const { id } = await two.app.auth.users.find('alice')
  const verify = one.app.hasher.verify
  one.app.hasher.verify = async (...args) => {
    const result = await verify(...args)
    await two.app.auth.users.delete(OPERATOR, id)
    return result
  }
  const response = await one.token({ grant_type: 'password', username: 'alice', password: PASSWORD })
  t.strictSame(
    [response.statusCode, response.json()],
    [400, { error: 'invalid_grant', error_description: 'Incorrect username or password' }]
  )
})

onEachDatabase(
  t,
  'a user who is disabled on one instance is refused at the next request on another [F17]',
  async (t, database) => {
    const [one, two] = await pair(t, database)
    const { id } = await one.app.auth.users.find('alice')
    const stale: number[] = []
    for (let round = 0; round < 2 * ROUNDS; round++) {
      const token = await two.login('alice')
      if ((await two.get('/users/me', token)).statusCode !== 200) t.fail('the token was invalid before')
      await one.app.auth.users.change(OPERATOR, id, { disabled: true })
      if ((await two.get('/users/me', token)).statusCode !== 401) stale.push(round)
      await one.app.auth.users.change(OPERATOR, id, { disabled: false })
    }
    t.strictSame(stale, [], `of ${2 * ROUNDS}`)
  }
)
