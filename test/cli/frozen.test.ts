import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { plant } from '../secrets.ts'
import { startInstances } from './instances.ts'

/** Seconds: the smallest `staleAfter` that the guard accepts. */
const STALE_AFTER = 4

t.test('a guarded service that was frozen reads the log before it decides about the first requests', async (t) => {
  const [latchkey] = await startInstances(t, { database: 'sqlite', count: 1 })
  if (latchkey === undefined) throw new Error('there is no instance')
  const { app, token } = latchkey
  const { auth } = app
  const { secret } = await auth.clients.create(OPERATOR, {
    id: 'api',
    name: 'API',
    grantTypes: ['client_credentials'],
    scopes: ['revocations:read']
  })
  plant(secret)
  await auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: ['api'] })
  const login = {
    grant_type: 'password',
    username: 'alice',
    password: 'correct horse battery staple',
    scope: 'profile'
  }
  const [valid, revoked] = [(await token(login)).json(), (await token(login)).json()]

  const child = spawn(process.execPath, [join(import.meta.dirname, 'guarded-service.ts')], {
    env: {
      PATH: process.env.PATH,
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
      ISSUER: auth.issuer,
      CLIENT_ID: 'api',
      CLIENT_SECRET: secret as string,
      SCOPE: 'profile',
      STALE_AFTER: `${STALE_AFTER}`
    },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(async () => {
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const [port] = await once(child.stdout, 'data')
  const call = async ({ access_token }: { access_token: string }) => {
    const headers = { authorization: `Bearer ${access_token}` }
    return (await fetch(`http://127.0.0.1:${String(port).trim()}/`, { headers })).status
  }
  t.strictSame([await call(valid), await call(revoked)], [200, 200])

  child.kill('SIGSTOP')
  await auth.revoke(OPERATOR, { client: { id: 'docs' }, token: revoked.refresh_token })
  await sleep((STALE_AFTER + 1) * 1000)
  // These requests wait in the socket of the frozen process.
  const statuses = Promise.all([call(valid), call(revoked)])
  await sleep(100)
  child.kill('SIGCONT')
  t.strictSame(await statuses, [200, 401])
})
