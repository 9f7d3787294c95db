import fastify from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import guard from '../../plugins/guard.ts'
import type { TokenGuard } from '../../src/guard/core.ts'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import type { Principal } from '../../src/token/principal.ts'
import { refusal } from '../../src/token/refusal.ts'

const admin: Principal = {
  kind: 'user',
  sub: 'user-id',
  clientId: 'docs',
  sid: 'session-id',
  scopes: ['users:read'],
  roles: ['admin'],
  token: {} as AccessTokenClaims
}
const PRINCIPALS: Record<string, Principal> = {
  admin,
  withoutScope: { ...admin, scopes: ['profile'] },
  withoutRole: { ...admin, roles: ['user'] },
  client: { ...admin, kind: 'client', sid: null }
}

/** An app whose tokens are the names of `PRINCIPALS`. */
async function open() {
  const app = fastify()
  const verify = (token: string) => PRINCIPALS[token] ?? refusal('malformed', 'unknown')
  await app.register(
    fp(async (scope) => void scope.decorate('auth', { accessTokens: { verify } } as never), { name: 'auth' })
  )
  await app.register(guard)
  return app
}

t.test('requireAdmin admits only users with the role admin and the scope', async (t) => {
  const app = await open()
  t.teardown(() => app.close())
  const documented: object[] = []
  app.addHook('onRoute', ({ schema }) => void documented.push({ ...schema }))
  app.get('/one-guard', { preHandler: app.requireAdmin('users:read'), schema: {} }, async () => 'admitted')
  const three = [app.requireUser(), app.requireScope('users:read'), app.requireRole('admin')]
  app.get('/three-guards', { preHandler: three, schema: {} }, async () => 'admitted')

  const ask = async (url: string, token: string | undefined) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const { statusCode, headers: answer } = await app.inject({ url, headers })
    return [statusCode, answer['www-authenticate']]
  }
  t.strictSame(await ask('/one-guard', 'admin'), [200, undefined])
  const refused = (description: string) =>
    `Bearer realm="latchkey", error="insufficient_scope", error_description="${description}"`
  t.strictSame(await ask('/one-guard', 'withoutScope'), [
    403,
    `${refused('The token lacks the scope users:read')}, scope="users:read"`
  ])
  t.strictSame(await ask('/one-guard', 'withoutRole'), [403, refused('The token lacks the role admin')])
  t.strictSame(await ask('/one-guard', 'client'), [403, refused('The token is not a token of a user')])
  for (const token of [...Object.keys(PRINCIPALS), 'unknown', undefined])
    t.strictSame(await ask('/one-guard', token), await ask('/three-guards', token), `as three guards: ${token}`)
  const [one, , other] = documented
  t.match(one, {
    security: [{ code: ['users:read'] }, { password: ['users:read'] }],
    description: /`users:read`.*`admin`/
  })
  t.strictSame(one, other, 'documented as three guards')
})

t.test('a route that requires an unknown scope stops the boot', async (t) => {
  const app = await open()
  t.teardown(() => app.close())
  t.throws(() => app.get('/', { preHandler: app.requireScope('users:fly'), schema: {} }, async () => ''), {
    message: /^\/ requires the unknown scope "users:fly"; known scopes: .*users:read/
  })
})

t.test('a route that requires a scope of users but no user stops the boot', async (t) => {
  const app = await open()
  t.teardown(() => app.close())
  const { requireUser, requireScope, requireRole } = app
  const declare = (url: string, preHandler: TokenGuard[]) => app.get(url, { preHandler, schema: {} }, async () => '')
  for (const guards of [[requireScope('users:read')], [requireScope('profile'), requireRole('admin')]])
    t.throws(() => declare('/x', guards), {
      message:
        /^\/x requires "(users:read|profile)", a scope of users, but also accepts clients in their own name: add requireUser\(\)/
    })
  t.doesNotThrow(() => declare('/user', [requireUser(), requireScope('users:read')]))
  t.doesNotThrow(() => declare('/admin', app.requireAdmin('users:read')))
  t.doesNotThrow(() => declare('/client', [requireScope('revocations:read')]))
  t.doesNotThrow(() => declare('/any', [requireScope()]))
})

t.test('a scope that only clients can have is documented for clients only', async (t) => {
  const app = await open()
  t.teardown(() => app.close())
  let security: unknown
  app.addHook('onRoute', ({ schema }) => {
    security ??= (schema as { security: unknown }).security
  })
  app.get('/', { preHandler: app.requireScope('revocations:read'), schema: {} }, async () => '')
  t.strictSame(security, [{ clientCredentials: ['revocations:read'] }])
})
