import t from 'tap'
import { BUILT_IN_SCOPES } from '../../src/domain/scopes.ts'
import { build, NOBODY, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'

const world = await build(t)
const { app, inject, login, createUser } = world
const ALL = BUILT_IN_SCOPES.map(({ name }) => name).join(' ')

/** What each caller gets: without a token, with garbage, a user, one who has every scope but not the role, an admin whose client has lost the scopes, an admin. */
const TABLE: Record<
  string,
  [none: number, garbage: number, user: number, roleless: number, scopeless: number, admin: number]
> = {
  'GET /': [200, 200, 200, 200, 200, 200],
  'GET /.well-known/jwks.json': [200, 200, 200, 200, 200, 200],
  'GET /.well-known/oauth-authorization-server': [200, 200, 200, 200, 200, 200],
  'GET /health/live': [200, 200, 200, 200, 200, 200],
  'GET /health/ready': [200, 200, 200, 200, 200, 200],
  'POST /token': [200, 401, 401, 401, 401, 401],
  'GET /users/me': [401, 401, 200, 200, 403, 200],
  'PATCH /users/me': [401, 401, 200, 200, 403, 200],
  'POST /users/me/password': [401, 401, 204, 204, 403, 204],
  'GET /users': [401, 401, 403, 403, 403, 200],
  'POST /users': [401, 401, 403, 403, 403, 201],
  'GET /users/{id}': [401, 401, 403, 403, 403, 200],
  'PATCH /users/{id}': [401, 401, 403, 403, 403, 200],
  'DELETE /users/{id}': [401, 401, 403, 403, 403, 204],
  'POST /revoke': [200, 401, 401, 401, 401, 401],
  'POST /introspect': [401, 401, 401, 401, 401, 401],
  'GET /users/me/sessions': [401, 401, 200, 200, 403, 200],
  'DELETE /users/me/sessions': [401, 401, 204, 204, 403, 204],
  'DELETE /users/me/sessions/{session}': [401, 401, 404, 404, 403, 404],
  'GET /users/{id}/sessions': [401, 401, 403, 403, 403, 200],
  'DELETE /users/{id}/sessions': [401, 401, 403, 403, 403, 204],
  'DELETE /users/{id}/sessions/{session}': [401, 401, 403, 403, 403, 404],
  'GET /roles': [401, 401, 403, 403, 403, 200],
  'POST /roles': [401, 401, 403, 403, 403, 201],
  'GET /roles/{name}': [401, 401, 403, 403, 403, 200],
  'PATCH /roles/{name}': [401, 401, 403, 403, 403, 200],
  'DELETE /roles/{name}': [401, 401, 403, 403, 403, 204],
  'GET /scopes': [401, 401, 403, 403, 403, 200],
  'GET /clients': [401, 401, 403, 403, 403, 200],
  'POST /clients': [401, 401, 403, 403, 403, 201],
  'GET /clients/{id}': [401, 401, 403, 403, 403, 200],
  'PATCH /clients/{id}': [401, 401, 403, 403, 403, 200],
  'DELETE /clients/{id}': [401, 401, 403, 403, 403, 204],
  'POST /clients/{id}/secrets': [401, 401, 403, 403, 403, 201],
  'DELETE /clients/{id}/secrets/{secret}': [401, 401, 403, 403, 403, 404],
  'GET /resources': [401, 401, 403, 403, 403, 200],
  'POST /resources': [401, 401, 403, 403, 403, 201],
  'GET /resources/{id}': [401, 401, 403, 403, 403, 200],
  'PATCH /resources/{id}': [401, 401, 403, 403, 403, 200],
  'DELETE /resources/{id}': [401, 401, 403, 403, 403, 204],
  'GET /revocations': [401, 401, 403, 403, 403, 403],
  'GET /keys': [401, 401, 403, 403, 403, 200],
  'POST /keys/rotate': [401, 401, 403, 403, 403, 409],
  'POST /keys/{kid}/retire': [401, 401, 403, 403, 403, 200]
}

let made = 0
const fresh = () => `made${++made}`
const BODIES: Record<string, () => object> = {
  'PATCH /users/me': () => ({ full_name: 'Somebody' }),
  'POST /users/me/password': () => ({ current_password: PASSWORD, new_password: PASSWORD }),
  'POST /users': () => ({ username: fresh(), password: PASSWORD }),
  'PATCH /users/{id}': () => ({ full_name: 'Somebody' }),
  'POST /roles': () => ({ name: fresh() }),
  'PATCH /roles/{name}': () => ({ description: 'Something' }),
  'POST /clients': () => ({ client_name: 'Something' }),
  'PATCH /clients/{id}': () => ({ client_name: 'Something' }),
  'POST /clients/{id}/secrets': () => ({}),
  'POST /resources': () => ({ id: fresh(), resource: `https://${fresh()}.example`, name: 'Something' }),
  'PATCH /resources/{id}': () => ({ name: 'Something' }),
  'POST /keys/{kid}/retire': () => ({ compromised: true })
}

/** Something that a path with `{id}` leads to. */
async function makeOne(path: string, name: string): Promise<string> {
  if (path.startsWith('/users')) return createUser(name)
  if (path.startsWith('/clients')) return (await app.auth.clients.create({ id: name, name })).client.id
  return (await app.auth.resources.create({ id: name, name, identifier: `https://${name}.example` })).id
}

const FORMS: Record<string, Record<string, string>> = {
  '/token': { grant_type: 'password', username: 'alice', password: PASSWORD },
  '/revoke': { token: 'unknown' },
  '/introspect': { token: 'unknown' }
}

await createUser('root', ['admin'])
await app.auth.roles.create({ name: 'some', description: '', scopes: ALL.split(' ') }, null)
await createUser('roleless', ['some'])
const CALLERS = [
  undefined,
  'Bearer nonsense',
  `Bearer ${await login('alice', ALL)}`,
  `Bearer ${await login('roleless', ALL)}`,
  'scopeless',
  `Bearer ${await login('root', ALL)}`
]
await sql(
  world,
  `insert into clients (id, name, grant_types, session_idle_ttl, session_absolute_ttl, created_at, updated_at)
   values ('other', 'Other', '', 60, 60, 0, 0)`
)
const scopeless = `Bearer ${await login('admin', ALL)}`

t.test('the table is complete: every operation of openapi.yaml is in it, and nothing else', async (t) => {
  const paths = app.swagger().paths as Record<string, Record<string, object>>
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`)
  )
  t.strictSame(Object.keys(TABLE).toSorted(), operations.toSorted())
})

for (const [operation, expected] of Object.entries(TABLE)) {
  t.test(`AD1 ${operation} answers every kind of caller as the table says`, async (t) => {
    const [method, path = ''] = operation.split(' ') as ['GET', string]
    const statuses: number[] = []
    for (const caller of CALLERS) {
      const name = fresh()
      const id = path.includes('{id}') ? await makeOne(path, name) : ''
      if (path.includes('{name}')) await app.auth.roles.create({ name, description: '', scopes: [] }, null)
      const kid = (await app.store.keys.list()).find(({ state }) => state === 'next')?.kid ?? ''
      const token = caller === 'scopeless' ? scopeless : caller
      if (caller === 'scopeless') await sql(world, "update client_scopes set client_id = 'other'")
      const at = path
        .replace('{id}', id)
        .replace('{name}', name)
        .replace('{session}', NOBODY)
        .replace('{secret}', NOBODY)
        .replace('{kid}', kid)
      const url = operation === 'DELETE /users/me/sessions' ? `${at}?except=current` : at
      const { statusCode, headers } = await inject({
        method,
        url,
        headers: {
          ...(token === undefined ? {} : { authorization: token }),
          ...(FORMS[path] ? { 'content-type': 'application/x-www-form-urlencoded' } : {})
        },
        ...(FORMS[path] ? { payload: new URLSearchParams(FORMS[path]).toString() } : {}),
        ...(BODIES[operation] === undefined ? {} : { payload: BODIES[operation]() })
      })
      if (caller === 'scopeless') await sql(world, "update client_scopes set client_id = 'docs'")
      statuses.push(statusCode)
      if (!FORMS[path] && [401, 403].includes(statusCode))
        t.match(headers['www-authenticate'], /^Bearer realm="latchkey"/)
    }
    t.strictSame(statuses, expected)
  })
}

t.test('AD1 no spelling of an admin’s path opens it to others, and no body is looked at first', async (t) => {
  const alice = `Bearer ${await login('alice')}`
  const id = await createUser('victim')
  await app.auth.clients.create({ id: 'victim-client', name: 'A victim' })
  const clients = ['/clients', '/clients/victim-client', '/clients/victim-client/secrets']
  const paths = [
    '/users',
    `/users/${id}`,
    '/roles',
    '/roles/some',
    '/scopes',
    ...clients,
    '/resources/latchkey',
    '/keys',
    '/keys/rotate'
  ]
  const spellings = (path: string) => [
    path,
    `${path}/`,
    `${path}?x=1`,
    `${path}/?`,
    `/%75${path.slice(2)}`,
    `/%72${path.slice(2)}`,
    `/%73${path.slice(2)}`,
    `/%63${path.slice(2)}`,
    `/%6b${path.slice(2)}`,
    `/.${path}`,
    `//${path.slice(1)}`,
    `/docs/..${path}`,
    `${path}%2f`,
    `${path}%00`,
    `${path};x=1`,
    path.toUpperCase()
  ]
  for (const url of paths.flatMap(spellings)) {
    for (const method of ['GET', 'POST', 'PATCH', 'DELETE'] as const) {
      for (const [caller, allowed] of [
        [undefined, [400, 401, 404, 405]],
        [alice, [400, 403, 404, 405]]
      ] as const) {
        const { statusCode } = await inject({
          method,
          url,
          headers: { 'content-type': 'application/json', ...(caller === undefined ? {} : { authorization: caller }) },
          ...(method === 'GET' ? {} : { payload: '{' })
        })
        t.ok((allowed as readonly number[]).includes(statusCode), `${method} ${url}: ${statusCode}`)
        if (paths.includes(url) && statusCode !== 405 && statusCode !== 404)
          t.equal(statusCode, caller === undefined ? 401 : 403, 'before the body, which is broken')
      }
    }
  }
  t.equal((await app.auth.users.get(id)).username, 'victim')
  t.equal((await app.auth.clients.find('victim-client')).name, 'A victim')
})
