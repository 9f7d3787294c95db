import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build } from '../helper.ts'

/** An app, and the lines of its log that name a path, from `level` on. */
async function open(t: Test, level: 'info' | 'debug') {
  const lines: Record<string, unknown>[] = []
  const stream = { write: (line: string) => void lines.push(JSON.parse(line)) }
  const app = await build(t, { logger: { level, stream } })
  return {
    ...app,
    requests: () =>
      lines
        .filter(({ path }) => path !== undefined)
        .map(({ time: _time, pid: _pid, hostname: _hostname, ms, reqId, ...rest }) => {
          t.type(ms, 'number')
          t.match(reqId, /^[0-9a-f-]{36}$/)
          return rest
        })
  }
}

t.test('each request is one line with method, path, status, user and client, without the query [BR6]', async (t) => {
  const { app, login, get, inject, requests } = await open(t, 'info')
  const token = await login('alice')
  const { sub } = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString())
  await get('/users/me?secret=1', token)
  await inject({ url: '/none' })
  await inject({ url: '/users/me', headers: { authorization: 'Bearer x' } })
  await app.inject({ method: 'POST', url: '/token#password=1', payload: '' })
  const line = (method: string, path: string, status: number, more: object = {}) => ({
    level: 30,
    method,
    path,
    status,
    ...more,
    msg: 'request'
  })
  t.strictSame(requests(), [
    line('POST', '/token', 200),
    line('GET', '/users/me', 200, { user: sub, client: 'docs' }),
    line('GET', '/none', 404),
    line('GET', '/users/me', 401),
    line('POST', '/token', 415)
  ])
})

t.test('probes and requests for the revocation log are logged at the level debug, unless they fail', async (t) => {
  for (const level of ['info', 'debug'] as const) {
    const { app, token, get, inject, requests } = await open(t, level)
    const { secret } = await app.auth.clients.create(OPERATOR, {
      id: 'reader',
      name: 'Reader',
      grantTypes: ['client_credentials'],
      scopes: ['revocations:read']
    })
    await app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: ['reader'] })
    const authorization = `Basic ${Buffer.from(`reader:${secret}`).toString('base64')}`
    const response = await token({ grant_type: 'client_credentials' }, { authorization })
    await inject({ url: '/health/live' })
    await inject({ url: '/health/ready' })
    await get('/revocations?after=0', response.json().access_token)
    await inject({ url: '/revocations' })
    const seen = requests().map(({ path, status, level }) => [path, status, level])
    const quiet = [
      ['/health/live', 200, 20],
      ['/health/ready', 200, 20],
      ['/revocations', 200, 20]
    ]
    t.strictSame(seen, [['/token', 200, 30], ...(level === 'debug' ? quiet : []), ['/revocations', 401, 30]])
  }
})
