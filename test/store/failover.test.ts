import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { build, PASSWORD } from '../helper.ts'
import { createDirectory } from './open.ts'
import { listen } from './proxy.ts'
import { makeStandby, type Server, startPair } from './servers.ts'

/** Longer than the `MIN_AGE_MS` of `src/store/postgres.ts`, for which a new connection is used even if its server takes no writes. */
const LONGER_MS = 150

async function query(server: Server, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  await client.query(sql)
  await client.end()
}

t.test(
  'after a failover of PostgreSQL no login fails, and before it readiness says that writes fail [F11] [F15]',
  async (t) => {
    const { primary, standby } = await startPair(t)
    // One address for both servers. A connection stays with the server that it reached.
    let current = primary
    const address = await listen(t, (client) => {
      const server = connect(current.port, '127.0.0.1')
      server.on('error', () => client.destroy()).on('close', () => client.destroy())
      client.on('close', () => server.destroy())
      client.pipe(server).pipe(client)
    })
    const url = primary.url.replace(String(primary.port), new URL(address.url).port)
    const { token, login, get, inject } = await build(t, { at: { url, dataDir: createDirectory(t) }, logger: false })
    const tryLogin = async () =>
      (await token({ grant_type: 'password', username: 'alice', password: PASSWORD, scope: 'profile' })).statusCode
    const ready = async () => (await inject({ method: 'GET', url: '/health/ready' })).statusCode
    const me = async (bearer: string) => (await get('/users/me', bearer)).statusCode
    const [access, other] = [await login('alice'), await login('admin')]
    t.strictSame([await me(access), await ready()], [200, 200])

    await primary.stop()
    t.strictSame([await me(access), await tryLogin(), await ready()], [503, 503, 503], 'there is no server')
    t.equal(
      (await inject({ method: 'GET', url: '/.well-known/jwks.json' })).statusCode,
      200,
      'the keys are still published'
    )
    await query(standby, 'select pg_promote()')
    makeStandby(primary)
    await primary.start()
    t.strictSame(
      [await me(access), await tryLogin(), await ready()],
      [200, 503, 503],
      'the address is that of a standby'
    )
    t.equal(await me(access), 200)

    current = standby
    await sleep(LONGER_MS)
    await query(
      standby,
      "update sessions set ended_at = 1 where user_id = (select id from users where username = 'admin')"
    )
    t.equal(await me(other), 401, 'no write was needed to leave the previous server')
    const statuses: number[] = []
    for (let count = 0; count < 40; count++) statuses.push(await tryLogin())
    t.strictSame(statuses, Array(40).fill(200))
    t.strictSame([await me(access), await ready()], [200, 200])
  }
)
