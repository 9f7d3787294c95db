import t from 'tap'
import { BUILT_IN_SCOPES } from '../../src/domain/built-in.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, NOBODY, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'

const world = await build(t)
const { app, inject, login, createUser } = world
const ALL = BUILT_IN_SCOPES.map(({ name }) => name).join(' ')

/**
 * The status for each caller: no token, an invalid token, a user, a user with every scope but without the role, an admin whose
 * client has lost the scopes, an admin.
 */
const TABLE: Record<
  string,
  [none: number, invalid: number, user: number, roleless: number, scopeless: number, admin: number]
> = {
  'GET /': [200, 200, 200, 200, 200, 200],
  'GET /.well-known/jwks.json': [200, 200, 200, 200, 200, 200],
  'GET /.well-known/oauth-authorization-server': [200, 200, 200, 200, 200, 200],
  'GET /.well-known/openid-configuration': [200, 200, 200, 200, 200, 200],
  'GET /health/live': [200, 200, 200, 200, 200, 200],
  'GET /health/ready': [200, 200, 200, 200, 200, 200],
  'GET /authorize': [400, 400, 400, 400, 400, 400],
  'POST /authorize': [303, 303, 303, 303, 303, 303],
  'GET /logout': [303, 303, 303, 303, 303, 303],
  'POST /logout': [303, 303, 303, 303, 303, 303],
  'POST /token': [200, 401, 401, 401, 401, 401],
  'GET /users/me': [401, 401, 200, 200, 403, 200],
  'GET /userinfo': [401, 401, 200, 200, 403, 200],
  'POST /userinfo': [401, 401, 200, 200, 403, 200],
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
  'GET /users/me/consents': [401, 401, 200, 200, 403, 200],
  'DELETE /users/me/consents/{client}': [401, 401, 404, 404, 403, 404],
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
  'GET /resource-scopes': [401, 401, 403, 403, 403, 403],
  'GET /keys': [401, 401, 403, 403, 403, 200],
  'POST /keys/rotate': [401, 401, 403, 403, 403, 409],
  'POST /keys/{kid}/retire': [401, 401, 403, 403, 403, 200]
}

let names = 0
const fresh = () => `made${++names}`
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

/** Makes an object for a path with `{id}`, and returns its id. */
async function makeOne(path: string, name: string): Promise<string> {
  if (path.startsWith('/users')) return createUser(name)
  if (path.startsWith('/clients')) return (await app.auth.clients.create(OPERATOR, { id: name, name })).client.id
  return (await app.auth.resources.create(OPERATOR, { id: name, name, identifier: `https://${name}.example` })).id
}

const FORMS: Record<string, Record<string, string>> = {
  '/token': { grant_type: 'password', username: 'alice', password: PASSWORD },
  '/authorize': { client_id: 'docs' },
  '/logout': { client_id: 'docs' },
  '/revoke': { token: 'unknown' },
  '/introspect': { token: 'unknown' }
}

await createUser('root', ['admin'])
await app.auth.roles.create(OPERATOR, { name: 'some', description: '', scopes: ALL.split(' ') })
await createUser('roleless', ['some'])
// Gets the scopes of the client `docs` for a while.
await app.auth.clients.create(OPERATOR, { id: 'other', name: 'Other' })
const scopeless = `Bearer ${await login('admin', ALL)}`

t.test('the table has every operation of openapi.yaml, and no other', async (t) => {
  const paths = app.swagger().paths as Record<string, Record<string, object>>
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`)
  )
  t.strictSame(Object.keys(TABLE).toSorted(), operations.toSorted())
})

/** Returns the URL of an operation on objects of its own. */
async function urlOf(operation: string): Promise<string> {
  const [, path = ''] = operation.split(' ')
  const name = fresh()
  if (path.includes('{name}')) await app.auth.roles.create(OPERATOR, { name, description: '', scopes: [] })
  const id = path.includes('{id}') ? await makeOne(path, name) : ''
  const kid = (await app.store.keys.list()).find(({ state }) => state === 'next')?.kid ?? ''
  const url = path
    .replace('{id}', id)
    .replace('{name}', name)
    .replace('{session}', NOBODY)
    .replace('{secret}', NOBODY)
    .replace('{client}', 'nobody')
    .replace('{kid}', kid)
  return operation === 'DELETE /users/me/sessions' ? `${url}?except=current` : url
}

async function statusOf(operation: string, url: string, authorization: string | undefined): Promise<number> {
  const [method, path = ''] = operation.split(' ') as ['GET', string]
  const form = FORMS[path]
  const body = form === undefined ? BODIES[operation]?.() : new URLSearchParams(form).toString()
  const { statusCode, headers } = await inject({
    method,
    url,
    headers: {
      ...(authorization === undefined ? {} : { authorization }),
      ...(form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' })
    },
    ...(body === undefined ? {} : { payload: body })
  })
  if (
    form === undefined &&
    [401, 403].includes(statusCode) &&
    !/^Bearer realm="latchkey"/.test(String(headers['www-authenticate']))
  )
    throw new Error(`${operation} has no challenge`)
  return statusCode
}

t.test('every operation answers every kind of caller with the status in the table [AD1]', async (t) => {
  const urls = new Map<string, string>()
  for (const operation of Object.keys(TABLE)) urls.set(operation, await urlOf(operation))
  const statuses: Record<string, number[]> = {}
  const callers = [
    undefined,
    'Bearer nonsense',
    `Bearer ${await login('alice', ALL)}`,
    `Bearer ${await login('roleless', ALL)}`,
    scopeless,
    `Bearer ${await login('root', ALL)}`
  ]
  // The admin is last: only this caller changes the objects.
  for (const caller of callers) {
    if (caller === scopeless) await sql(world, "update client_scopes set client_id = 'other'")
    for (const [operation, url] of urls) {
      statuses[operation] ??= []
      statuses[operation].push(await statusOf(operation, url, caller))
    }
    if (caller === scopeless) await sql(world, "update client_scopes set client_id = 'docs'")
  }
  t.strictSame(statuses, TABLE)
})

t.test(
  'no spelling of an admin path is open to others, and 401 and 403 come before the body is read [AD1]',
  async (t) => {
    const alice = `Bearer ${await login('alice')}`
    const id = await createUser('victim')
    await app.auth.clients.create(OPERATOR, { id: 'victim-client', name: 'A victim' })
    const paths = [
      '/users',
      `/users/${id}`,
      '/roles',
      '/roles/some',
      '/scopes',
      '/clients',
      '/clients/victim-client',
      '/clients/victim-client/secrets',
      '/resources/latchkey',
      '/keys',
      '/keys/rotate'
    ]
    const spellings = (path: string) => [
      `${path}/`,
      `${path}?x=1`,
      `${path}/?`,
      `/%${path.charCodeAt(1).toString(16)}${path.slice(2)}`,
      `/%75${path.slice(2)}`,
      `/.${path}`,
      `//${path.slice(1)}`,
      `/docs/..${path}`,
      `${path}%2f`,
      `${path}%00`,
      `${path};x=1`,
      path.toUpperCase()
    ]
    const statusesOf = (url: string, methods: readonly ('GET' | 'POST' | 'PATCH' | 'DELETE')[]) =>
      Promise.all(
        methods.flatMap((method) =>
          [undefined, alice].map(async (authorization) => {
            const { statusCode } = await inject({
              method,
              url,
              headers: {
                'content-type': 'application/json',
                ...(authorization === undefined ? {} : { authorization })
              },
              ...(method === 'GET' ? {} : { payload: '{' })
            })
            return statusCode
          })
        )
      )
    const isAllowed = (allowed: number[]) => (status: number, index: number) =>
      [...allowed, index % 2 === 0 ? 401 : 403].includes(status)
    const open: string[] = []
    for (const path of paths) {
      // 400 would mean that the malformed body was read.
      const exact = await statusesOf(path, ['GET', 'POST', 'PATCH', 'DELETE'])
      if (!exact.every(isAllowed([404, 405]))) open.push(`${path}: ${exact}`)
      for (const url of spellings(path)) {
        const statuses = await statusesOf(url, ['GET', 'DELETE'])
        if (!statuses.every(isAllowed([400, 404, 405]))) open.push(`${url}: ${statuses}`)
      }
    }
    t.strictSame(open, [])
    t.equal((await app.auth.users.get(id)).username, 'victim')
    t.equal((await app.auth.clients.get('victim-client')).name, 'A victim')
  }
)
