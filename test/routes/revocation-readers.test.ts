import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { LOG_WAITING_MAX, LOG_WAITING_OF_CLIENT_MAX } from '../../src/limits.ts'
import { build, PASSWORD } from '../helper.ts'
import { problem } from '../http.ts'
import { newRevoked } from '../store/rows.ts'
import { open, READER, tokens, WAIT, waitingASecond, withoutWaiting } from './log-reader.ts'

const ORDERS = 'https://orders.example.com'
const BILLING = 'https://billing.example.com'
const GRANTS = ['password', 'refresh_token']
const NOT_SERVED = [
  403,
  problem(
    403,
    'The client does not serve this resource: name the client among the introspection clients of the resource'
  )
]

/** Builds an app with two resources, each with its own reader, and a reader that serves no resource. */
async function openServices(t: Test) {
  const world = await build(t)
  const { app, token, get, clock } = world
  const { auth, store } = app
  for (const [id, identifier] of [
    ['orders', ORDERS],
    ['billing', BILLING]
  ] as const)
    await auth.resources.create(OPERATOR, {
      id,
      identifier,
      name: id,
      scopes: [{ name: `${id}:read`, description: '' }]
    })
  const secrets = new Map<string, string>()
  for (const id of ['orders-api', 'billing-api', 'both-api', 'no-api']) {
    const client = { ...READER, id, name: id, scopes: ['revocations:read'] }
    secrets.set(id, (await auth.clients.create(OPERATOR, client)).secret as string)
  }
  await auth.resources.change(OPERATOR, 'orders', { introspectionClients: ['orders-api', 'both-api'] })
  await auth.resources.change(OPERATOR, 'billing', { introspectionClients: ['billing-api', 'both-api'] })
  const bearer = new Map<string, string>()
  for (const [id, secret] of secrets)
    bearer.set(
      id,
      (await token({ grant_type: 'client_credentials', client_id: id, client_secret: secret })).json().access_token
    )
  return {
    ...world,
    auth,
    revoke: (id: string, aud: string) =>
      store.revocations.revokeToken(OPERATOR, newRevoked(id, { aud, now: clock.now() })),
    read: async (id: string, query: Record<string, string> = {}) => {
      const response = await get(`/revocations?${new URLSearchParams(query)}`, bearer.get(id) as string)
      return [response.statusCode, response.json()]
    }
  }
}

t.test(
  'a reader gets only entries that can concern tokens of its resources, and knows that none is missing [UA4]',
  async (t) => {
    const { auth, revoke, read, createUser, token } = await openServices(t)
    await auth.roles.create(OPERATOR, { name: 'clerk', description: '', scopes: ['orders:read', 'billing:read'] })
    await createUser('bob', ['clerk'])
    const shop = {
      id: 'shop',
      name: 'Shop',
      method: 'none',
      firstParty: true,
      grantTypes: GRANTS
    } as const
    await auth.clients.create(OPERATOR, { ...shop, scopes: ['orders:read', 'billing:read'] })
    await revoke('a', ORDERS)
    await revoke('b', BILLING)
    await revoke('c', 'https://id.example.com')
    const login = {
      grant_type: 'password',
      username: 'bob',
      password: PASSWORD,
      client_id: 'shop',
      scope: 'billing:read'
    }
    const { access_token, refresh_token } = (await token(login)).json()
    const { sid, sub } = JSON.parse(Buffer.from(access_token.split('.')[1], 'base64url').toString())
    await auth.revoke(OPERATOR, { client: { id: 'shop' }, token: refresh_token })
    const ends = { next: 4, seq: 4, oldest: 0 }
    const session = { seq: 4, kind: 'session', expires_in: 3660, id: sid }
    const entries = tokens([1, 'a'], [2, 'b'])
    t.strictSame(await read('orders-api'), [200, { entries: entries.slice(0, 1), ...ends }])
    t.strictSame(await read('billing-api', { audience: BILLING }), [200, { entries: [entries[1], session], ...ends }])
    t.strictSame(await read('both-api'), [200, { entries: [...entries, session], ...ends }])
    t.strictSame(await read('both-api', { audience: `${ORDERS} ${BILLING}` }), [
      200,
      { entries: [...entries, session], ...ends }
    ])
    t.strictSame(await read('both-api', { audience: ORDERS }), [200, { entries: entries.slice(0, 1), ...ends }])
    t.strictSame(await read('orders-api', { after: '1' }), [200, { entries: [], ...ends }])

    await auth.users.change(OPERATOR, sub, { disabled: true })
    const user = { seq: 5, kind: 'user', expires_in: 3660, id: sub }
    for (const id of ['orders-api', 'billing-api'])
      t.strictSame(
        await read(id, { after: '4' }),
        [200, { entries: [user], next: 5, seq: 5, oldest: 0 }],
        'tokens of a user can be for any resource'
      )
  }
)

t.test('a reader that serves no resource, or not that one, is refused with the reason [UA4]', async (t) => {
  const { read, auth } = await openServices(t)
  t.strictSame(await read('no-api'), NOT_SERVED)
  for (const audience of [BILLING, `${ORDERS} ${BILLING}`, `${ORDERS}/`, 'http://localhost:3000'])
    t.strictSame(await read('orders-api', { audience }), NOT_SERVED, audience)
  t.equal((await read('orders-api'))[0], 200)
  await auth.resources.change(OPERATOR, 'orders', { introspectionClients: [] })
  t.strictSame(await read('orders-api'), NOT_SERVED, 'the resource no longer names it')
})

t.test('entries for others do not end the wait of a reader [UA4]', async (t) => {
  const { read, revoke } = await openServices(t)
  const waiting = waitingASecond(read('orders-api', { wait: '1' }))
  const later = read('orders-api', { wait: `${WAIT}` })
  for (let index = 0; index < 5; index++) {
    await revoke(`b-${index}`, BILLING)
    await sleep(50)
  }
  t.strictSame(await waiting, [200, { entries: [], next: 5, seq: 5, oldest: 0 }])
  await revoke('a', ORDERS)
  t.strictSame(await withoutWaiting(later), [200, { entries: tokens([6, 'a']), next: 6, seq: 6, oldest: 0 }])
})

t.test(
  'at most 250 requests of one client wait, so that other clients can wait too, and at most 1,000 in total [UA4]',
  async (t) => {
    const world = await open(t)
    const { app, read, revoke } = world
    const others = Array.from({ length: LOG_WAITING_MAX / LOG_WAITING_OF_CLIENT_MAX }, (_, index) => `reader-${index}`)
    for (const id of others) await app.auth.clients.create(OPERATOR, { ...READER, id, scopes: ['revocations:read'] })
    await app.auth.resources.change(OPERATOR, 'latchkey', { introspectionClients: [READER.id, ...others] })
    const gone = new AbortController()
    const request = { audiences: null, after: 0, wait: WAIT, signal: gone.signal }
    const waitAs = (clientId: string, count: number) =>
      Array.from({ length: count }, () => app.auth.revocationLog.read({ ...request, clientId }))
    const [first = ''] = others
    const waiting = waitAs(first, LOG_WAITING_OF_CLIENT_MAX)
    await sleep(100)
    const surplus = await withoutWaiting(Promise.all(waitAs(first, 1)))
    t.strictSame(surplus, [{ entries: [], next: 0, seq: 0, oldest: 0 }], 'beyond the share')
    const ofReader = read(`?after=0&wait=${WAIT}`)
    await revoke('a')
    t.strictSame(
      await ofReader,
      [200, { entries: tokens([1, 'a']), next: 1, seq: 1, oldest: 0 }],
      'another client waits'
    )
    await Promise.all(waiting)

    request.after = 1
    const full = others.flatMap((id) => waitAs(id, LOG_WAITING_OF_CLIENT_MAX))
    await sleep(100)
    const answer = await withoutWaiting(read(`?after=1&wait=${WAIT}`))
    t.strictSame(answer, [200, { entries: [], next: 1, seq: 1, oldest: 0 }])
    gone.abort()
    await Promise.all(full)
    const next = read(`?after=1&wait=${WAIT}`)
    await revoke('b')
    t.strictSame(
      await next,
      [200, { entries: tokens([2, 'b']), next: 2, seq: 2, oldest: 0 }],
      'a later request waits again'
    )
  }
)
