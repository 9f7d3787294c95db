import { randomUUIDv7 } from 'node:crypto'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { AuthorizationRequest } from '../../src/domain/ports/authorizations.ts'
import type { Login } from '../../src/domain/ports/logins.ts'
import { AUTHORIZATIONS_MAX } from '../../src/limits.ts'
import { addLogin, newLogin, openLogin } from './logins.ts'
import type { Opened } from './open.ts'
import {
  addClient,
  addSession,
  addUser,
  CLIENT,
  entriesAfter,
  LATEST,
  NOW,
  newKey,
  newSession,
  ROUNDS,
  sessionOf
} from './rows.ts'

const REQUEST: AuthorizationRequest = {
  clientId: CLIENT.id,
  redirectUri: 'https://app.example/callback',
  hasRedirectUri: true,
  responseMode: 'query',
  state: ' a state, byte for byte ',
  nonce: 'a nonce',
  scope: 'profile',
  resources: ['https://things.example'],
  codeChallenge: 'A'.repeat(43),
  prompts: ['consent'],
  maxAge: 60,
  loginHint: 'alice',
  expectedUser: null,
  uiLocales: ['de']
}
const CODE_END = NOW + 60_000

/** Authorization requests of users who have signed in, and what users allow. */
export function authorizations(t: Test, { kind, store, others, sql, hold }: Opened): void {
  async function signedIn() {
    const alice = await addUser(store)
    return { alice, login: await addLogin(store, alice.id) }
  }

  /** Adds an authorization with a code, or without one in the state `signed_in`. */
  async function add(
    { id: loginId }: Login,
    { codeHash = null as string | null, createdAt = NOW, clientId = CLIENT.id } = {}
  ) {
    const id = randomUUIDv7()
    const row = {
      id,
      loginId,
      request: { ...REQUEST, clientId },
      scopes: ['profile', 'things:read'],
      codeHash,
      createdAt
    }
    const isStored = await store.authorizations.add(OPERATOR, { ...row, expiresAt: CODE_END })
    return { id, isStored }
  }

  const redeem = (
    codeHash: string,
    login: Login,
    { at = store, authVersion = 1, rev = LATEST, now = NOW, session = newSession(login.userId) } = {}
  ) => at.authorizations.redeem(OPERATOR, { codeHash, session, authVersion, rev, now })

  const sessionsOf = (login: Login) =>
    sql(`select id, ended_at from sessions where login_id = '${login.id}'`) as Promise<
      { id: string; ended_at: number | null }[]
    >
  /** Returns as soon as a statement waits for a lock of PostgreSQL. */
  async function waitForLock(): Promise<void> {
    const waiting =
      'select 1 from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0'
    while ((await sql(waiting)).length === 0);
  }
  const stateOf = async (codeHash: string) => (await store.authorizations.find(codeHash))?.authorization.state

  t.test('an authorization is read by its login only, until it expires', async (t) => {
    const [{ login }, other] = [await signedIn(), await signedIn()]
    const { id, isStored } = await add(login)
    t.equal(isStored, true)
    const read = (loginId: string, now = NOW) => store.authorizations.get(id, { loginId, now })
    t.strictSame(await read(login.id), {
      id,
      login,
      request: REQUEST,
      state: 'signed_in',
      scopes: ['profile', 'things:read'],
      createdAt: NOW,
      expiresAt: CODE_END
    })
    t.equal(await read(other.login.id), null)
    t.equal(await read(login.id, CODE_END), null)
    await store.logins.end(OPERATOR, { id: login.id, userId: login.userId, now: NOW })
    t.equal((await add(login)).isStored, false, 'none begins after the end of the login')
    t.equal((await read(login.id))?.state, 'ended')
  })

  t.test('an answer to the question for consent counts once', async (t) => {
    const { alice, login } = await signedIn()
    const allow = (id: string, codeHash: string, { now = NOW, at = store } = {}) =>
      at.authorizations.allow(OPERATOR, { id, codeHash, scopes: ['profile'], now, expiresAt: CODE_END })
    const first = await add(login)
    t.equal(await allow(first.id, 'late', { now: CODE_END }), false)
    t.equal(await allow(first.id, `allowed ${first.id}`), true)
    t.equal(await allow(first.id, 'again'), false)
    const replaceCode = (id: string, { now = NOW, from = ['profile'], scopes = ['things:read'] } = {}) =>
      store.authorizations.replaceCode(OPERATOR, { id, codeHash: `replaced ${first.id}`, from, scopes, now })
    const waiting = await add(login)
    const all = ['profile', 'things:read']
    t.equal(await replaceCode(first.id, { from: all, scopes: all }), false, 'another answer has refused a scope')
    t.equal(await replaceCode(first.id, { from: all, scopes: ['profile'] }), true, 'the same answer twice')
    t.strictSame([await replaceCode(first.id, { now: CODE_END }), await replaceCode(waiting.id)], [false, false])
    t.equal(await replaceCode(first.id), true)
    t.equal(await store.authorizations.find(`allowed ${first.id}`), null, 'the earlier code is unknown')
    t.equal(await store.authorizations.deny(OPERATOR, { id: first.id, now: NOW }), false)
    const presented = await store.authorizations.find(`replaced ${first.id}`)
    t.equal(presented?.authorization.expiresAt, CODE_END)
    t.strictSame(presented?.authorization.scopes, ['things:read'], 'the last answer counts')
    t.match(presented, { sessionId: null, authorization: { state: 'code' } })
    t.match(await store.consents.get(alice.id, CLIENT.id), { scopes: ['profile'], createdAt: NOW })

    const second = await add(login)
    t.equal(await store.authorizations.deny(OPERATOR, { id: second.id, now: NOW }), true)
    t.equal(await allow(second.id, 'after a refusal'), false)

    const wins: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const { id } = await add(login)
      const results = await Promise.all(others.slice(0, 3).map((at, index) => allow(id, `race ${id} ${index}`, { at })))
      wins.push(results.filter(Boolean).length)
    }
    t.strictSame(wins, Array(ROUNDS).fill(1), 'also of concurrent answers')
  })

  t.test('consents add up, and the removal of one ends the sessions and the codes of the client', async (t) => {
    const { alice, login } = await signedIn()
    for (const scopes of [['profile'], ['things:read']]) {
      const { id } = await add(login)
      const allowing = { id, codeHash: id, scopes, now: NOW, expiresAt: CODE_END }
      await store.authorizations.allow(OPERATOR, allowing)
    }
    t.match(await store.consents.list(alice.id, { after: null, limit: 10 }), [
      { userId: alice.id, clientId: CLIENT.id, scopes: ['profile', 'things:read'] }
    ])
    const { id } = await add(login, { codeHash: `code ${login.id}` })
    t.equal(await redeem(`code ${login.id}`, login), 'opened', id)
    const [later, { id: other }] = [`later ${login.id}`, await addClient(store)]
    await add(login, { codeHash: later })
    await add(login, { codeHash: `other ${login.id}`, clientId: other })
    const remove = () => store.consents.remove(OPERATOR, { userId: alice.id, clientId: CLIENT.id, now: NOW })
    t.strictSame([await remove(), await remove()], [true, false])
    t.match(await sessionsOf(login), [{ ended_at: NOW }])
    t.equal(await store.consents.get(alice.id, CLIENT.id), null)
    t.equal(await redeem(later, login), 'refused')
    t.equal(await stateOf(`other ${login.id}`), 'code', 'the code of another client stays')
  })

  t.test('a session belongs to the login that has replaced the login of its code in the meantime', async (t) => {
    const { alice, login } = await signedIn()
    const code = `code ${login.id}`
    await add(login, { codeHash: code })
    const next = newLogin(alice.id)
    await openLogin(store, next, login.id)
    t.equal(await redeem(code, login), 'opened')
    t.strictSame([(await sessionsOf(login)).length, (await sessionsOf(next)).length], [0, 1])
  })

  t.test('a code opens one session, and its second use ends that session [AC5]', async (t) => {
    const { login } = await signedIn()
    const code = `code ${login.id}`
    await add(login, { codeHash: code })
    t.equal(await redeem('unknown', login), 'refused')
    t.equal(await redeem(code, login, { now: CODE_END }), 'refused', 'it expires [AC6]')
    const before = await store.revocations.seq()
    t.equal(await redeem(code, login), 'opened')
    t.match(await sessionsOf(login), [{ ended_at: null }])
    t.equal(await redeem(code, login), 'replayed')
    t.match(await sessionsOf(login), [{ ended_at: NOW }])
    t.match(await entriesAfter(store, before), [{ kind: 'session' }])
    t.equal(await redeem(code, login), 'replayed')
    t.equal((await entriesAfter(store, before)).length, 1)
    t.equal(await stateOf(code), 'redeemed')
  })

  t.test('the second use of a code ends its session also after the end of the login [AC5]', async (t) => {
    const [{ login }, { id: clientId }] = [await signedIn(), await addClient(store, { firstParty: false })]
    const code = `code ${login.id}`
    await add(login, { codeHash: code, clientId })
    const session = newSession(login.userId, { clientId })
    t.equal(await redeem(code, login, { session }), 'opened')
    await store.logins.end(OPERATOR, { id: login.id, userId: login.userId, now: NOW })
    const now = NOW + 600_000
    await store.expiry.prune(now)
    t.equal(await redeem(code, login, { session, now }), 'replayed')
    t.match(await sessionOf(store, session.id), { endedAt: now })
  })

  t.test('a burnt code opens nothing, and burning a redeemed code ends its session [AC4]', async (t) => {
    const { login } = await signedIn()
    const burn = (codeHash: string) => store.authorizations.burn(OPERATOR, { codeHash, now: NOW })
    await add(login, { codeHash: `burnt ${login.id}` })
    t.strictSame([await burn(`burnt ${login.id}`), await burn(`burnt ${login.id}`)], [true, false])
    t.equal(await redeem(`burnt ${login.id}`, login), 'refused')
    await add(login, { codeHash: `used ${login.id}` })
    await redeem(`used ${login.id}`, login)
    t.strictSame([await burn(`used ${login.id}`), await burn(`used ${login.id}`)], [true, false])
    t.match(await sessionsOf(login), [{ ended_at: NOW }])
    t.equal(await burn('unknown'), false)
  })

  t.test('a code is invalid when login, user or client changed since [SC5 SC6]', async (t) => {
    const changes: Record<string, (login: Login) => Promise<unknown>> = {
      'the login ended': ({ id, userId }) => store.logins.end(OPERATOR, { id, userId, now: NOW }),
      'the user was disabled': ({ userId: id }) =>
        store.users.change(OPERATOR, { id, changes: { disabled: true }, now: NOW }),
      'the password changed': ({ userId: id }) =>
        store.users.setPassword(OPERATOR, { id, hash: 'new', from: null, keep: null, now: NOW }),
      'the password changed, and the login is kept': ({ id, userId }) => {
        const keepLogin = { id, tokenHash: id }
        const password = { id: userId, hash: 'new', from: 1, keep: null, keepLogin, now: NOW }
        return store.users.setPassword(OPERATOR, password)
      }
    }
    for (const [name, change] of Object.entries(changes)) {
      const { login } = await signedIn()
      const code = `${name} ${login.id}`
      await add(login, { codeHash: code })
      await change(login)
      // A kept login has a new version. The redemption presents it, so that only the code can be the reason of the refusal.
      const [{ authVersion } = login] = await store.logins.list(login.userId, { after: null, limit: 1 }, NOW)
      t.equal(await redeem(code, login, { authVersion }), 'refused', name)
      t.strictSame(await sessionsOf(login), [])
    }
    const { login } = await signedIn()
    await add(login, { codeHash: `client ${login.id}` })
    t.equal(await redeem(`client ${login.id}`, login, { rev: -1 }), 'refused', 'the client lost a right')
    t.equal(await stateOf(`client ${login.id}`), 'ended')
  })

  t.test(
    'a change that takes something from a client ends its codes, also at the same time as their redemption [SC6]',
    async (t) => {
      const redirectUris = [REQUEST.redirectUri, 'https://app.example/other']
      const wrong: unknown[] = []
      for (let round = 0; round < ROUNDS; round++) {
        const [{ login }, { id }] = [await signedIn(), await addClient(store, { redirectUris })]
        const codes = [`change ${id}`, `later ${id}`]
        for (const codeHash of codes) await add(login, { codeHash, clientId: id })
        const { id: waiting } = await add(login, { clientId: id })
        const use = (codeHash: string) =>
          redeem(codeHash, login, { session: newSession(login.userId, { clientId: id }) })
        const changes = round % 3 === 0 ? { disabled: true } : { redirectUris: redirectUris.slice(1) }
        const change = () => (others[1] ?? store).clients.change(OPERATOR, { id, changes, now: NOW })
        const [first = '', second = ''] = codes
        const calls = round % 2 === 0 ? [use(first), change()] : [change(), use(first)]
        const outcome = (await Promise.all(calls))[round % 2]
        const later = await use(second)
        const state = (await store.authorizations.get(waiting, { loginId: login.id, now: NOW }))?.state
        if (!['opened', 'refused'].includes(outcome as string) || later !== 'refused' || state !== 'ended')
          wrong.push({ round, outcome, later, state })
      }
      t.strictSame(wrong, [])
    }
  )

  t.test('of concurrent redemptions of one code at most one succeeds, and no session survives [AC5]', async (t) => {
    const wrong: unknown[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const { login } = await signedIn()
      const code = `race ${login.id}`
      await add(login, { codeHash: code })
      const outcomes = await Promise.all(
        Array.from({ length: 8 }, (_, index) => redeem(code, login, { at: others[index % others.length] ?? store }))
      )
      const opened = outcomes.filter((outcome) => outcome === 'opened').length
      const alive = (await sessionsOf(login)).filter(({ ended_at }) => ended_at === null)
      if (opened !== 1 || alive.length > 0) wrong.push({ round, outcomes, alive })
    }
    t.strictSame(wrong, [])
  })

  t.test(
    'an answer to the question for consent waits for a deletion of the client, and holds nothing that it needs',
    async (t) => {
      if (kind === 'sqlite') return t.pass('one transaction at a time')
      const { login } = await signedIn()
      const { id: clientId } = await addClient(store)
      const { id } = await add(login, { clientId })
      const commit = await hold(t, `select id from clients where id = '${clientId}' for update`)
      const allowing = { id, codeHash: id, scopes: ['profile'], now: NOW, expiresAt: CODE_END }
      const allowed = store.authorizations.allow(OPERATOR, allowing)
      await waitForLock()
      t.equal((await sql(`select id from authorizations where id = '${id}' for update skip locked`)).length, 1)
      await commit()
      t.equal(await allowed, true)
    }
  )

  t.test('no session of a code outlives the concurrent end of its login, or removal of its consent', async (t) => {
    const at = others[1] ?? store
    const left: unknown[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const { login } = await signedIn()
      const [code, { userId }] = [`end ${login.id}`, login]
      const { id } = await add(login)
      const allowing = { id, codeHash: code, scopes: ['profile'], now: NOW, expiresAt: CODE_END }
      await store.authorizations.allow(OPERATOR, allowing)
      const end = () =>
        round % 4 < 2
          ? at.logins.end(OPERATOR, { id: login.id, userId, now: NOW })
          : at.consents.remove(OPERATOR, { userId, clientId: CLIENT.id, now: NOW })
      await Promise.all(round % 2 === 0 ? [redeem(code, login), end()] : [end(), redeem(code, login)])
      left.push(...(await sessionsOf(login)).filter(({ ended_at }) => ended_at === null))
    }
    t.strictSame(left, [])
  })

  t.test('no session of a code outlives the concurrent end of everything', async (t) => {
    if (kind === 'sqlite') return t.pass('one transaction at a time')
    const { login } = await signedIn()
    const { id } = await add(login, { codeHash: `all ${login.id}` })
    const session = await addSession(store, login.userId)
    await sql(`update sessions set ended_at = ${NOW} where id = '${session.id}'`)
    // The session becomes active with the commit, like one that a redemption opens.
    const commit = await hold(
      t,
      `update authorizations set state = 'redeemed' where id = '${id}'`,
      `update sessions set ended_at = null where id = '${session.id}'`
    )
    const [keys, refreshKey] = [[newKey('new', 'signing')], { id: 'new', sealedKey: 'sealed', createdAt: NOW }]
    const given = { canary: 'sealed canary', keys, refreshKey, clock: () => NOW }
    const revoked = store.keys.revokeEverything(OPERATOR, given)
    await waitForLock()
    await commit()
    await revoked
    t.equal((await sessionOf(store, session.id))?.endedAt, NOW)
  })

  t.test('a login has a limited number of authorizations: the oldest are removed', async (t) => {
    const { login } = await signedIn()
    const ids: string[] = []
    for (let at = 0; at <= AUTHORIZATIONS_MAX; at++) ids.push((await add(login, { createdAt: NOW + at })).id)
    const rows = await sql(`select id from authorizations where login_id = '${login.id}' order by created_at`)
    t.strictSame(
      rows.map((row) => (row as { id: string }).id),
      ids.slice(1)
    )
  })
}
