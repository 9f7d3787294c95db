import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { compareAll } from '../rows.ts'
import { ISSUER } from './open.ts'
import { openSessions } from './sessions-world.ts'

const scope = (name: string, description = '') => ({ name, description })
const ORDERS = {
  id: 'orders',
  identifier: 'https://orders.example',
  name: 'Orders',
  scopes: [scope('orders:read'), scope('orders:write')]
}
const STOCK = { id: 'stock', identifier: 'urn:example:stock', name: 'Stock', scopes: [scope('stock')] }
const ALL_GRANTS = ['password', 'refresh_token', 'client_credentials']

/** Opens the domain with the resource `orders`. */
async function open(t: Test) {
  const domain = await openSessions(t)
  const { auth, store } = domain
  await auth.resources.create(OPERATOR, ORDERS)
  return {
    ...domain,
    resources: auth.resources,
    /** Returns the code and the message of the error that refuses a call. */
    refusal: async (call: Promise<unknown>) => {
      try {
        await call
        return 'no refusal'
      } catch (error) {
        if (error instanceof DomainError) return `${error.code}: ${error.message}`
        throw error
      }
    },
    register: (id: string, scopes: string[], more: object = {}) =>
      auth.clients.create(OPERATOR, { id, name: id, firstParty: true, grantTypes: ALL_GRANTS, scopes, ...more }),
    revocationsSince: async (seq: number) =>
      (await store.revocations.since(seq, 100)).entries.map(({ kind, id }) => `${kind} ${id}`).toSorted()
  }
}

t.test('an invalid resource is refused with the reason, and not stored', async (t) => {
  const { resources, refusal } = await open(t)
  const all = () => resources.list({ after: null, limit: 10 })
  const before = await all()
  await compareAll(t, async (row) => {
    const refused = async (members: Partial<Parameters<typeof resources.create>[1]>, reason: string) =>
      row(JSON.stringify(members), await refusal(resources.create(OPERATOR, { ...STOCK, ...members })), reason)
    for (const identifier of [
      '',
      'orders',
      '/orders',
      '//orders.example',
      'https://',
      'https://x.example/#',
      'https://x.example/#y',
      'https://x.example/ y',
      'https://ä.example'
    ])
      await refused({ identifier }, 'invalid: A resource must be an absolute URI without fragment (RFC 8707)')
    for (const identifier of ['localhost:4000', 'orders.example.com:443', 'orders:4000/v1', 'localhost:4000?x'])
      await refused(
        { identifier },
        `invalid: A resource must be an absolute URI without fragment (RFC 8707); write the scheme too: "http://${identifier}"`
      )
    const names = ['Orders', 'a:', ':a', 'a::b', 'a b', 'a/b', '9', '-a', 'a:9', 'ä', '*', 'x'.repeat(129)]
    for (const name of [...names, `a:${'x'.repeat(127)}`])
      await refused(
        { scopes: [scope('fine'), scope(name)] },
        'invalid: A scope name is one or more words joined by colons (orders:read), at most 128 characters; a word begins with a letter and has only a-z, 0-9, dot, hyphen and underscore'
      )
    await refused({ scopes: [scope('a'), scope('a', 'again')] }, 'invalid: A scope is named twice')
    await refused({ introspectionClients: ['none'] }, 'invalid: There is no client "none"')
    await refused({ introspectionClients: ['docs', 'DOCS'] }, 'invalid: There is no client "DOCS"')
    for (const id of ['orders', 'latchkey']) await refused({ id }, 'conflict: A resource with this id already exists')
    await refused({ identifier: ORDERS.identifier }, 'conflict: A resource with this identifier already exists')
    await refused({ identifier: ISSUER }, 'conflict: This URI identifies Latchkey’s own API')
    await refused({ identifier: `${ORDERS.identifier}/` }, 'conflict: A resource with this identifier already exists')
    await refused({ scopes: [scope('new'), scope('orders:read')] }, 'conflict: A scope with this name already exists')
    for (const name of ['profile', 'tokens:introspect', 'revocations:read', 'users:later', 'openid'])
      await refused({ scopes: [scope(name)] }, `conflict: The scope name ${name} is reserved for Latchkey`)
  })
  t.strictSame(await all(), before)
})

t.test('a refused change changes nothing, and the scopes of Latchkey’s own API cannot be changed', async (t) => {
  const { auth, resources, refusal, store } = await open(t)
  await resources.create(OPERATOR, STOCK)
  const state = async () => [
    await resources.list({ after: null, limit: 10 }),
    await auth.roles.list({ after: null, limit: 10 }),
    await store.revocations.seq()
  ]
  const before = await state()
  const change = (id: string, edit: Parameters<typeof resources.change>[2]) =>
    refusal(resources.change(OPERATOR, id, edit))
  const refused: [edit: Parameters<typeof resources.change>[2], reason: string][] = [
    [{ scopes: [scope('stock')] }, 'conflict: A scope with this name already exists'],
    [{ scopes: [scope('profile')] }, 'conflict: The scope name profile is reserved for Latchkey'],
    [{ scopes: [scope('a'), scope('a')] }, 'invalid: A scope is named twice'],
    [
      { scopes: [scope('A')] },
      'invalid: A scope name is one or more words joined by colons (orders:read), at most 128 characters; a word begins with a letter and has only a-z, 0-9, dot, hyphen and underscore'
    ],
    [{ scopes: [], introspectionClients: ['none'] }, 'invalid: There is no client "none"']
  ]
  for (const [edit, reason] of refused) t.equal(await change('orders', { name: 'x', ...edit }), reason)
  for (const scopes of [[], [scope('profile')], [scope('new')]])
    t.equal(await change('latchkey', { scopes }), 'conflict: The scopes of Latchkey’s own API cannot be changed')
  t.equal(await refusal(resources.delete(OPERATOR, 'latchkey')), 'conflict: Latchkey’s own API cannot be deleted')
  t.strictSame(await state(), before)
})

t.test('the role admin gets every new scope, and no other role does', async (t) => {
  const { auth, resources } = await open(t)
  const scopesOf = async (role: string) => (await auth.roles.get(role)).scopes
  const before = await scopesOf('admin')
  await resources.change(OPERATOR, 'orders', { scopes: [...ORDERS.scopes, scope('orders:drop')] })
  t.strictSame(await scopesOf('admin'), [...before, 'orders:drop'].toSorted())
  t.ok(['orders:read', 'orders:write'].every((name) => before.includes(name)))
  t.strictSame(await scopesOf('user'), ['account'])
})

t.test(
  'a removed scope is removed from roles and clients at once, and their earlier tokens are revoked [SC4 SC6]',
  async (t) => {
    const { auth, store, resources, register, request, enter, refresh, revocationsSince } = await open(t)
    await register('api', ['tokens:introspect'], { grantTypes: [] })
    const api = await auth.clients.get('api')
    for (const id of ['orders', 'latchkey']) await resources.change(OPERATOR, id, { introspectionClients: ['api'] })
    await auth.roles.create(OPERATOR, { name: 'clerk', description: '', scopes: ['orders:write'] })
    await auth.roles.create(OPERATOR, { name: 'viewer', description: '', scopes: ['orders:read'] })
    const both = ['orders:read', 'orders:write']
    await register('both', both)
    await register('reader', ['orders:read'])
    const ownToken = (id: string) => request(id, { grant_type: 'client_credentials' })
    const admin = { username: 'admin', clientId: 'both', scope: both.join(' ') }
    const session = await enter(admin)
    const issued = [await ownToken('both'), session, await ownToken('reader')]
    t.strictSame(
      issued.map(({ scopes }) => scopes),
      [both, both, ['orders:read']]
    )
    const active = () =>
      Promise.all(issued.map(async ({ accessToken }) => (await auth.introspect(api, accessToken)) !== null))
    t.strictSame(await active(), [true, true, true])

    const seq = await store.revocations.seq()
    await resources.change(OPERATOR, 'orders', { name: 'x', scopes: [...ORDERS.scopes, scope('more')] })
    t.strictSame(await revocationsSince(seq), [], 'a new scope revokes nothing')
    t.strictSame(await active(), [true, true, true])

    await resources.change(OPERATOR, 'orders', { scopes: [scope('orders:read')] })
    t.strictSame(await revocationsSince(seq), ['client both', 'role admin', 'role clerk'])
    t.strictSame(await active(), [false, false, true], 'the tokens of a client without the scope stay valid')
    const { scopes, defaultScopes } = await auth.clients.get('both')
    t.strictSame([scopes, defaultScopes], [['orders:read'], ['orders:read']])
    t.strictSame((await auth.roles.get('clerk')).scopes, [])
    t.strictSame((await auth.roles.get('viewer')).scopes, ['orders:read'])

    const unknown = { code: 'invalid_scope', message: 'A requested scope is not registered' }
    await t.rejects(enter(admin), unknown)
    t.strictSame((await ownToken('both')).scopes, ['orders:read'])
    t.strictSame((await auth.introspect(api, session.refreshToken))?.scopes, ['orders:read'])
    const renewed = await refresh(session.refreshToken, { clientId: 'both' })
    t.strictSame(renewed.scopes, ['orders:read'], 'the session continues with the other scope')

    await resources.change(OPERATOR, 'orders', { scopes: ORDERS.scopes })
    t.strictSame(await active(), [false, false, true], 'a new scope with this name revives nothing')
    t.strictSame((await auth.clients.get('both')).scopes, ['orders:read'])
  }
)

t.test('a resource is deleted with its scopes and tokens, unless a client names it', async (t) => {
  const { auth, store, resources, register, request, refusal, revocationsSince } = await open(t)
  await register('api', ['tokens:introspect'], { grantTypes: [] })
  const api = await auth.clients.get('api')
  await resources.change(OPERATOR, 'orders', { introspectionClients: ['api'] })
  await register('worker', ['orders:read', 'profile'], {
    defaultScopes: ['orders:read'],
    resources: ['latchkey', 'orders']
  })
  const ownToken = () => request('worker', { grant_type: 'client_credentials' })
  const { accessToken } = await ownToken()
  const named = 'conflict: The client "worker" names this resource: change the client first'
  t.equal(await refusal(resources.delete(OPERATOR, 'orders')), named)
  t.match(await auth.introspect(api, accessToken), { aud: ORDERS.identifier })
  await auth.clients.change(OPERATOR, 'worker', { resources: [] })
  const seq = await store.revocations.seq()
  await resources.delete(OPERATOR, 'orders')
  t.strictSame(await revocationsSince(seq), ['client worker', 'role admin'])
  t.equal(await auth.introspect(api, accessToken), null)
  await t.rejects(ownToken(), { code: 'invalid_scope', message: 'None of the requested scopes is allowed' })
  t.strictSame((await auth.clients.get('worker')).scopes, ['profile'])

  await resources.create(OPERATOR, { ...ORDERS, introspectionClients: ['api'] })
  t.equal(await auth.introspect(api, accessToken), null, 'a new resource with the same id revives nothing')
})

t.test('a resource is deleted even if a client names a resource with a similar id', async (t) => {
  const { resources, register, refusal } = await open(t)
  for (const id of ['a_b', 'axb', 'a', 'b']) await resources.create(OPERATOR, { id, identifier: `urn:${id}`, name: id })
  await register('worker', [], { resources: ['axb', 'b'] })
  for (const id of ['a_b', 'a']) await resources.delete(OPERATOR, id)
  for (const id of ['b', 'axb'])
    t.equal(
      await refusal(resources.delete(OPERATOR, id)),
      'conflict: The client "worker" names this resource: change the client first'
    )
})
