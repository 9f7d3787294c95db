import t from 'tap'
import { placeholderPath } from '../forge.ts'
import { build } from '../helper.ts'

const { app, inject, login } = await build(t)
const { paths = {} } = app.swagger() as unknown as { paths: Record<string, Record<string, { security?: object[] }>> }
const operations = Object.entries(paths)
  // This operation ends the session of its token, so it comes last.
  .toSorted(([a], [b]) => Number(a === '/users/me/sessions') - Number(b === '/users/me/sessions'))
  .flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security }]) => ({
      method: method.toUpperCase() as 'GET',
      url: placeholderPath(path),
      isGuarded: security?.length !== 0
    }))
  )

t.test('no answer to a request with a token may be stored, whatever its status [BR2]', async (t) => {
  const token = await login('admin', 'account profile users:read roles:read clients:read keys:read')
  const statuses = new Set<number>()
  const stored: string[] = []
  const others = [
    '/docs',
    '/docs/static/swagger-ui.css',
    '/openapi.json',
    '/none',
    '/users/1',
    '/users/me?x=%zz',
    '/%zz'
  ]
  for (const authorization of [`Bearer ${token}`, 'Bearer x', 'Basic eDp5', 'x'])
    for (const { method, url } of [...operations, ...others.map((path) => ({ method: 'GET' as const, url: path }))]) {
      const { statusCode, headers } = await inject({ method, url, headers: { authorization } })
      statuses.add(statusCode)
      if (headers['cache-control'] !== 'no-store')
        stored.push(`${method} ${url} ${statusCode}: ${headers['cache-control']}`)
    }
  t.strictSame(stored, [])
  t.strictSame([...statuses].toSorted(), [200, 204, 303, 400, 401, 403, 404, 415])
})

t.test('no answer of a guarded operation may be stored, also without a token [BR2]', async (t) => {
  const stored: string[] = []
  for (const { method, url } of operations.filter(({ isGuarded }) => isGuarded)) {
    const { headers } = await inject({ method, url })
    if (headers['cache-control'] !== 'no-store') stored.push(`${method} ${url}`)
  }
  t.strictSame(stored, [])
  const keys = await inject({ url: '/.well-known/jwks.json' })
  t.match(keys.headers['cache-control'], /^public, max-age=\d+$/, 'the keys are public')
})
