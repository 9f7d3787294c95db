import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import { randomUUIDv7 } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Client } from '../../src/domain/model.ts'
import { build, createDatabase, type Database, onEachDatabase, PASSWORD, type TestApp } from '../helper.ts'
import { IDLE, Model, type ModelAccessToken, type ModelSession } from './session-model.ts'

/**
 * How many sequences run by default. PostgreSQL costs most of the time, and the conformance suite of the store checks
 * its SQL, so it gets fewer. With LATCHKEY_ROUNDS both databases run 1.4 times that number.
 */
const DEFAULT_SEQUENCES: Record<Database, number> = { sqlite: 8, postgres: 2 }
const { LATCHKEY_ROUNDS: rounds } = process.env
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))

const PASSWORDS = [PASSWORD, 'nineteen purple elephants', 'a ladder made of rain'] as const
const WRONG = 'a wrong one'
const ROLES = [['user', 'reader'], ['user'], ['user', 'reader'], ['user'], ['reader'], []]

/** One user on two instances that share a database. */
interface World {
  model: Model
  apps: readonly [TestApp, TestApp]
  user: { id: string; username: string }
  /** The client that introspects tokens. */
  asker: Client
  count: (outcome: string) => void
}

const pick = <T>(list: readonly T[], n: number): T | undefined => list[n % list.length]
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const sidOf = (token: string): string => JSON.parse(String(Buffer.from(token.split('.')[1] ?? '', 'base64url'))).sid

function advance({ apps, model }: World, milliseconds: number): void {
  for (const { clock } of apps) clock.advance(milliseconds / 1000)
  model.now += milliseconds
}

async function login({ model, user, count }: World, app: TestApp, n: number): Promise<void> {
  const scope = n % 3 === 0 ? 'account' : 'account users:read'
  const password = n % 7 === 0 ? WRONG : model.password
  const response = await app.token({ grant_type: 'password', username: user.username, password, scope })
  const scopes = model.allowed(scope.split(' '))
  if (password === WRONG || !model.enabled || scopes.length === 0) {
    const error = password === WRONG || !model.enabled ? 'invalid_grant' : 'invalid_scope'
    deepStrictEqual([response.statusCode, response.json().error], [400, error])
    return count(error)
  }
  equal(response.statusCode, 200, response.body)
  const { access_token, refresh_token, scope: granted } = response.json()
  deepStrictEqual(granted.split(' ').sort(), scopes)
  model.issue(model.open(sidOf(access_token), scopes, refresh_token), access_token, scopes)
  count('opened')
}

async function renew(
  { model, count }: World,
  app: TestApp,
  { session, counter, scope }: { session: ModelSession; counter: number; scope?: string }
): Promise<void> {
  const { refreshTokens } = session
  const form = { grant_type: 'refresh_token', refresh_token: refreshTokens[counter] as string }
  const response = await app.token(scope === undefined ? form : { ...form, scope })
  const { error, ...granted } = response.json()
  const scopes = model.allowed(session.scopes).filter((name) => scope === undefined || scope.split(' ').includes(name))
  const outcome = model.renewal(session, counter, scopes)
  count(outcome)
  if (outcome !== 'rotated' && outcome !== 'retried') {
    // A sweep may have removed an ended session with its scopes, or not.
    const errors = {
      'no session': ['invalid_grant', 'invalid_scope'],
      disabled: ['invalid_grant'],
      replayed: ['invalid_grant'],
      invalid_scope: ['invalid_scope']
    }[outcome]
    equal(response.statusCode, 400, response.body)
    ok(errors.includes(error), `${outcome}: ${error}`)
    if (outcome === 'replayed') model.end([session])
    return
  }
  equal(response.statusCode, 200, response.body)
  deepStrictEqual(granted.scope.split(' ').sort(), scopes)
  equal(sidOf(granted.access_token), session.id)
  if (outcome === 'retried') equal(granted.refresh_token, refreshTokens.at(-1), 'a retry returns another successor')
  else {
    ok(!refreshTokens.includes(granted.refresh_token), 'the successor is a previous token')
    model.rotate(session, granted.refresh_token)
  }
  model.issue(session, granted.access_token, scopes)
}

/** Returns one of the sessions, in seven of eight cases an active one. */
const someSession = ({ model }: World, n: number) =>
  n % 8 === 0 || model.activeSessions().length === 0
    ? pick(model.sessions, n >> 3)
    : pick(model.activeSessions(), n >> 3)

/** Returns one of the access tokens, in seven of eight cases a valid one. */
const someToken = ({ model }: World, n: number) => {
  const valid = model.accessTokens.filter((token) => model.status(token) === 200)
  return n % 8 === 0 || valid.length === 0 ? pick(model.accessTokens, n >> 3) : pick(valid, n >> 3)
}

type Action = (world: World, app: TestApp, n: number) => Promise<void>

/**
 * Returns an action that sends a request with one of the access tokens.
 * @param send returns the response, and the status that is expected if the token is valid
 */
const withToken =
  (
    send: (
      world: World & { token: ModelAccessToken },
      app: TestApp,
      n: number
    ) => Promise<{ response: { statusCode: number; body: string }; expected: number }>
  ): Action =>
  async (world, app, n) => {
    const token = someToken(world, n)
    if (token === undefined) return
    const status = world.model.status(token)
    const { response, expected } = await send({ ...world, token }, app, n)
    equal(response.statusCode, status === 200 ? expected : status, response.body)
    world.count(String(response.statusCode))
  }

async function revoke({ inject }: TestApp, token: string): Promise<void> {
  const payload = new URLSearchParams({ token }).toString()
  const { statusCode } = await inject({ method: 'POST', url: '/revoke', headers: FORM, payload })
  equal(statusCode, 200)
}

const actions: Record<string, { weight: number; act: Action }> = {
  login: { weight: 12, act: login },
  refresh: {
    weight: 16,
    async act(world, app, n) {
      const session = someSession(world, n)
      if (session === undefined) return
      const counter = session.refreshTokens.length - 1
      await renew(world, app, { session, counter, ...(n % 5 === 0 ? { scope: 'account' } : {}) })
    }
  },
  retry: {
    weight: 8,
    async act(world, app, n) {
      const session = someSession(world, n)
      if (session === undefined) return
      await renew(world, app, { session, counter: Math.max(0, session.refreshTokens.length - 2) })
    }
  },
  replay: {
    weight: 2,
    async act(world, app, n) {
      const session = someSession(world, n)
      if (session === undefined) return
      await renew(world, app, { session, counter: (n >> 5) % session.refreshTokens.length })
    }
  },
  'revoke refresh token': {
    weight: 2,
    async act(world, app, n) {
      const session = someSession(world, n)
      if (session === undefined) return
      await revoke(app, pick(session.refreshTokens, n >> 5) as string)
      world.model.end([session])
    }
  },
  'revoke access token': {
    weight: 4,
    async act(world, app, n) {
      const token = someToken(world, n)
      if (token === undefined) return
      await revoke(app, token.token)
      token.revoked = true
    }
  },
  'end a session': {
    weight: 2,
    act: withToken(async ({ token: { token, session }, ...world }, { send }, n) => {
      const { model } = world
      const other = someSession(world, n >> 4) ?? session
      const expected = model.canBeEnded(other) ? 204 : 404
      const response = await send(token, 'DELETE', `/users/me/sessions/${other.id}`)
      if (response.statusCode === 204) model.end([other])
      return { response, expected }
    })
  },
  'end all sessions': {
    weight: 1,
    act: withToken(async ({ token: { token, session }, model }, { send }, n) => {
      const [query, kept] = n % 3 === 0 ? ['', null] : ['?except=current', session]
      const response = await send(token, 'DELETE', `/users/me/sessions${query}`)
      if (response.statusCode === 204) model.end(model.activeSessions().filter((each) => each !== kept))
      return { response, expected: 204 }
    })
  },
  'list sessions': {
    weight: 2,
    act: withToken(async ({ token: { token }, model }, { get }) => {
      const response = await get('/users/me/sessions', token)
      const idsOf = (list: { id: string }[]) => list.map(({ id }) => id).sort()
      if (response.statusCode === 200) deepStrictEqual(idsOf(response.json().items), idsOf(model.activeSessions()))
      return { response, expected: 200 }
    })
  },
  'change password': {
    weight: 2,
    act: withToken(async ({ token: { token, session }, model }, { send }, n) => {
      const next = pick(PASSWORDS, PASSWORDS.indexOf(model.password as typeof PASSWORD) + 1) as string
      const current = n % 5 === 0 ? WRONG : model.password
      const body = { current_password: current, new_password: next }
      const response = await send(token, 'POST', '/users/me/password', body)
      if (response.statusCode === 204) {
        model.password = next
        model.end(model.activeSessions().filter((each) => each !== session))
      }
      return { response, expected: current === WRONG ? 400 : 204 }
    })
  },
  'reset password': {
    weight: 1,
    async act({ model, user }, { app }, n) {
      model.password = pick(PASSWORDS, n) as string
      await app.auth.users.setPassword(OPERATOR, { id: user.id, password: model.password })
      model.end(model.activeSessions())
    }
  },
  disable: {
    weight: 1,
    async act({ model, user }, { app }) {
      await app.auth.users.change(OPERATOR, user.id, { disabled: true })
      if (model.enabled) model.end(model.activeSessions())
      model.enabled = false
    }
  },
  enable: {
    weight: 8,
    async act({ model, user }, { app }) {
      await app.auth.users.change(OPERATOR, user.id, { disabled: false })
      model.enabled = true
    }
  },
  'change roles': {
    weight: 4,
    async act({ model, user }, { app }, n) {
      model.roles = pick(ROLES, n) as string[]
      await app.auth.users.change(OPERATOR, user.id, { roles: model.roles })
    }
  },
  'wait seconds': {
    weight: 8,
    act: async (world, _, n) => advance(world, pick([1, 4000, 59_999, 60_000, 61_000], n) as number)
  },
  'wait minutes': {
    weight: 3,
    act: async (world, _, n) => advance(world, pick([60_000, 299_999, 300_000, 300_000, IDLE - 1, IDLE], n) as number)
  },
  'renew all day': {
    weight: 1,
    async act(world, app, n) {
      const session = pick(world.model.activeSessions(), n)
      for (let hour = 0; session !== undefined && hour < 13; hour++) {
        advance(world, IDLE - 1)
        await renew(world, app, { session, counter: session.refreshTokens.length - 1 })
      }
    }
  },
  sweep: { weight: 2, act: async (_, { app }) => void (await app.auth.removeExpired()) }
}

async function checkAccessToken({ model }: World, { get }: TestApp, token: ModelAccessToken): Promise<void> {
  const { statusCode, body } = await get('/users/me/sessions', token.token)
  equal(statusCode, model.status(token), `GET /users/me/sessions: ${body}`)
}

/** Checks a refresh token by introspection, which does not use it up. */
async function checkRefreshToken({ model, asker }: World, { app }: TestApp, session: ModelSession, counter: number) {
  const answer = await app.auth.introspect(asker, session.refreshTokens[counter] as string)
  equal(answer !== null, model.isCurrent(session, counter), `token ${counter} of ${session.refreshTokens.length}`)
}

/** Checks a few tokens after a step. */
async function checkSome(world: World, n: number): Promise<void> {
  const { model, apps } = world
  const [one, two] = apps
  for (const token of [someToken(world, n), pick(model.accessTokens, n)])
    if (token !== undefined) await checkAccessToken(world, n % 2 === 0 ? one : two, token)
  const session = someSession(world, n)
  if (session !== undefined) {
    const { length } = session.refreshTokens
    for (const counter of new Set([length - 1, n % length]))
      await checkRefreshToken(world, n % 2 === 0 ? two : one, session, counter)
  }
  // A refresh in an ended session revives nothing.
  const ended = model.sessions.filter((each) => !model.isActive(each))
  const other = pick(ended, n)
  if (other !== undefined && n % 4 === 0)
    await renew(world, one, { session: other, counter: n % other.refreshTokens.length })
}

async function checkAll(world: World): Promise<void> {
  const { model, apps } = world
  for (const [index, token] of model.accessTokens.entries())
    await checkAccessToken(world, pick(apps, index) as TestApp, token)
  for (const session of model.sessions) {
    for (const counter of session.refreshTokens.keys()) await checkRefreshToken(world, apps[0], session, counter)
    await renew(world, apps[1], { session, counter: session.refreshTokens.length - 1 })
  }
}

const steps = fc.array(
  fc.tuple(
    fc.oneof(...Object.entries(actions).map(([name, { weight }]) => ({ weight, arbitrary: fc.constant(name) }))),
    fc.nat(2 ** 16)
  ),
  { minLength: 1, maxLength: 50, size: 'max' }
)

onEachDatabase(t, 'after any sequence of actions exactly the valid tokens work [RF IR SC]', async (t, database) => {
  const sequences = rounds === undefined ? DEFAULT_SEQUENCES[database] : Math.ceil(1.4 * Number(rounds))
  t.comment(`${sequences} sequences: repeat them with LATCHKEY_SEED=${seed} and the same LATCHKEY_ROUNDS`)
  const at = await createDatabase(t, database, 'ready')
  const apps = [await build(t, { at }), await build(t, { at })] as const
  const [{ app, clock, createUser }] = apps
  const reader = { name: 'reader', description: '', scopes: ['users:read'], now: clock.now() }
  await app.store.roles.create(OPERATOR, reader)
  const docs = (await app.store.clients.get('docs')) as Client
  const asker: Client = { ...docs, id: 'asker', kind: 'confidential', scopes: ['tokens:introspect'], defaultScopes: [] }
  await app.store.clients.create(OPERATOR, { client: asker, secret: null })
  await app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: ['asker'] })
  const counts: Record<string, number> = {}
  let done = 0

  await fc.assert(
    fc.asyncProperty(fc.noBias(steps), async (sequence) => {
      const username = randomUUIDv7()
      const user = { id: await createUser(username, ['user', 'reader']), username }
      let name = 'first'
      const count = (outcome: string) => {
        counts[`${name}: ${outcome}`] = (counts[`${name}: ${outcome}`] ?? 0) + 1
      }
      const world: World = { model: new Model(clock.now(), PASSWORD), apps, user, asker, count }
      for (const n of [1, 2]) await login(world, apps[0], n)
      for (const [next, n] of sequence) {
        name = next
        await (actions[name] as { act: Action }).act(world, pick(apps, n >> 1) as TestApp, n)
        done++
        name = 'after'
        await checkSome(world, n)
      }
      await checkAll(world)
    }),
    { numRuns: sequences, seed }
  )
  t.comment(`${done} steps: ${JSON.stringify(counts)}`)
  const expected = [
    'login: opened',
    'refresh: rotated',
    'refresh: no session',
    'retry: retried',
    'retry: replayed',
    'replay: replayed',
    'renew all day: rotated',
    'renew all day: no session',
    'change password: 204',
    'end a session: 204'
  ]
  const missing = expected.filter((outcome) => counts[outcome] === undefined)
  // A short run may miss a rare outcome by chance.
  const isLong = sequences >= 70
  t.ok(done >= (isLong ? 14 * sequences : 1), `${done} steps`)
  if (isLong) t.strictSame(missing, [])
})
