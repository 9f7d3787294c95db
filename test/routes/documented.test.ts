import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { DomainError } from '../../src/domain/errors.ts'
import { BUILT_IN_SCOPES } from '../../src/domain/scopes.ts'
import { assertDocumented, documented } from '../documented.ts'
import { build, NO_KEY, NOBODY, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'

const { document, validator } = documented()
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation }))
)

const world = await build(t)
const { app, login, createUser } = world
/** Guesses are limited here. */
const limited = await build(t, { env: { LATCHKEY_THROTTLE: 'on' } })

const ALL = BUILT_IN_SCOPES.map(({ name }) => name).join(' ')
const admin = await login('admin', ALL)
const adminId = (await world.get('/users/me', admin)).json().id
const ADMIN = { authorization: `Bearer ${admin}` }
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const form = (fields: object = {}) =>
  new URLSearchParams({ grant_type: 'password', username: 'alice', password: PASSWORD, ...fields }).toString()

/** Bodies that are accepted, and bodies with which the state of things is in conflict; `path` where it is not that of a new one. */
const BODIES: Record<string, { good?: object; conflict?: { path?: string; body?: object } }> = {
  'PATCH /users/me': { good: { full_name: 'Somebody' }, conflict: { body: { email: 'taken@example.com' } } },
  'POST /users/me/password': { good: { current_password: PASSWORD, new_password: PASSWORD } },
  'POST /users': {
    good: { username: 'somebody', password: PASSWORD },
    conflict: { body: { username: 'alice', password: PASSWORD } }
  },
  'PATCH /users/{id}': { good: { full_name: 'Somebody' }, conflict: { path: adminId, body: { disabled: true } } },
  'DELETE /users/{id}': { conflict: { path: adminId } },
  'POST /roles': { good: { name: 'something' }, conflict: { body: { name: 'admin' } } },
  'PATCH /roles/{name}': { good: { description: 'Something' }, conflict: { path: 'admin', body: { scopes: [] } } },
  'DELETE /roles/{name}': { conflict: { path: 'admin' } },
  'POST /clients': {
    good: { client_name: 'Something' },
    conflict: { body: { client_name: 'Something', client_id: 'docs' } }
  },
  'PATCH /clients/{id}': { good: { client_name: 'Something' }, conflict: { path: 'docs' } },
  'DELETE /clients/{id}': { conflict: { path: 'docs' } },
  'POST /clients/{id}/secrets': { good: {}, conflict: { path: 'docs' } },
  'POST /resources': {
    good: { id: 'something', resource: 'https://something.example', name: 'Something' },
    conflict: { body: { id: 'latchkey', resource: 'https://another.example', name: 'Something' } }
  },
  'PATCH /resources/{id}': { good: { name: 'Something' }, conflict: { path: 'latchkey', body: { scopes: [] } } },
  'DELETE /resources/{id}': { conflict: { path: 'latchkey' } },
  'POST /keys/{kid}/retire': { good: { compromised: true }, conflict: { body: { compromised: false } } }
}

const { secret } = await app.auth.clients.create({
  id: 'api',
  name: 'API',
  grantTypes: [],
  scopes: ['tokens:introspect']
})
const follower = await app.auth.clients.create({
  id: 'follower',
  name: 'Follower',
  grantTypes: ['client_credentials'],
  scopes: ['revocations:read']
})
const ofFollower = await world.token({
  grant_type: 'client_credentials',
  client_id: 'follower',
  client_secret: follower.secret as string
})
const FOLLOWER = { authorization: `Bearer ${ofFollower.json().access_token}` }

let made = 0
const issued = async () => (await world.token(form())).json()
/** A session of the one whose sessions the path has. */
async function sessionOf(path: string, userId: string | undefined): Promise<string> {
  if (!path.includes('{session}')) return ''
  const username = userId === undefined ? 'admin' : (await app.auth.users.get(userId)).username
  await login(username)
  const { items } = await app.auth.sessions.list(userId ?? adminId, { after: null, limit: 100 })
  return items.at(-1)?.id as string
}
/** Something that a path with `{id}` leads to. */
async function makeOne(path: string, name: string): Promise<string> {
  if (path.startsWith('/users')) return createUser(name)
  if (path.startsWith('/clients')) return (await app.auth.clients.create({ id: name, name })).client.id
  return (await app.auth.resources.create({ id: name, name, identifier: `https://${name}.example` })).id
}
/** A request to an operation that succeeds. */
async function request(name: string, at?: string): Promise<InjectOptions & { url: string; headers: object }> {
  const [method, path = ''] = name.split(' ') as ['GET', string]
  let place = at
  if (place === undefined && path.includes('{id}')) place = await makeOne(path, `made${++made}`)
  if (place === undefined && path.includes('{name}')) {
    place = `made${++made}`
    await app.auth.roles.create({ name: place, description: '', scopes: [] }, null)
  }
  if (place === undefined && path.includes('{kid}'))
    place = (await app.store.keys.list()).find(({ state }) => state === 'next')?.kid
  // Everyone has had the time to learn of the next key.
  if (path === '/keys/rotate') await sql(world, `update signing_keys set created_at = 0 where state = 'next'`)
  const session = at ?? (await sessionOf(path, place))
  const secretId = async () => (await app.auth.clients.secrets(place ?? ''))[0]?.id as string
  const url = path
    .replace('{session}', session)
    .replace('{secret}', at ?? (path.includes('{secret}') ? await secretId() : ''))
    .replace(/\{\w+\}/, place ?? '')
  const good = BODIES[name]?.good
  // The token that the tests go on with.
  if (name === 'DELETE /users/me/sessions') return { method, url: `${url}?except=current`, headers: ADMIN }
  if (path === '/revocations') return { method, url, headers: FOLLOWER }
  if (path === '/token') return { method, url, headers: FORM, payload: form() }
  if (path === '/revoke') return { method, url, headers: FORM, payload: `token=${(await issued()).refresh_token}` }
  if (path === '/introspect')
    return { method, url, headers: FORM, payload: `token=x&client_id=api&client_secret=${secret}` }
  return { method, url, headers: ADMIN, ...(good === undefined ? {} : { payload: good }) }
}

/** Replaces every method of the store meanwhile. */
async function failing<T>(error: Error, run: () => Promise<T>): Promise<T> {
  const store = app.store as unknown as Record<string, unknown>
  const put = (holder: Record<string, unknown>): (() => void)[] =>
    Object.entries(holder).flatMap(([name, value]) => {
      if (typeof value === 'object' && value !== null) return put(value as Record<string, unknown>)
      if (typeof value !== 'function') return []
      holder[name] = () => Promise.reject(error)
      return [() => Object.assign(holder, { [name]: value })]
    })
  const restore = put(store)
  try {
    return await run()
  } finally {
    for (const each of restore) each()
  }
}

/** How each status is brought about, of an operation that succeeds otherwise. */
const PRODUCE: Record<string, (name: string) => Promise<{ statusCode: number }>> = {
  async success(name) {
    return app.inject(await request(name))
  },
  async 400(name) {
    const { url, ...rest } = await request(name)
    return app.inject({ ...rest, url: `${url}${url.includes('?') ? '&' : '?'}x=%zz` })
  },
  async 401(name) {
    const { headers, payload, ...rest } = await request(name)
    const isForm = typeof payload === 'string'
    return app.inject({
      ...rest,
      ...(isForm ? { payload: payload.split('&client_id')[0] as string } : {}),
      headers: isForm ? { ...FORM, authorization: 'Basic eDp5' } : {}
    })
  },
  async 403(name) {
    const token = await login('admin', name.includes('/users/me') ? 'roles:read' : 'profile')
    return app.inject({ ...(await request(name)), headers: { authorization: `Bearer ${token}` } })
  },
  async 404(name) {
    const unknown = name.includes('{kid}') ? NO_KEY : NOBODY
    return app.inject(await request(name, name.includes('{name}') ? 'nothing' : unknown))
  },
  async 409(name) {
    // The next key is a new one then.
    if (name === 'POST /keys/rotate') {
      await app.inject(await request(name))
      return app.inject({ method: 'POST', url: '/keys/rotate', headers: ADMIN })
    }
    const { path, body } = BODIES[name]?.conflict ?? {}
    return app.inject({ ...(await request(name, path)), ...(body === undefined ? {} : { payload: body }) })
  },
  async 413(name) {
    const { headers, ...rest } = await request(name)
    return app.inject({
      ...rest,
      headers: { 'content-type': 'application/json', ...headers },
      payload: ' '.repeat(20_000)
    })
  },
  async 415(name) {
    const { headers, ...rest } = await request(name)
    return app.inject({ ...rest, headers: { ...headers, 'content-type': 'text/plain' }, payload: 'x' })
  },
  async 429(name) {
    const wrong = { current_password: 'not the password at all', new_password: PASSWORD }
    const { url, headers, method } = await request(name)
    const token = await limited.login('admin')
    let response: LightMyRequestResponse
    let tries = 20
    do {
      response = await limited.inject(
        name === 'POST /token'
          ? { url, method: 'POST', headers, payload: form({ password: wrong.current_password }) }
          : { url, method: method as 'POST', headers: { authorization: `Bearer ${token}` }, payload: wrong }
      )
      assertDocumented(method as string, url, response)
    } while (response.statusCode === 400 && --tries > 0)
    return response
  },
  async 500(name) {
    const sent = await request(name)
    return failing(new Error('planted by a test'), () => app.inject(sent))
  },
  async 503(name) {
    const sent = await request(name)
    return failing(new DomainError('unavailable', 'planted by a test', { retryAfter: 1 }), () => app.inject(sent))
  }
}

await app.auth.users.change(
  (await app.auth.users.list({ after: null, limit: 2 }, {})).items.find(({ username }) => username === 'alice')
    ?.id as string,
  { email: 'taken@example.com' },
  adminId
)

// The helper refuses every answer of every test that the document does not have: status, type, headers and body.
for (const { name, operation } of operations) {
  const [success = '', ...refusals] = Object.keys(operation.responses).toSorted()
  for (const status of [success, ...refusals]) {
    t.test(`${name} answers ${status}, as the document says`, async (t) => {
      const produce = PRODUCE[status === success ? 'success' : status]
      t.equal((await produce?.(name))?.statusCode, Number(status))
    })
  }
  t.test(`${name} answers nothing else, whatever is tried`, async (t) => {
    const others = Object.keys(PRODUCE).filter((status) => !['success', '429', ...refusals].includes(status))
    for (const status of others) {
      const response = await PRODUCE[status]?.(name)
      t.ok(String(response?.statusCode) in operation.responses, `${response?.statusCode} when ${status} is tried`)
    }
  })
}

t.test('every body in the document has an example, and every example is one', async (t) => {
  const examples = (schema: { $ref?: string }): unknown[] =>
    document.components.schemas[schema.$ref?.split('/').at(-1) as string]?.examples ?? []
  for (const { name, operation } of operations) {
    const bodies = [operation.requestBody, ...Object.values(operation.responses)]
    for (const { schema, example } of bodies.flatMap((body) => Object.values(body?.content ?? {}))) {
      const given = example === undefined ? examples(schema) : [example]
      t.ok(given.length > 0, `${name}: ${JSON.stringify(schema)}`)
      const validate = validator(schema)
      for (const each of given) t.ok(validate(each), `${name}: ${JSON.stringify(validate.errors)}`)
    }
  }
})
