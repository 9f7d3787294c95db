import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { REVOCATION_QUOTA, SESSION_TOKEN_ENTRIES_MAX } from '../../src/limits.ts'
import { build, onEachDatabase, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const REFUSED = [
  429,
  {
    error: 'temporarily_unavailable',
    error_description: 'Too many tokens were revoked: try again later'
  }
]

onEachDatabase(
  t,
  'a user or client that revokes in a loop is limited, others are not, and a session can always be ended [UA4 IR4]',
  async (t, database) => {
    const { app, token, inject, get, createUser, clock, env } = await build(t, { database })
    await createUser('mallory')
    const enter = async (username: string) =>
      (await token({ grant_type: 'password', username, password: PASSWORD, scope: 'profile' })).json()
    const refresh = async (refresh_token: string) =>
      (await token({ grant_type: 'refresh_token', refresh_token })).json()
    const revoke = async (jwt: string, more = {}) => {
      const payload = new URLSearchParams({ token: jwt, ...more }).toString()
      return inject({ method: 'POST', url: '/revoke', headers: FORM, payload })
    }
    const { burst, intervalMs } = REVOCATION_QUOTA.user
    const store = app.store.revocations

    let session = await enter('mallory')
    for (let times = 0; times < burst; times++) {
      t.equal((await revoke(session.access_token)).statusCode, 200)
      session = await refresh(session.refresh_token)
    }
    const seq = await store.seq()
    const refused = await revoke(session.access_token)
    t.strictSame([refused.statusCode, refused.json()], REFUSED)
    t.equal(refused.headers['retry-after'], String(intervalMs / 1000))
    t.equal((await get('/users/me', session.access_token)).statusCode, 200, 'it was not revoked')
    t.equal(await store.seq(), seq, 'nothing was written')
    t.ok(
      (await store.since(0, 1000)).entries.length <= SESSION_TOKEN_ENTRIES_MAX + 1,
      'one entry replaces most entries'
    )
    const alice = await enter('alice')
    t.equal((await revoke(alice.access_token)).statusCode, 200, 'another user')
    clock.advance(intervalMs / 1000)
    t.equal((await revoke(session.access_token)).statusCode, 200, 'after the time in Retry-After')
    t.equal((await revoke((await refresh(session.refresh_token)).access_token)).statusCode, 429)
    t.equal((await revoke(session.refresh_token)).statusCode, 200, 'the end of the session')
    t.equal((await get('/users/me', session.access_token)).statusCode, 401)

    const worker = { id: 'worker', name: 'A worker', grantTypes: ['client_credentials'], scopes: ['tokens:introspect'] }
    const { secret } = await app.auth.clients.create(OPERATOR, worker)
    const own = { client_id: 'worker', client_secret: secret as string }
    const next = async () => (await token({ grant_type: 'client_credentials', ...own })).json().access_token
    const ofClient = REVOCATION_QUOTA.client
    const almostUsedUp = clock.now() + (ofClient.burst - 1) * ofClient.intervalMs
    await sql({ env }, `insert into revocation_quotas values ('client worker', ${almostUsedUp})`)
    t.equal((await revoke(await next(), own)).statusCode, 200)
    t.strictSame((await revoke(await next(), own)).statusCode, 429, 'the own tokens of a client')
  }
)
