import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { BUILT_IN_SCOPES } from '../../src/domain/built-in.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { REVOCATION_QUOTA } from '../../src/limits.ts'
import { assertDocumented, documented } from '../documented.ts'
import { build, ISSUER, NO_KEY, NOBODY, PASSWORD } from '../helper.ts'
import { createJar } from '../jar.ts'
import { sql } from '../sql.ts'

const { document, validator } = documented()
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation }))
)

const world = await build(t, { logger: false })
const { app, login, createUser } = world
/** An app with throttled logins. */
const limited = await build(t, { env: { LATCHKEY_THROTTLE: 'true' } })

const ALL = BUILT_IN_SCOPES.map(({ name }) => name).join(' ')
const admin = await login('admin', ALL)
const adminId = (await world.get('/users/me', admin)).json().id
const ADMIN = { authorization: `Bearer ${admin}` }
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const form = (fields: object = {}) =>
  new URLSearchParams({ grant_type: 'password', username: 'alice', password: PASSWORD, ...fields }).toString()

/** Valid bodies, and bodies that conflict with the state of the service; `id` names an existing object. */
const BODIES: Record<string, { valid?: object; conflict?: { id?: string; body?: object } }> = {
  'PATCH /users/me': { valid: { full_name: 'Somebody' }, conflict: { body: { email: 'taken@example.com' } } },
  'POST /users/me/password': { valid: { current_password: PASSWORD, new_password: PASSWORD } },
  'POST /users': {
    valid: { username: 'somebody', password: PASSWORD },
    conflict: { body: { username: 'alice', password: PASSWORD } }
  },
  'PATCH /users/{id}': { valid: { full_name: 'Somebody' }, conflict: { id: adminId, body: { disabled: true } } },
  'DELETE /users/{id}': { conflict: { id: adminId } },
  'POST /roles': { valid: { name: 'something' }, conflict: { body: { name: 'admin' } } },
  'PATCH /roles/{name}': { valid: { description: 'Something' }, conflict: { id: 'admin', body: { scopes: [] } } },
  'DELETE /roles/{name}': { conflict: { id: 'admin' } },
  'POST /clients': {
    valid: { client_name: 'Something' },
    conflict: { body: { client_name: 'Something', client_id: 'docs' } }
  },
  'PATCH /clients/{id}': { valid: { client_name: 'Something' }, conflict: { id: 'docs' } },
  'DELETE /clients/{id}': { conflict: { id: 'docs' } },
  'POST /clients/{id}/secrets': { valid: {}, conflict: { id: 'docs' } },
  'POST /resources': {
    valid: { id: 'something', resource: 'https://something.example', name: 'Something' },
    conflict: { body: { id: 'latchkey', resource: 'https://another.example', name: 'Something' } }
  },
  'PATCH /resources/{id}': { valid: { name: 'Something' }, conflict: { id: 'latchkey', body: { scopes: [] } } },
  'DELETE /resources/{id}': { conflict: { id: 'latchkey' } },
  'POST /keys/{kid}/retire': { valid: { compromised: true }, conflict: { body: { compromised: false } } }
}

const { secret } = await app.auth.clients.create(OPERATOR, {
  id: 'api',
  name: 'API',
  grantTypes: [],
  scopes: ['tokens:introspect']
})
const follower = await app.auth.clients.create(OPERATOR, {
  id: 'follower',
  name: 'Follower',
  grantTypes: ['client_credentials'],
  scopes: ['revocations:read']
})
await app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: ['follower', 'api'] })
const ofFollower = await world.token({
  grant_type: 'client_credentials',
  client_id: 'follower',
  client_secret: follower.secret as string
})
const FOLLOWER = { authorization: `Bearer ${ofFollower.json().access_token}` }

let made = 0
/** Makes an object for the path, and returns its id. */
async function makeOne(path: string): Promise<string | undefined> {
  const name = `made${++made}`
  if (path.includes('{kid}')) return (await app.store.keys.list()).find(({ state }) => state === 'next')?.kid
  if (path.includes('{name}'))
    return (await app.auth.roles.create(OPERATOR, { name, description: '', scopes: [] })).name
  if (!path.includes('{id}')) return undefined
  if (path.startsWith('/users')) return createUser(name)
  if (path.startsWith('/clients')) return (await app.auth.clients.create(OPERATOR, { id: name, name })).client.id
  return (await app.auth.resources.create(OPERATOR, { id: name, name, identifier: `https://${name}.example` })).id
}

/** Returns the id for the last parameter of the path: of a new session of the owner, or of the client's first secret. Else ''. */
async function makePart(path: string, owner: string | undefined): Promise<string> {
  if (path.includes('{secret}')) return (await app.auth.clients.secrets(owner ?? ''))[0]?.id as string
  if (path.includes('{client}')) {
    await sql(world, `insert into consents values ('${adminId}', 'api', 'profile', 0, 0) on conflict do nothing`)
    return 'api'
  }
  if (!path.includes('{session}')) return ''
  await login(owner === undefined ? 'admin' : (await app.auth.users.get(owner)).username)
  const { items } = await app.auth.sessions.list(owner ?? adminId, { after: null, limit: 100 })
  return items.at(-1)?.id as string
}

/** The ids in the path of a request. */
interface Place {
  id: string | undefined
  part: string
}

async function makePlace(path: string): Promise<Place> {
  const id = await makeOne(path)
  return { id, part: await makePart(path, id) }
}

/** The places of requests that are not given one, by path. */
const places = new Map<string, Place>()

async function placeOf(path: string): Promise<Place> {
  const place = places.get(path) ?? (await makePlace(path))
  places.set(path, place)
  return place
}

/**
 * Returns an authorization request. A form without `more` is too long for a URL, so the response is a page and not a redirect to the
 * same request as a query.
 */
function authorize(method: string, more?: Record<string, string>) {
  const params = { response_type: 'code', client_id: 'docs', code_challenge_method: 'S256', ...more }
  const query = new URLSearchParams({ code_challenge: NO_KEY, ...params })
  if (method === 'GET') return { method: 'GET' as const, url: `/authorize?${query}`, headers: {} }
  if (more === undefined) for (let times = 0; times < 11; times++) query.append('resource', 'x'.padEnd(1000, 'x'))
  return { method: 'POST' as const, url: '/authorize', headers: FORM, payload: query.toString() }
}

/** Returns a request for a logout: of alice, who is signed in, or as a form. */
async function signOut(method: string) {
  if (method === 'POST') return { method: 'POST' as const, url: '/logout', headers: FORM, payload: 'state=x' }
  const jar = createJar(world)
  await jar.signIn('/sign-in')
  return { method: 'GET' as const, url: '/logout', headers: { cookie: `latchkey=${jar.cookies.get('latchkey')}` } }
}

/** Returns a request that succeeds. @param at by default the shared place of the path */
async function request(name: string, at?: Place): Promise<InjectOptions & { url: string; headers: object }> {
  const [method, path = ''] = name.split(' ') as ['GET', string]
  // The next key must have been published long enough.
  if (path === '/keys/rotate') await sql(world, `update signing_keys set created_at = 0 where state = 'next'`)
  const { id, part } = at ?? (await placeOf(path))
  const url = path.replace(/\{(session|secret|client)\}/, part).replace(/\{\w+\}/, id ?? '')
  const body = BODIES[name]?.valid
  if (path === '/logout') return signOut(method)
  if (path === '/authorize') return authorize(method)
  // The session of the token that the tests use stays.
  if (name === 'DELETE /users/me/sessions') return { method, url: `${url}?except=current`, headers: ADMIN }
  if (path === '/resource-scopes') return { method, url: `${url}?resource=${ISSUER}`, headers: FOLLOWER }
  if (path === '/revocations') return { method, url, headers: FOLLOWER }
  if (path === '/token') return { method, url, headers: FORM, payload: form() }
  if (name === 'POST /userinfo') return { method, url, headers: { ...FORM, ...ADMIN }, payload: '' }
  if (path === '/revoke') return { method, url, headers: FORM, payload: 'token=unknown' }
  if (path === '/introspect')
    return { method, url, headers: FORM, payload: `token=x&client_id=api&client_secret=${secret}` }
  return { method, url, headers: ADMIN, ...(body === undefined ? {} : { payload: body }) }
}

/** Runs while every method of the store of an app fails. */
async function failing<T>(error: Error, run: () => Promise<T>, failed = app): Promise<T> {
  const store = failed.store as unknown as Record<string, unknown>
  const replaceMethods = (holder: Record<string, unknown>): (() => void)[] =>
    Object.entries(holder).flatMap(([name, value]) => {
      if (typeof value === 'object' && value !== null) return replaceMethods(value as Record<string, unknown>)
      if (typeof value !== 'function') return []
      holder[name] = () => Promise.reject(error)
      return [() => Object.assign(holder, { [name]: value })]
    })
  const restore = replaceMethods(store)
  try {
    return await run()
  } finally {
    for (const each of restore) each()
  }
}

/** Revokes access tokens of one session until the quota of the user is used up. */
async function revokeTooMany(): Promise<LightMyRequestResponse> {
  const login = { grant_type: 'password', username: 'admin', password: PASSWORD, scope: 'profile' }
  let { access_token: token, refresh_token } = (await limited.token(login)).json()
  for (let times = 0; times <= REVOCATION_QUOTA.user.burst; times++) {
    const response = await limited.inject({ url: '/revoke', method: 'POST', headers: FORM, payload: `token=${token}` })
    if (response.statusCode !== 200) return response
    const next = await limited.token({ grant_type: 'refresh_token', refresh_token })
    ;({ access_token: token, refresh_token } = next.json())
  }
  throw new Error('no token was refused')
}

/** By status: sends a request to an operation that gets this status. */
const PRODUCE: Record<string, (name: string) => Promise<{ statusCode: number }>> = {
  async success(name) {
    const [, path = ''] = name.split(' ')
    const place = await makePlace(path)
    if (path !== '/revoke') return app.inject(await request(name, place))
    const { refresh_token: token } = (await world.token(form())).json()
    return app.inject({ ...(await request(name, place)), payload: `token=${token}` })
  },
  async 303(name) {
    const [method, path] = name.split(' ') as ['GET', string]
    if (path === '/authorize') return app.inject(authorize(method, { prompt: 'none' }))
    return app.inject(path === '/logout' ? { url: path, method, headers: FORM } : await request(name))
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
    return app.inject(await request(name, { id: name.includes('{name}') ? 'nothing' : unknown, part: NOBODY }))
  },
  async 409(name) {
    // The first rotation publishes a new next key, which may not sign yet.
    if (name === 'POST /keys/rotate') {
      await app.inject(await request(name))
      return app.inject({ method: 'POST', url: '/keys/rotate', headers: ADMIN })
    }
    const { id, body } = BODIES[name]?.conflict ?? {}
    const place = id === undefined ? undefined : { id, part: '' }
    return app.inject({ ...(await request(name, place)), ...(body === undefined ? {} : { payload: body }) })
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
    if (name === 'POST /revoke') return revokeTooMany()
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
    // An app that has read the JWKS before sends it again.
    const { app: failed } = name === 'GET /.well-known/jwks.json' ? limited : world
    return failing(
      new DomainError('unavailable', 'planted by a test', { retryAfter: 1 }),
      () => failed.inject(sent),
      failed
    )
  }
}

await app.auth.users.change(
  OPERATOR,
  (await app.auth.users.list({ after: null, limit: 2 }, {})).items.find(({ username }) => username === 'alice')
    ?.id as string,
  { email: 'taken@example.com' }
)

// `build` fails a test whose answer is not in the document: by status, media type, headers or body.
for (const { name, operation } of operations) {
  const [success = '', ...refusals] = Object.keys(operation.responses).toSorted()
  t.test(`${name} answers ${[success, ...refusals].join(', ')} as documented, and no other status`, async (t) => {
    const statuses = [String((await PRODUCE.success?.(name))?.statusCode)]
    for (const status of refusals) statuses.push(String((await PRODUCE[status]?.(name))?.statusCode))
    t.strictSame(statuses, [success, ...refusals])
    const others = Object.keys(PRODUCE).filter((status) => !['success', '429', ...refusals].includes(status))
    for (const status of others) {
      const answer = String((await PRODUCE[status]?.(name))?.statusCode)
      if (!(answer in operation.responses)) t.fail(`${answer} instead of ${status}`)
    }
  })
}

t.test('every body in the document has an example, and every example is valid', async (t) => {
  const examples = (schema: { $ref?: string }): unknown[] =>
    document.components.schemas[schema.$ref?.split('/').at(-1) as string]?.examples ?? []
  const invalid: string[] = []
  for (const { name, operation } of operations) {
    const bodies = [operation.requestBody, ...Object.values(operation.responses)]
    for (const { schema, example } of bodies.flatMap((body) => Object.values(body?.content ?? {}))) {
      const given = example === undefined ? examples(schema) : [example]
      if (given.length === 0) invalid.push(`${name} has no example of ${JSON.stringify(schema)}`)
      const validate = validator(schema)
      for (const each of given) if (!validate(each)) invalid.push(`${name}: ${JSON.stringify(validate.errors)}`)
    }
  }
  t.strictSame(invalid, [])
})
