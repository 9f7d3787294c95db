import { createHmac, randomBytes } from 'node:crypto'
import { calculateJwkThumbprint, decodeProtectedHeader, type JWK } from 'jose'
import t, { type Test } from 'tap'
import { answer, INVALID_TOKEN } from '../forge.ts'
import { build, createDatabase, type Database, onOneDatabase, PASSWORD, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'

const SCOPES = 'profile keys:read keys:write'
const [MINUTE, DAY] = [60, 86_400]
const AT = '2026-01-01T12:00:00.000Z'
const VIEW = ['kid', 'alg', 'state', 'created_at', 'signs_since_at', 'verifies_until_at', 'retired_at'].sort()

interface Key {
  kid: string
  alg: string
  state: string
  created_at: string
  signs_since_at: string | null
  verifies_until_at: string | null
  retired_at: string | null
}

/** What a test does with keys, as an admin who logs in each time. */
function withKeys(world: TestApp) {
  const { send, login, inject } = world
  const admin = () => login('admin', SCOPES)
  const list = async () => (await send(await admin(), 'GET', '/keys?limit=100')).json().items as Key[]
  return {
    list,
    kid: async (state: string) => (await list()).find((key) => key.state === state)?.kid as string,
    states: async () => (await list()).map(({ state }) => state).toReversed(),
    rotate: async () => send(await admin(), 'POST', '/keys/rotate'),
    retire: async (kid: string, compromised = true) =>
      send(await admin(), 'POST', `/keys/${kid}/retire`, { compromised }),
    jwks: async () => (await inject({ url: '/.well-known/jwks.json' })).json().keys as JWK[],
    me: async (token: string) => (await world.get('/users/me', token)).statusCode
  }
}

async function start(t: Test, database: Database, env: Record<string, string> = {}) {
  const world = await build(t, { database, env })
  return { ...world, ...withKeys(world) }
}

/** Two instances on one database, with one clock. */
async function two(t: Test, database: Database) {
  const at = await createDatabase(t, database, 'ready')
  const one = await build(t, { at })
  const other = await build(t, { at, clock: one.clock })
  return [
    { ...one, ...withKeys(one) },
    { ...other, ...withKeys(other) }
  ] as const
}

const conflict = (detail: string) => [409, { type: 'about:blank', title: 'Conflict', status: 409, detail }]
const kidOf = (token: string) => decodeProtectedHeader(token).kid

onOneDatabase(
  t,
  'a rotation lets the published key sign, and the one before verifies on [KS1 KS2]',
  async (t, database) => {
    const { rotate, list, kid, jwks, login, me, clock, inject, send } = await start(t, database)
    const [signing, next] = [await kid('signing'), await kid('next')]
    const token = await login('alice')
    t.equal(kidOf(token), signing)
    t.strictSame(
      [(await rotate()).statusCode, (await rotate()).json()],
      conflict('The next key was published a short time ago: it can sign from 2026-01-01T12:05:00.000Z on')
    )
    clock.advance(299.999)
    t.equal((await rotate()).statusCode, 409)
    clock.advance(0.001)
    const rotated = await rotate()
    const view = {
      kid: next,
      alg: 'ES256',
      state: 'signing',
      created_at: AT,
      signs_since_at: '2026-01-01T12:05:00.000Z',
      verifies_until_at: null,
      retired_at: null
    }
    t.strictSame([rotated.statusCode, rotated.json()], [200, view])

    const keys = await list()
    t.strictSame(
      keys.slice(1).toSorted((a) => (a.kid === next ? -1 : 1)),
      [
        view,
        { ...view, kid: signing, state: 'verifying', signs_since_at: AT, verifies_until_at: '2026-01-01T13:06:00.000Z' }
      ]
    )
    t.match(keys[0], { state: 'next', created_at: '2026-01-01T12:05:00.000Z', signs_since_at: null })
    for (const key of keys) t.strictSame(Object.keys(key).sort(), VIEW)

    const published = await jwks()
    t.strictSame(published.map((key) => key.kid).toSorted(), keys.map((key) => key.kid).toSorted())
    for (const key of published) {
      t.strictSame(Object.keys(key).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
      t.equal(await calculateJwkThumbprint(key), key.kid)
    }
    t.equal((await inject({ url: '/.well-known/jwks.json' })).headers['cache-control'], 'public, max-age=300')

    t.equal(kidOf(await login('alice')), next)
    clock.advance(-1)
    t.equal(await me(token), 200, 'a token of before is good for as long as it lives')
    const page = await send(await login('admin', SCOPES), 'GET', '/keys?limit=2')
    const rest = await send(await login('admin', SCOPES), 'GET', `/keys?cursor=${page.json().next_cursor}`)
    t.strictSame([...page.json().items, ...rest.json().items], keys)
    t.equal(rest.json().next_cursor, null)
  }
)

onOneDatabase(t, 'a key that signs no more has no private part left [KS3]', async (t, database) => {
  const { rotate, retire, kid, clock, env } = await start(t, database)
  const rows = () =>
    sql<{ state: string; sealed_private_key: string }>({ env }, 'select state, sealed_private_key from signing_keys')
  clock.advance(5 * MINUTE)
  await rotate()
  await retire(await kid('next'))
  for (const { state, sealed_private_key: sealed } of await rows())
    t.equal(sealed !== '', ['signing', 'next'].includes(state), state)
})

for (const [name, value, seconds] of [
  ['LATCHKEY_JWKS_MAX_AGE', '1', 1],
  ['LATCHKEY_JWKS_MAX_AGE', '86400', 86_400]
] as const) {
  t.test(`${name}=${value} is what others are told and what a rotation waits for [KS2]`, async (t) => {
    const { rotate, clock, inject } = await start(t, 'sqlite', { [name]: value })
    t.equal((await inject({ url: '/.well-known/jwks.json' })).headers['cache-control'], `public, max-age=${value}`)
    clock.advance(seconds - 0.001)
    t.equal((await rotate()).statusCode, 409)
    clock.advance(0.001)
    t.equal((await rotate()).statusCode, 200)
  })
}

onOneDatabase(t, 'of rotations at two instances at once exactly one happens [KS2]', async (t, database) => {
  const [one, other] = await two(t, database)
  const rounds = Math.max(3, Number(process.env.LATCHKEY_ROUNDS ?? 50) / 10)
  for (let round = 0; round < rounds; round++) {
    one.clock.advance(5 * MINUTE)
    const before = await one.kid('next')
    const tokens = [await one.login('admin', SCOPES), await other.login('admin', SCOPES)] as const
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        index % 2 === 0 ? one.send(tokens[0], 'POST', '/keys/rotate') : other.send(tokens[1], 'POST', '/keys/rotate')
      )
    )
    const statuses = answers.map(({ statusCode }) => statusCode).toSorted()
    t.strictSame(statuses, [200, ...Array(7).fill(409)])
    t.equal(await other.kid('signing'), before)
    t.equal(kidOf(await one.login('alice')), before, 'and it signs at both')
    t.equal(kidOf(await other.login('alice')), before)
  }
})

for (const state of ['signing', 'next', 'verifying']) {
  onOneDatabase(
    t,
    `a compromised key that is ${state} is dead everywhere at the next request [KS2]`,
    async (t, database) => {
      const [one, other] = await two(t, database)
      const tokens = [await one.login('alice')]
      one.clock.advance(4 * MINUTE + 59)
      await other.rotate()
      one.clock.advance(1)
      tokens[0] = await one.login('alice')
      t.equal((await other.rotate()).statusCode, 200)
      tokens.push(await other.login('alice'))
      const [verifying, signing] = tokens as [string, string]
      for (const token of tokens) for (const { me } of [one, other]) t.equal(await me(token), 200)

      const kid = await one.kid(state)
      const before = { signing: await one.kid('signing'), next: await one.kid('next') }
      const retired = await one.retire(kid)
      t.strictSame(
        [retired.statusCode, retired.json().state, retired.json().retired_at],
        [200, 'retired', new Date(one.clock.now()).toISOString()]
      )
      for (const { me, jwks } of [one, other]) {
        t.equal(await me(verifying), state === 'verifying' ? 401 : 200)
        t.equal(await me(signing), state === 'signing' ? 401 : 200)
        t.notOk(
          (await jwks()).some((key) => key.kid === kid),
          'it has left the JWKS'
        )
      }
      const [nowSigning, nowNext] = [await other.kid('signing'), await other.kid('next')]
      t.equal(nowSigning, state === 'signing' ? before.next : before.signing, 'the next one signs, whatever its age')
      t.equal(nowNext === before.next, state === 'verifying', 'and another is published')
      t.equal(kidOf(await other.login('alice')), nowSigning)
      t.equal(await one.me(await other.login('alice')), 200)
      t.strictSame((await one.app.store.revocations.since(0, 10)).entries, [{ seq: 1, kind: 'key', id: kid }])
      t.strictSame((await other.retire(kid)).json(), retired.json(), 'again: it stays so')
      t.equal(await one.app.store.revocations.seq(), 1)
    }
  )
}

onOneDatabase(
  t,
  'a key is retired without being compromised only when nothing it signed can live',
  async (t, database) => {
    const { rotate, retire, kid, clock, login, inject, app } = await start(t, database)
    const inUse = 'The key is in use: rotate the keys first, or retire it as compromised'
    clock.advance(5 * MINUTE)
    const old = await kid('signing')
    await rotate()
    for (const state of ['signing', 'next']) {
      const { statusCode, json } = await retire(await kid(state), false)
      t.strictSame([statusCode, json()], conflict(inUse))
    }
    clock.advance(3659.999)
    const early = await retire(old, false)
    t.strictSame(
      [early.statusCode, early.json()],
      conflict('Tokens that the key signed can live until 2026-01-01T13:06:00.000Z')
    )
    clock.advance(0.001)
    t.match((await retire(old, false)).json(), { state: 'retired', retired_at: '2026-01-01T13:06:00.000Z' })
    t.equal((await retire(old, false)).statusCode, 200)
    t.equal(await app.store.revocations.seq(), 0, 'nothing that lives was taken away')

    const missing = { type: 'about:blank', title: 'Not Found', status: 404, detail: 'There is no such key' }
    const unknown = await retire('x'.repeat(43))
    t.strictSame([unknown.statusCode, unknown.json()], [404, missing])
    const headers = { authorization: `Bearer ${await login('admin', SCOPES)}` }
    for (const payload of [{}, { compromised: 'true' }, { compromised: true, force: true }]) {
      const { statusCode } = await inject({
        method: 'POST',
        url: `/keys/${await kid('next')}/retire`,
        headers,
        payload
      })
      t.equal(statusCode, 400, JSON.stringify(payload))
    }
  }
)

onOneDatabase(
  t,
  'keys rotate and retire by themselves, at the time of the settings, once [KS2]',
  async (t, database) => {
    const [one, other] = await two(t, database)
    const { clock } = one
    const tend = () =>
      Promise.all([one.app.auth.keys.maintain(), other.app.auth.keys.maintain(), one.app.auth.keys.maintain()])
    const none = ['nothing', 'nothing', 'nothing']
    const [first, second] = [await one.kid('signing'), await one.kid('next')]
    clock.advance(30 * DAY - 0.001)
    t.strictSame(await tend(), none)
    clock.advance(0.001)
    t.strictSame((await tend()).toSorted(), ['nothing', 'nothing', 'rotated'])
    t.strictSame(await tend(), none)
    t.strictSame([await one.kid('verifying'), await one.kid('signing')], [first, second])

    clock.advance(3659.999)
    t.strictSame(await tend(), none)
    t.equal(await other.kid('verifying'), first)
    clock.advance(0.001)
    t.strictSame(await tend(), none)
    t.equal(await other.kid('retired'), first)
    t.notOk((await other.jwks()).some((key) => key.kid === first))

    // By hand, on the last day: the time begins anew.
    clock.advance(29 * DAY)
    t.equal((await one.rotate()).statusCode, 200)
    clock.advance(29 * DAY)
    t.strictSame(await tend(), none)
    // A next key that is too young waits for its time.
    await one.retire(await one.kid('next'))
    clock.advance(DAY)
    await other.retire(await other.kid('next'))
    t.strictSame(await tend(), none)
    clock.advance(299.999)
    t.strictSame(await tend(), none)
    clock.advance(0.001)
    t.strictSame((await tend()).toSorted(), ['nothing', 'nothing', 'rotated'])
  }
)

t.test('LATCHKEY_KEY_ROTATION says after how many days, 0 for never', async (t) => {
  const weekly = await start(t, 'sqlite', { LATCHKEY_KEY_ROTATION: '7' })
  weekly.clock.advance(7 * DAY - 1)
  t.equal(await weekly.app.auth.keys.maintain(), 'nothing')
  weekly.clock.advance(1)
  t.equal(await weekly.app.auth.keys.maintain(), 'rotated')

  const never = await start(t, 'sqlite', { LATCHKEY_KEY_ROTATION: '0' })
  never.clock.advance(5000 * DAY)
  t.equal(await never.app.auth.keys.maintain(), 'nothing')
  t.equal((await never.rotate()).statusCode, 200)
  never.clock.advance(3660)
  t.equal(await never.app.auth.keys.maintain(), 'nothing')
  t.strictSame(
    (await never.states()).toSorted(),
    ['next', 'retired', 'signing'],
    'what is over is retired all the same'
  )
})

onOneDatabase(
  t,
  'after a change of the algorithm the first rotation publishes it and the second signs with it',
  async (t, database) => {
    const at = await createDatabase(t, database, 'ready')
    const before = await build(t, { at })
    const old = await before.login('alice')
    const world = await build(t, { at, clock: before.clock, env: { LATCHKEY_SIGNING_ALG: 'EdDSA' } })
    const { rotate, jwks, login, me, retire, kid } = { ...world, ...withKeys(world) }
    const { clock } = before
    const algs = async () => (await jwks()).map(({ alg }) => alg).toSorted()
    const alg = async () => decodeProtectedHeader(await login('alice')).alg
    t.strictSame([await alg(), await algs()], ['ES256', ['ES256', 'ES256']])
    clock.advance(4 * MINUTE)
    t.equal(await me(old), 200)
    clock.advance(MINUTE)
    await rotate()
    t.strictSame([await alg(), await algs()], ['ES256', ['ES256', 'ES256', 'EdDSA']])
    const last = await login('alice')
    clock.advance(5 * MINUTE - 1)
    t.equal((await rotate()).statusCode, 409)
    t.equal(await me(last), 200)
    clock.advance(1)
    const token = await login('alice')
    await rotate()
    t.strictSame([await alg(), await algs()], ['EdDSA', ['ES256', 'ES256', 'EdDSA', 'EdDSA']])
    for (const each of [token, await login('alice')]) t.equal(await me(each), 200)
    const mixed = await withKeys(before).me(await login('alice'))
    t.equal(mixed, 200, 'an instance with the settings of before verifies them too')
    await retire(await kid('signing'))
    t.equal(await me(token), 200)
  }
)

onOneDatabase(
  t,
  'a session goes on when the refresh key rotates, with one successor for each token [RF6]',
  async (t, database) => {
    const [one, other] = await two(t, database)
    const { clock } = one
    const refresh = async (world: TestApp, token: string) => {
      const response = await world.token({ grant_type: 'refresh_token', refresh_token: token })
      return response.json().refresh_token as string
    }
    const enter = async () =>
      (await one.token({ grant_type: 'password', username: 'alice', password: PASSWORD })).json()
        .refresh_token as string
    const keyOf = (token: string) => Buffer.from(token.slice(4), 'base64url').subarray(0, 8).toString('base64url')

    clock.advance(5 * MINUTE)
    const first = await enter()
    const successor = await refresh(one, first)
    await other.rotate()
    t.equal(await refresh(other, first), successor, 'the same successor when it is asked for again, on either side')
    t.equal(await refresh(one, first), successor)
    const third = await refresh(other, successor)
    t.strictSame([keyOf(successor), keyOf(third)], [keyOf(first), keyOf(first)], 'the session keeps its key')
    t.equal(keyOf(first), keyOf(await refresh(one, third)))
    const fresh = await enter()
    t.not(keyOf(fresh), keyOf(first), 'a new one has the new key')
    t.equal(keyOf(await refresh(one, fresh)), keyOf(fresh))

    const keys = () => sql<{ id: string; state: string }>(one, 'select id, state from refresh_keys order by created_at')
    clock.advance(366 * DAY - 0.001)
    await one.app.auth.keys.maintain()
    t.equal((await keys())[0]?.id, keyOf(first))
    clock.advance(0.001)
    await one.app.auth.keys.maintain()
    t.notOk(
      (await keys()).some(({ id }) => id === keyOf(first)),
      'no session that it was made for can live'
    )
    t.equal((await keys()).filter(({ state }) => state === 'current').length, 1)
    t.match((await one.token({ grant_type: 'refresh_token', refresh_token: third })).json(), { error: 'invalid_grant' })
  }
)

onOneDatabase(t, 'a replay is noticed across a rotation of the refresh key [RF2]', async (t, database) => {
  const { token, rotate, clock } = await start(t, database)
  const ask = (refresh_token: string) => token({ grant_type: 'refresh_token', refresh_token })
  clock.advance(5 * MINUTE)
  const first = (await token({ grant_type: 'password', username: 'alice', password: PASSWORD })).json()
  const second = (await ask(first.refresh_token)).json()
  await rotate()
  clock.advance(10)
  t.equal((await ask(first.refresh_token)).statusCode, 400)
  t.equal((await ask(second.refresh_token)).statusCode, 400, 'the session has ended')
})

onOneDatabase(t, 'a token that a compromised key signed revokes nothing', async (t, database) => {
  const { login, kid, retire, app, inject } = await start(t, database)
  const token = await login('alice')
  await retire(await kid('signing'))
  const response = await inject({
    method: 'POST',
    url: '/revoke',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: `token=${token}`
  })
  t.equal(response.statusCode, 200, 'it is unknown')
  t.strictSame(
    (await app.store.revocations.since(0, 10)).entries.map(({ kind }) => kind),
    ['key']
  )
})

onOneDatabase(
  t,
  'after rotations and a compromise no made-up key and no kid of before opens anything [JW3 JW4]',
  async (t, database) => {
    const world = await start(t, database)
    const { rotate, retire, clock, login, get, list, jwks, kid } = world
    for (let rounds = 0; rounds < 2; rounds++) {
      clock.advance(5 * MINUTE)
      await rotate()
    }
    await retire(await kid('signing'))
    const [, payload] = (await login('alice')).split('.')
    const published = await jwks()
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const kids = [...(await list()).map((key) => key.kid), '../../etc/passwd', "x' or '1'='1", '', 'x'.repeat(43)]
    const secrets = [
      '',
      randomBytes(32),
      ...published.map((key) => JSON.stringify(key)),
      ...published.map(({ x }) => x as string)
    ]
    for (const each of kids) {
      for (const secret of secrets) {
        const content = `${encode({ alg: 'HS256', typ: 'at+jwt', kid: each })}.${payload}`
        const token = `${content}.${createHmac('sha256', secret).update(content).digest('base64url')}`
        const response = answer(await get('/users/me', token))
        if (response.status !== 401) t.strictSame(response, INVALID_TOKEN, each)
      }
      const none = `${encode({ alg: 'none', typ: 'at+jwt', kid: each })}.${payload}.`
      t.equal((await get('/users/me', none)).statusCode, 401)
    }
  }
)

onOneDatabase(t, 'no answer about keys holds a private part or what is sealed [AD5]', async (t, database) => {
  const { rotate, retire, kid, clock, send, login, env } = await start(t, database)
  clock.advance(5 * MINUTE)
  const rows = await sql<{ sealed_private_key: string }>({ env }, 'select sealed_private_key from signing_keys')
  const texts = [(await rotate()).body, (await retire(await kid('next'))).body]
  texts.push((await send(await login('admin', SCOPES), 'GET', '/keys')).body)
  for (const text of texts) {
    t.notMatch(text, /PRIVATE|sealed|"d"/)
    for (const { sealed_private_key: sealed } of rows) t.notOk(text.includes(sealed))
  }
})
