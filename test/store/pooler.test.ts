import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import { openStore } from '../../src/store/index.ts'
import { build, PASSWORD } from '../helper.ts'
import { createDatabase, createDirectory, open } from './open.ts'
import { startPooler } from './pooler.ts'
import { newUser, notIntrospected, outcomes } from './rows.ts'

async function openUrl(t: Test, url: string): Promise<Store> {
  const store = await openStore(url, { record: () => {} })
  t.teardown(() => store.close())
  return store
}

t.test('Latchkey runs behind PgBouncer in transaction mode', async (t) => {
  const { url, wrong } = await startPooler(t, await createDatabase(t, 'postgres'))
  const stores = await Promise.all(Array.from({ length: 4 }, () => openUrl(t, url)))
  t.strictSame(await outcomes(stores.map((store) => store.migrate())), { done: 4 }, 'concurrent migrations')

  const { token, get, send, inject, createUser } = await build(t, {
    at: { url, dataDir: createDirectory(t) },
    logger: false
  })
  await Promise.all(Array.from({ length: 6 }, (_, index) => createUser(`user${index}`)))

  const form = {
    grant_type: 'password',
    username: 'alice',
    password: PASSWORD,
    scope: 'profile account',
    client_id: 'docs'
  }
  const logins = await Promise.all(Array.from({ length: 20 }, () => token(form)))
  t.strictSame([...new Set(logins.map(({ statusCode }) => statusCode))], [200])
  const { access_token: access, refresh_token: refresh } = logins[0]?.json() ?? {}
  const renewed = await token({ grant_type: 'refresh_token', refresh_token: refresh, client_id: 'docs' })
  t.equal(renewed.statusCode, 200)
  t.equal((await get('/users/me', access)).statusCode, 200)
  t.equal((await send(access, 'DELETE', '/users/me/sessions')).statusCode, 204)
  t.equal((await get('/users/me', access)).statusCode, 401)
  t.equal((await inject({ method: 'GET', url: '/health/ready' })).statusCode, 200)
  t.strictSame(wrong, [])
})

t.test('statements that wait', async (group) => {
  group.jobs = 3
  for (const place of ['directly', 'behind PgBouncer'] as const) {
    group.test(`a statement without a response in time ends on the server too, ${place} [F12]`, async (t) => {
      const opened = await open(t, 'postgres')
      await opened.store.migrate()
      await opened.seed()
      const store = place === 'directly' ? opened.store : await openUrl(t, (await startPooler(t, opened.url)).url)
      const user = newUser()
      await store.users.create(OPERATOR, user)
      const commit = await opened.hold(t, 'lock table users in access exclusive mode')
      const calls = [store.users.get(user.id), store.users.create(OPERATOR, newUser())]
      t.strictSame(await outcomes(calls as Promise<unknown>[]), { unavailable: 2 })
      const waiting = () =>
        opened.sql(
          "select left(query, 40) as query from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
      for (let tries = 0; tries < 100 && (await waiting()).length > 0; tries++) await sleep(10)
      t.strictSame(await waiting(), [])
      await commit()
      t.equal((await store.users.get(user.id))?.id, user.id)
    })
  }

  group.test('a read gets a connection while writes hold all of theirs [F14]', async (t) => {
    const opened = await open(t, 'postgres')
    await opened.store.migrate()
    await opened.seed()
    const { store } = opened
    const commit = await opened.hold(t, "update invariants set version = version where name = 'subjects'")
    const writes = Array.from({ length: 30 }, () =>
      store.users.create(OPERATOR, newUser()).then(String, ({ code, cause }) => `${code}: ${cause.message}`)
    )
    await sleep(50)
    // All of these end before a write does.
    const state = notIntrospected({ kid: 'x', jti: 'x', sid: null, sub: 'x', clientId: 'x' })
    const reads = Array.from({ length: 20 }, () => store.state(state))
    const first = await Promise.race([outcomes([...reads, store.keys.list()] as Promise<unknown>[]), ...writes])
    t.strictSame(first, { done: 21 })
    const refused = (await Promise.all(writes)).filter((result) => result === 'unavailable: all connections are in use')
    t.equal(refused.length, 22, '8 of the 10 connections are for writes: the other writes fail')
    await commit()
    await store.users.create(OPERATOR, newUser())
  })
})
