import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import { randomUUIDv7 } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Client } from '../../src/domain/model.ts'
import { build, createDatabase, onEachDatabase, PASSWORD, type TestApp } from '../helper.ts'

const ROUNDS = Number(process.env.LATCHKEY_ROUNDS ?? 20)
const STEPS = 20 * ROUNDS
/** One has 25 steps or so; enough of them that all together surely have as many as are asked for. */
const SEQUENCES = Math.ceil(1.4 * ROUNDS)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed}, ${SEQUENCES} sequences: repeat it with LATCHKEY_SEED=${seed} LATCHKEY_ROUNDS=${ROUNDS}`)

const LEEWAY = 10_000
const ACCESS = 300_000
const IDLE = 3_600_000
const ABSOLUTE = 12 * 3_600_000
const PASSWORDS = [PASSWORD, 'nineteen purple elephants', 'a ladder made of rain'] as const
const ROLES = [['user', 'reader'], ['user'], ['user', 'reader'], ['user'], ['reader'], []]
const SCOPES: Record<string, string> = { user: 'profile', reader: 'users:read' }

interface AccessToken {
  token: string
  scopes: string[]
  /** In whole seconds, as the claim is. */
  expiresAt: number
  revoked: boolean
  session: ModelSession
}

interface ModelSession {
  id: string
  scopes: string[]
  /** By counter: the last one is current. */
  refreshTokens: string[]
  rotatedAt: number
  idleExpiresAt: number
  expiresAt: number
  ended: boolean
}

/** What must be true of one user, in a few lines and without a database. */
class Model {
  now: number
  enabled = true
  password: string = PASSWORD
  roles = ['user', 'reader']
  sessions: ModelSession[] = []
  accessTokens: AccessToken[] = []

  constructor(now: number) {
    this.now = now
  }

  allowed(scopes: string[]): string[] {
    return scopes.filter((scope) => this.roles.some((role) => SCOPES[role] === scope)).sort()
  }
  alive({ ended, idleExpiresAt }: ModelSession): boolean {
    return !ended && this.now < idleExpiresAt
  }
  /** A session can be ended for 60 s after it expired, by an instance whose clock is behind. */
  canBeEnded({ ended, idleExpiresAt }: ModelSession): boolean {
    return !ended && this.now - 60_000 < idleExpiresAt
  }
  living(): ModelSession[] {
    return this.sessions.filter((session) => this.alive(session))
  }
  end(sessions: ModelSession[]): void {
    for (const session of sessions) session.ended = true
  }
  /** The status of GET /users/me. */
  status({ session, scopes, expiresAt, revoked }: AccessToken): number {
    if (revoked || !this.enabled || this.now >= expiresAt || !this.alive(session)) return 401
    return this.allowed(scopes).includes('profile') ? 200 : 403
  }
  current(session: ModelSession, counter: number): boolean {
    const newest = counter === session.refreshTokens.length - 1
    return this.enabled && this.alive(session) && newest && this.allowed(session.scopes).length > 0
  }
}

/** One user on two instances, and what should be true of them. */
interface World {
  model: Model
  apps: readonly [TestApp, TestApp]
  user: { id: string; username: string }
  /** May ask about tokens. */
  asker: Client
  count: (what: string) => void
}

const pick = <T>(list: readonly T[], n: number): T | undefined => list[n % list.length]
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const sidOf = (token: string): string => JSON.parse(String(Buffer.from(token.split('.')[1] ?? '', 'base64url'))).sid

function advance({ apps, model }: World, milliseconds: number): void {
  for (const { clock } of new Set(apps)) clock.advance(milliseconds / 1000)
  model.now += milliseconds
}

function keep({ model }: World, session: ModelSession, token: string, scopes: string[]): void {
  const expiresAt = Math.floor(model.now / 1000) * 1000 + ACCESS
  model.accessTokens.push({ token, scopes, expiresAt, revoked: false, session })
}

async function login(world: World, app: TestApp, n: number): Promise<void> {
  const { model, user, count } = world
  const scope = n % 3 === 0 ? 'profile' : 'profile users:read'
  const password = n % 7 === 0 ? 'a wrong one' : model.password
  const response = await app.token({ grant_type: 'password', username: user.username, password, scope })
  const scopes = model.allowed(scope.split(' '))
  if (password !== model.password || !model.enabled || scopes.length === 0) {
    const error = password !== model.password || !model.enabled ? 'invalid_grant' : 'invalid_scope'
    deepStrictEqual([response.statusCode, response.json().error], [400, error])
    return count(error)
  }
  equal(response.statusCode, 200, response.body)
  const { access_token, refresh_token, scope: granted } = response.json()
  deepStrictEqual(granted.split(' ').sort(), scopes)
  const expiresAt = model.now + ABSOLUTE
  const session = {
    id: sidOf(access_token),
    scopes,
    refreshTokens: [refresh_token],
    rotatedAt: 0,
    idleExpiresAt: model.now + IDLE,
    expiresAt,
    ended: false
  }
  model.sessions.push(session)
  keep(world, session, access_token, scopes)
  count('opened')
}

async function renew(world: World, app: TestApp, session: ModelSession, counter: number, scope?: string) {
  const { model, count } = world
  const { refreshTokens } = session
  const refresh_token = refreshTokens[counter] as string
  const response = await app.token({
    grant_type: 'refresh_token',
    refresh_token,
    ...(scope === undefined ? {} : { scope })
  })
  const { error, ...answer } = response.json()
  const scopes = model.allowed(session.scopes).filter((name) => scope === undefined || scope.split(' ').includes(name))
  const refused = (expected: string, what: string) => {
    deepStrictEqual([response.statusCode, error], [400, expected], what)
    count(what)
  }
  // What has ended is swept away at some time; then nothing is known of its scopes.
  if (!model.alive(session)) return refused(error === 'invalid_scope' ? error : 'invalid_grant', 'dead')
  if (!model.enabled) return refused('invalid_grant', 'disabled')

  const isCurrent = counter === refreshTokens.length - 1
  const isRetry = counter === refreshTokens.length - 2 && model.now - session.rotatedAt < LEEWAY
  if (!isCurrent && !isRetry) {
    model.end([session])
    return refused('invalid_grant', 'reused')
  }
  if (scopes.length === 0) return refused('invalid_scope', 'invalid_scope')
  equal(response.statusCode, 200, response.body)
  deepStrictEqual(answer.scope.split(' ').sort(), scopes)
  equal(sidOf(answer.access_token), session.id)
  if (isRetry) equal(answer.refresh_token, refreshTokens.at(-1), 'a retry gets another successor')
  else {
    ok(!refreshTokens.includes(answer.refresh_token), 'a successor is no new one')
    refreshTokens.push(answer.refresh_token)
    session.rotatedAt = model.now
    session.idleExpiresAt = Math.min(model.now + IDLE, session.expiresAt)
  }
  keep(world, session, answer.access_token, scopes)
  count(isRetry ? 'retried' : 'rotated')
}

/** Mostly one that lives. */
const someSession = ({ model }: World, n: number) =>
  n % 8 === 0 || model.living().length === 0 ? pick(model.sessions, n >> 3) : pick(model.living(), n >> 3)

/** Mostly one that is good. */
const someToken = ({ model }: World, n: number) => {
  const good = model.accessTokens.filter((token) => model.status(token) === 200)
  return n % 8 === 0 || good.length === 0 ? pick(model.accessTokens, n >> 3) : pick(good, n >> 3)
}

/** A request with an access token, which may be good no more; what else it does when it is. */
async function withToken(
  world: World,
  n: number,
  act: (token: AccessToken) => Promise<{ statusCode: number; body: string; expected: number }>
): Promise<void> {
  const token = someToken(world, n)
  if (token === undefined) return
  const status = world.model.status(token)
  const { statusCode, body, expected } = await act(token)
  equal(statusCode, status === 200 ? expected : status, body)
  world.count(String(statusCode))
}

type Action = (world: World, app: TestApp, n: number) => Promise<void>

const actions: Record<string, { weight: number; act: Action }> = {
  login: { weight: 12, act: login },
  refresh: {
    weight: 16,
    async act(world, app, n) {
      const session = someSession(world, n)
      if (session !== undefined)
        await renew(world, app, session, session.refreshTokens.length - 1, n % 5 === 0 ? 'profile' : undefined)
    }
  },
  retry: {
    weight: 8,
    async act(world, app, n) {
      const session = someSession(world, n)
      if (session !== undefined) await renew(world, app, session, Math.max(0, session.refreshTokens.length - 2))
    }
  },
  replay: {
    weight: 2,
    async act(world, app, n) {
      const session = someSession(world, n)
      if (session !== undefined) await renew(world, app, session, (n >> 5) % session.refreshTokens.length)
    }
  },
  'revoke refresh token': {
    weight: 2,
    async act(world, { inject }, n) {
      const session = someSession(world, n)
      if (session === undefined) return
      const token = pick(session.refreshTokens, n >> 5) as string
      const payload = new URLSearchParams({ token }).toString()
      const { statusCode } = await inject({ method: 'POST', url: '/revoke', headers: FORM, payload })
      equal(statusCode, 200)
      world.model.end([session])
    }
  },
  'revoke access token': {
    weight: 4,
    async act(world, { inject }, n) {
      const token = someToken(world, n)
      if (token === undefined) return
      const payload = new URLSearchParams({ token: token.token }).toString()
      const { statusCode } = await inject({ method: 'POST', url: '/revoke', headers: FORM, payload })
      equal(statusCode, 200)
      token.revoked = true
    }
  },
  'end a session': {
    weight: 2,
    act: (world, { send }, n) =>
      withToken(world, n, async ({ token, session }) => {
        const { model } = world
        const other = someSession(world, n >> 4) ?? session
        const expected = model.canBeEnded(other) ? 204 : 404
        const { statusCode, body } = await send(token, 'DELETE', `/users/me/sessions/${other.id}`)
        if (statusCode === 204) model.end([other])
        return { statusCode, body, expected }
      })
  },
  'end all sessions': {
    weight: 1,
    act: (world, { send }, n) =>
      withToken(world, n, async ({ token, session }) => {
        const { model } = world
        const kept = n % 3 === 0 ? [] : [session]
        const { statusCode, body } = await send(
          token,
          'DELETE',
          `/users/me/sessions${n % 3 === 0 ? '' : '?except=current'}`
        )
        if (statusCode === 204) model.end(model.living().filter((each) => !kept.includes(each)))
        return { statusCode, body, expected: 204 }
      })
  },
  'list sessions': {
    weight: 2,
    act: (world, { get }, n) =>
      withToken(world, n, async ({ token }) => {
        const { model } = world
        const response = await get('/users/me/sessions', token)
        if (response.statusCode === 200)
          deepStrictEqual(
            response.json<{ items: { id: string }[] }>().items.map(({ id }) => id),
            model
              .living()
              .map(({ id }) => id)
              .sort()
          )
        return { statusCode: response.statusCode, body: response.body, expected: 200 }
      })
  },
  'change password': {
    weight: 2,
    act: (world, { send }, n) =>
      withToken(world, n, async ({ token, session }) => {
        const { model } = world
        const next = pick(PASSWORDS, PASSWORDS.indexOf(model.password as typeof PASSWORD) + 1) as string
        const right = n % 5 !== 0
        const body = { current_password: right ? model.password : 'a wrong one', new_password: next }
        const response = await send(token, 'POST', '/users/me/password', body)
        if (response.statusCode === 204) {
          model.password = next
          model.end(model.living().filter((each) => each !== session))
        }
        return { statusCode: response.statusCode, body: response.body, expected: right ? 204 : 400 }
      })
  },
  'reset password': {
    weight: 1,
    async act({ model, user }, { app }, n) {
      model.password = pick(PASSWORDS, n) as string
      await app.auth.users.setPassword(OPERATOR, { id: user.id, password: model.password })
      model.end(model.living())
    }
  },
  disable: {
    weight: 1,
    async act({ model, user }, { app }) {
      await app.auth.users.change(OPERATOR, user.id, { disabled: true })
      if (model.enabled) model.end(model.living())
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
  'a moment': {
    weight: 8,
    act: async (world, _, n) => advance(world, pick([1, 4000, 9999, 10_000, 11_000], n) as number)
  },
  'a while': {
    weight: 3,
    act: async (world, _, n) => advance(world, pick([60_000, 299_999, 300_000, 300_000, IDLE - 1, IDLE], n) as number)
  },
  'a day of renewals': {
    weight: 1,
    async act(world, app, n) {
      const session = pick(world.model.living(), n)
      for (let hour = 0; session !== undefined && hour < 13; hour++) {
        advance(world, IDLE - 1)
        await renew(world, app, session, session.refreshTokens.length - 1)
      }
    }
  },
  sweep: { weight: 2, act: async (_, { app }) => void (await app.auth.removeExpired()) }
}

async function checkAccessToken({ model }: World, { get }: TestApp, token: AccessToken): Promise<void> {
  const { statusCode, body } = await get('/users/me', token.token)
  equal(statusCode, model.status(token), `GET /users/me: ${body}`)
}

/** Without using it. */
async function checkRefreshToken({ model, asker }: World, { app }: TestApp, session: ModelSession, counter: number) {
  const answer = await app.auth.introspect(asker, session.refreshTokens[counter] as string)
  equal(answer !== null, model.current(session, counter), `refresh token ${counter} of ${session.refreshTokens.length}`)
}

/** A few tokens after each step. */
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
  // It ends no session, and brings none back.
  const dead = pick(
    model.sessions.filter((each) => !model.alive(each)),
    n
  )
  if (dead !== undefined && n % 4 === 0) await renew(world, one, dead, n % dead.refreshTokens.length)
}

async function checkAll(world: World): Promise<void> {
  const { model, apps } = world
  for (const [index, token] of model.accessTokens.entries())
    await checkAccessToken(world, pick(apps, index) as TestApp, token)
  for (const session of model.sessions) {
    for (const counter of session.refreshTokens.keys()) await checkRefreshToken(world, apps[0], session, counter)
    await renew(world, apps[1], session, session.refreshTokens.length - 1)
  }
}

const steps = fc.array(
  fc.tuple(
    fc.oneof(...Object.entries(actions).map(([name, { weight }]) => ({ weight, arbitrary: fc.constant(name) }))),
    fc.nat(2 ** 16)
  ),
  { minLength: 1, maxLength: 50, size: 'max' }
)

onEachDatabase(
  t,
  'RF IR SC whatever happens in whatever order, exactly those tokens are good that should be',
  async (t, database) => {
    const at = await createDatabase(t, database, 'ready')
    const apps = [await build(t, { at }), await build(t, { at })] as const
    const [{ app, clock, createUser }] = apps
    await app.store.roles.create(OPERATOR, {
      name: 'reader',
      description: '',
      scopes: ['users:read'],
      now: clock.now()
    })
    const docs = (await app.store.clients.get('docs')) as Client
    const asker: Client = {
      ...docs,
      id: 'asker',
      kind: 'confidential',
      scopes: ['tokens:introspect'],
      defaultScopes: []
    }
    await app.store.clients.create(OPERATOR, { client: asker, secret: null })
    await app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: ['asker'] })
    const counts: Record<string, number> = {}
    let done = 0

    await fc.assert(
      fc.asyncProperty(fc.noBias(steps), async (sequence) => {
        const username = randomUUIDv7()
        const user = { id: await createUser(username, ['user', 'reader']), username }
        let name = 'first'
        const count = (what: string) => {
          counts[`${name}: ${what}`] = (counts[`${name}: ${what}`] ?? 0) + 1
        }
        const world: World = { model: new Model(clock.now()), apps, user, asker, count }
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
      { numRuns: SEQUENCES, seed }
    )
    t.comment(`${done} steps: ${JSON.stringify(counts)}`)
    t.ok(done >= STEPS, `${done} steps`)
    const expected = [
      'login: opened',
      'refresh: rotated',
      'refresh: dead',
      'retry: retried',
      'retry: reused',
      'replay: reused',
      'a day of renewals: rotated',
      'a day of renewals: dead',
      'change password: 204',
      'end a session: 204'
    ]
    // A short run may miss a rare one by chance.
    const missing = expected.filter((what) => counts[what] === undefined)
    if (ROUNDS >= 50) t.strictSame(missing, [])
  }
)
