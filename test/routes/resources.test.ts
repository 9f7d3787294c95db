import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { BUILT_IN_SCOPES } from '../../src/domain/built-in.ts'
import { build, type Database, ISSUER, onOneDatabase, PASSWORD } from '../helper.ts'

const ALL = BUILT_IN_SCOPES.map(({ name }) => name).join(' ')

const problem = (status: number, title: string, detail: string) => ({ type: 'about:blank', title, status, detail })
const invalid = (detail: string) => [400, problem(400, 'Bad Request', detail)]
const conflict = (detail: string) => [409, problem(409, 'Conflict', detail)]
const MISSING = [404, problem(404, 'Not Found', 'There is no such resource')]
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const INACTIVE = { active: false }

const ORDERS = {
  id: 'orders',
  resource: 'https://orders.example',
  name: 'Orders',
  scopes: [
    { name: 'orders:read', description: 'See orders' },
    { name: 'orders:write', description: '' }
  ],
  introspection_clients: []
}
const STOCK = {
  ...ORDERS,
  id: 'stock',
  resource: 'urn:example:stock',
  name: 'Stock',
  scopes: [{ name: 'stock', description: '' }]
}

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE'

/** An app with requests by an admin, and a client `api` that may introspect as far as it is listed. */
async function start(test: Test, database: Database = 'sqlite') {
  const world = await build(test, { database })
  const { app, send, login, inject, token } = world
  const admin = await login('admin', ALL)
  const api = async (method: Method, url: string, body?: object) => {
    const response = await send(admin, method, url, body)
    return [response.statusCode, response.body === '' ? '' : response.json()]
  }
  const add = async (client_id: string, body: object): Promise<{ client_id: string; client_secret: string }> => {
    const [, { client_secret }] = await api('POST', '/clients', { client_name: 'x', client_id, ...body })
    return { client_id, client_secret }
  }
  return {
    ...world,
    api,
    add,
    /** The token in full, or what was refused. @param more the form, as pairs, since `resource` can be repeated */
    asks: async (client: Record<string, string>, more: [string, string][] = [], grant = 'client_credentials') => {
      const form = [...Object.entries({ grant_type: grant, ...client }), ...more]
      const body = (await token(new URLSearchParams(form).toString())).json()
      if (body.error !== undefined) return { error: [body.error, body.error_description], body }
      const { aud, scope } = decodeJwt(body.access_token)
      return { aud, scope, body, error: undefined }
    },
    introspect: async (client: object, jwt: string) => {
      const payload = new URLSearchParams({ token: jwt, ...client }).toString()
      return (await inject({ method: 'POST', url: '/introspect', headers: FORM, payload })).json()
    },
    since: async (seq: number) =>
      (await app.store.revocations.since(seq, 100)).entries.map(({ kind, id }) => `${kind} ${id}`).toSorted()
  }
}

const USER = { username: 'admin', password: PASSWORD }
/** Fields of a client at which users log in. */
const LOGIN = { first_party: true, grant_types: ['password', 'refresh_token', 'client_credentials'] }

onOneDatabase(t, 'an admin registers a resource; lists, changes and deletes it', async (t, database) => {
  const { api, send, login, add } = await start(t, database)
  const own = {
    id: 'latchkey',
    resource: ISSUER,
    name: 'Latchkey',
    scopes: (await api('GET', '/resources'))[1].items[0].scopes,
    introspection_clients: []
  }
  t.strictSame(
    own.scopes.map(({ name }: { name: string }) => name),
    [...ALL.split(' '), 'revocations:read', 'tokens:introspect'].toSorted()
  )
  t.strictSame(await api('GET', '/resources'), [200, { items: [own], next_cursor: null }])

  await add('worker', { scope: 'tokens:introspect' })
  const created = await send(await login('admin', ALL), 'POST', '/resources', {
    ...ORDERS,
    scopes: [{ name: 'orders:write' }, ORDERS.scopes[0]],
    introspection_clients: ['worker']
  })
  const orders = { ...ORDERS, introspection_clients: ['worker'] }
  t.strictSame(
    [created.statusCode, created.headers.location, created.json()],
    [201, `${ISSUER}/resources/orders`, orders]
  )
  const plain = { id: 'a.b_c-9', resource: 'urn:x', name: 'x' }
  t.strictSame(await api('POST', '/resources', plain), [201, { ...plain, scopes: [], introspection_clients: [] }])
  t.strictSame(
    [await api('GET', '/resources?limit=2'), await api('GET', '/resources?limit=2&cursor=latchkey')],
    [
      [200, { items: [{ ...plain, scopes: [], introspection_clients: [] }, own], next_cursor: 'latchkey' }],
      [200, { items: [orders], next_cursor: null }]
    ]
  )
  const { items } = (await api('GET', '/scopes?limit=100'))[1]
  t.strictSame(
    items.filter(({ name }: { name: string }) => name.startsWith('orders')),
    ORDERS.scopes.map((scope) => ({ ...scope, resource: ORDERS.resource }))
  )

  t.strictSame(await api('PATCH', '/resources/orders', { name: 'O' }), [200, { ...orders, name: 'O' }])
  const changes = {
    scopes: [{ name: 'orders:read', description: 'See' }, { name: 'orders' }],
    introspection_clients: []
  }
  const changed = {
    ...ORDERS,
    name: 'O',
    scopes: [
      { name: 'orders', description: '' },
      { name: 'orders:read', description: 'See' }
    ]
  }
  t.strictSame(await api('PATCH', '/resources/orders', changes), [200, changed])
  t.strictSame(await api('PATCH', '/resources/orders', {}), [200, changed])
  t.strictSame(await api('PATCH', '/resources/latchkey', { name: 'L', introspection_clients: ['worker'] }), [
    200,
    { ...own, name: 'L', introspection_clients: ['worker'] }
  ])
  t.strictSame(await api('DELETE', '/clients/worker'), [204, ''])
  t.strictSame(
    await api('PATCH', '/resources/latchkey', {}),
    [200, { ...own, name: 'L' }],
    'a deleted client may not ask'
  )

  t.strictSame(await api('DELETE', '/resources/orders'), [204, ''])
  t.strictSame(await api('DELETE', '/resources/orders'), MISSING)
  t.strictSame(await api('PATCH', '/resources/orders', { name: 'x' }), MISSING)
  t.strictSame((await api('GET', '/scopes?limit=100'))[1].items.length, ALL.split(' ').length + 2)
  t.equal((await api('POST', '/resources', ORDERS))[0], 201, 'id, identifier and scopes are free again')
})

t.test('what is wrong with a resource is said, and nothing is stored', async (t) => {
  const { api } = await start(t)
  await api('POST', '/resources', ORDERS)
  const before = await api('GET', '/resources')
  const URI = 'A resource must be an absolute URI without fragment (RFC 8707)'
  const NAME = 'A scope name is noun:verb or one word, of a-z, 0-9, dot, hyphen and underscore'
  const names = [
    'Orders',
    'a:',
    ':a',
    'a::b',
    'a b',
    'a/b',
    '9',
    '-a',
    'a:9',
    'ä',
    '*',
    'x'.repeat(129),
    `a:${'x'.repeat(127)}`
  ]
  const refusals: [body: object, answer: unknown[]][] = [
    ...[
      '',
      'orders',
      '/orders',
      '//orders.example',
      'https://',
      'https://x.example/#',
      'https://x.example/#y',
      'https://x.example/ y',
      'https://ä.example'
    ].map((resource): [object, unknown[]] => [{ resource }, invalid(URI)]),
    ...names.map((name): [object, unknown[]] => [{ scopes: [{ name: 'fine' }, { name }] }, invalid(NAME)]),
    [{ scopes: [{ name: 'a' }, { name: 'a', description: 'again' }] }, invalid('A scope is named twice')],
    [{ introspection_clients: ['none'] }, invalid('There is no client "none"')],
    [{ introspection_clients: ['docs', 'DOCS'] }, invalid('There is no client "DOCS"')],
    [{ id: 'orders' }, conflict('A resource with this id is there already')],
    [{ id: 'latchkey' }, conflict('A resource with this id is there already')],
    [{ resource: ORDERS.resource }, conflict('A resource with this identifier is there already')],
    [{ resource: ISSUER }, conflict('This is the identifier of Latchkey’s own API')],
    [{ scopes: [{ name: 'new' }, { name: 'orders:read' }] }, conflict('A scope of this name is there already')],
    ...['profile', 'tokens:introspect', 'revocations:read', 'users:later', 'openid'].map(
      (name): [object, unknown[]] => [
        { scopes: [{ name }] },
        conflict(`The scope name ${name} is reserved for Latchkey`)
      ]
    )
  ]
  for (const [body, expected] of refusals)
    t.strictSame(await api('POST', '/resources', { ...STOCK, ...body }), expected, JSON.stringify(body))
  const malformed: [body: object, pointer: string][] = [
    ...['', 'Orders', '9', '-a', 'a b', 'a/b', 'x'.repeat(65), 7].map((id): [object, string] => [{ id }, '/body/id']),
    ...['', 'a\nb', 'x'.repeat(201), 7].map((name): [object, string] => [{ name }, '/body/name']),
    [{ resource: `https://x.example/${'x'.repeat(240)}` }, '/body/resource'],
    [{ scopes: ['orders'] }, '/body/scopes/0'],
    [{ scopes: [{ name: 'a', description: 'x'.repeat(201) }] }, '/body/scopes/0/description'],
    [{ scopes: [{ name: 'a', description: 'a\nb' }] }, '/body/scopes/0/description'],
    [{ scopes: [{ name: 'a', resource: 'orders' }] }, '/body/scopes/0/resource'],
    [{ scopes: Array.from({ length: 101 }, (_, n) => ({ name: `a${n}` })) }, '/body/scopes'],
    [{ introspection_clients: 'docs' }, '/body/introspection_clients'],
    [{ introspection_clients: ['docs', 'docs'] }, '/body/introspection_clients'],
    [{ identifier: 'https://x.example' }, '/body/identifier'],
    [{ created_at: 0 }, '/body/created_at']
  ]
  for (const [body, pointer] of malformed) {
    const [status, { errors }] = await api('POST', '/resources', { ...STOCK, ...body })
    t.strictSame([status, errors?.[0].pointer], [400, pointer], JSON.stringify(body).slice(0, 80))
  }
  t.strictSame(await api('GET', '/resources'), before)
})

t.test('a change that is refused changes nothing, and identity and scopes of Latchkey stay', async (t) => {
  const { api, app } = await start(t)
  await api('POST', '/resources', ORDERS)
  await api('POST', '/resources', STOCK)
  const before = [await api('GET', '/resources'), await api('GET', '/roles')]
  const orders: [body: object, answer: unknown[]][] = [
    [{ name: 'x', scopes: [{ name: 'stock' }] }, conflict('A scope of this name is there already')],
    [{ name: 'x', scopes: [{ name: 'profile' }] }, conflict('The scope name profile is reserved for Latchkey')],
    [{ scopes: [{ name: 'a' }, { name: 'a' }] }, invalid('A scope is named twice')],
    [
      { scopes: [{ name: 'A' }] },
      invalid('A scope name is noun:verb or one word, of a-z, 0-9, dot, hyphen and underscore')
    ],
    [{ name: 'x', scopes: [], introspection_clients: ['none'] }, invalid('There is no client "none"')]
  ]
  const seq = await app.store.revocations.seq()
  for (const [body, expected] of orders)
    t.strictSame(await api('PATCH', '/resources/orders', body), expected, JSON.stringify(body))
  for (const name of ['id', 'resource', 'identifier'])
    t.equal((await api('PATCH', '/resources/orders', { [name]: 'x' }))[1].errors[0].pointer, `/body/${name}`)
  const STAY = conflict('The scopes of Latchkey’s own API cannot be changed')
  for (const scopes of [[], [{ name: 'profile' }], [{ name: 'new' }]])
    t.strictSame(await api('PATCH', '/resources/latchkey', { scopes }), STAY)
  t.strictSame(await api('DELETE', '/resources/latchkey'), conflict('Latchkey’s own API cannot be deleted'))
  t.strictSame([await api('GET', '/resources'), await api('GET', '/roles')], before)
  t.equal(await app.store.revocations.seq(), seq)
})

onOneDatabase(t, 'the role admin gets every new scope, and nobody else does', async (t, database) => {
  const { api, add, asks } = await start(t, database)
  const roles = async () => (await api('GET', '/roles'))[1].items.map((role: { scopes: string[] }) => role.scopes)
  await api('POST', '/resources', ORDERS)
  t.strictSame(await roles(), [[...ALL.split(' '), 'orders:read', 'orders:write'].toSorted(), ['profile']])
  await api('PATCH', '/resources/orders', { scopes: [...ORDERS.scopes, { name: 'orders:drop' }] })
  t.strictSame(await roles(), [
    [...ALL.split(' '), 'orders:drop', 'orders:read', 'orders:write'].toSorted(),
    ['profile']
  ])

  const app = await add('app', { ...LOGIN, scope: 'orders:drop profile' })
  const admin = await asks({ ...app, ...USER }, [['scope', 'orders:drop']], 'password')
  t.strictSame([admin.scope, admin.aud], ['orders:drop', ORDERS.resource])
  const alice = await asks({ ...app, ...USER, username: 'alice' }, [['scope', 'orders:drop']], 'password')
  t.strictSame(alice.error, ['invalid_scope', 'None of the requested scopes is allowed'])
})

onOneDatabase(
  t,
  'a scope that is taken away is gone from roles, clients and tokens at once, and the log says so',
  async (t, database) => {
    const { api, add, asks, app, introspect, since } = await start(t, database)
    const reader = await add('reader', { scope: 'tokens:introspect' })
    await api('POST', '/resources', { ...ORDERS, introspection_clients: ['reader'] })
    await api('PATCH', '/resources/latchkey', { introspection_clients: ['reader'] })
    await api('POST', '/roles', { name: 'clerk', scopes: ['orders:write'] })
    await api('POST', '/roles', { name: 'viewer', scopes: ['orders:read'] })
    const BOTH = { ...LOGIN, scope: 'orders:read orders:write', default_scope: 'orders:read orders:write' }
    const [both, read] = [
      await add('both', BOTH),
      await add('read', { ...LOGIN, scope: 'orders:read', default_scope: 'orders:read' })
    ]
    const held = [await asks(both), await asks({ ...both, ...USER }, [], 'password'), await asks(read)]
    const active = async () =>
      Promise.all(held.map(async ({ body }) => (await introspect(reader, body.access_token)).active))
    t.strictSame(
      held.map(({ scope }) => scope),
      ['orders:read orders:write', 'orders:read orders:write', 'orders:read']
    )
    t.strictSame(await active(), [true, true, true])

    const seq = await app.store.revocations.seq()
    await api('PATCH', '/resources/orders', { name: 'x', scopes: [...ORDERS.scopes, { name: 'more' }] })
    t.strictSame(await since(seq), [], 'what is added ends nothing')
    t.strictSame(await active(), [true, true, true])

    await api('PATCH', '/resources/orders', { scopes: [ORDERS.scopes[0]] })
    t.strictSame(await since(seq), ['client both', 'role admin', 'role clerk'])
    t.strictSame(await active(), [false, false, true], 'who did not have it keeps what it has')
    const { scope, default_scope } = (await api('GET', '/clients/both'))[1]
    t.strictSame([scope, default_scope], ['orders:read', 'orders:read'])
    t.strictSame((await api('GET', '/roles/clerk'))[1].scopes, [])
    t.strictSame((await api('GET', '/roles/viewer'))[1].scopes, ['orders:read'])

    const refused = await asks(both, [['scope', 'orders:read orders:write']])
    t.strictSame(refused.error, ['invalid_scope', 'A requested scope is not registered'])
    t.strictSame(
      [(await asks(both)).scope, (await asks({ ...both, ...USER }, [], 'password')).scope],
      ['orders:read', 'orders:read']
    )
    const refresh_token = held[1]?.body.refresh_token
    t.equal((await introspect(reader, refresh_token)).scope, 'orders:read')
    const renewed = await asks({ ...both, refresh_token }, [], 'refresh_token')
    t.strictSame([renewed.scope, renewed.aud], ['orders:read', ORDERS.resource], 'a session goes on with what is left')

    await api('PATCH', '/resources/orders', { scopes: ORDERS.scopes })
    t.strictSame(await active(), [false, false, true], 'a scope of the same name revives nothing')
    t.strictSame((await api('GET', '/clients/both'))[1].scope, 'orders:read')
  }
)

onOneDatabase(t, 'a resource is deleted with its scopes and tokens, unless a client names it', async (t, database) => {
  const { api, add, asks, app, introspect, since } = await start(t, database)
  const reader = await add('reader', { scope: 'tokens:introspect' })
  await api('POST', '/resources', { ...ORDERS, introspection_clients: ['reader'] })
  const worker = await add('worker', {
    grant_types: ['client_credentials'],
    scope: 'orders:read profile',
    default_scope: 'orders:read',
    resources: ['latchkey', 'orders']
  })
  const { body } = await asks(worker)
  t.strictSame(await api('DELETE', '/resources/orders'), conflict('The client "worker" names it: change that first'))
  t.match(await introspect(reader, body.access_token), { active: true, aud: ORDERS.resource })
  await api('PATCH', '/clients/worker', { resources: [] })
  const seq = await app.store.revocations.seq()
  t.strictSame(await api('DELETE', '/resources/orders'), [204, ''])
  t.strictSame(await since(seq), ['client worker', 'role admin'])
  t.strictSame(await introspect(reader, body.access_token), INACTIVE)
  t.strictSame((await asks(worker)).error, ['invalid_scope', 'None of the requested scopes is allowed'])
  t.strictSame((await api('GET', '/clients/worker'))[1].scope, 'profile')

  await api('POST', '/resources', { ...ORDERS, introspection_clients: ['reader'] })
  t.strictSame(await introspect(reader, body.access_token), INACTIVE, 'another of its name revives nothing')
})

onOneDatabase(t, 'a resource is deleted though a client names one that is called nearly so', async (t, database) => {
  const { api, add } = await start(t, database)
  for (const id of ['a_b', 'axb', 'a', 'b']) await api('POST', '/resources', { id, resource: `urn:${id}`, name: id })
  await add('worker', { resources: ['axb', 'b'] })
  t.strictSame(await api('DELETE', '/resources/a_b'), [204, ''])
  t.strictSame(await api('DELETE', '/resources/a'), [204, ''])
  for (const id of ['b', 'axb'])
    t.strictSame(await api('DELETE', `/resources/${id}`), conflict('The client "worker" names it: change that first'))
})

onOneDatabase(t, 'a token is for the one resource that is meant (RFC 8707)', async (t, database) => {
  const { api, add, asks } = await start(t, database)
  await api('POST', '/resources', ORDERS)
  await api('POST', '/resources', STOCK)
  const scope = 'orders:read orders:write profile stock'
  const service = { grant_types: ['client_credentials'], scope }
  const clients = {
    plain: await add('plain', { ...service, default_scope: 'orders:read' }),
    many: await add('many', { ...service, default_scope: 'orders:read profile stock' }),
    default: await add('default', { ...service, default_scope: scope, resources: ['stock', 'orders'] }),
    none: await add('none', { ...service, default_scope: '' }),
    other: await add('other', { ...service, default_scope: 'orders:read profile', resources: ['stock'] })
  }
  const TARGET = ['invalid_target', 'A token is for one resource: name one resource, or scopes of one']
  const NOT_ALLOWED = ['invalid_target', 'The client may not ask for this resource']
  const UNKNOWN = ['invalid_target', 'The resource is not registered']
  const NOTHING = ['invalid_scope', 'None of the requested scopes is allowed']
  const [O, S] = [ORDERS.resource, STOCK.resource]
  const cases: [client: keyof typeof clients, scope: string | null, resources: string[], expected: string[]][] = [
    ['plain', null, [], [O, 'orders:read']],
    ['plain', null, [O], [O, 'orders:read']],
    ['plain', null, [S], NOTHING],
    ['plain', 'stock', [], [S, 'stock']],
    ['plain', 'profile', [], [ISSUER, 'profile']],
    ['plain', 'profile', [ISSUER], [ISSUER, 'profile']],
    ['plain', 'orders:write orders:read', [], [O, 'orders:write orders:read']],
    ['plain', 'orders:read stock', [], TARGET],
    ['plain', 'orders:read profile', [], TARGET],
    ['plain', 'orders:read stock', [S], [S, 'stock']],
    ['plain', 'orders:read stock', [O, O], [O, 'orders:read']],
    ['plain', 'orders:read stock', [O, S], TARGET],
    ['plain', 'orders:read', [O, 'https://none.example'], TARGET],
    ['plain', 'orders:read', ['https://none.example'], UNKNOWN],
    ['plain', 'orders:read', [`${O}/`], UNKNOWN],
    ['plain', 'orders:read', ['orders'], UNKNOWN],
    ['plain', 'orders:read', ['latchkey'], UNKNOWN],
    ['plain', 'users:read', [], NOTHING],
    ['many', null, [], TARGET],
    ['many', null, [S], [S, 'stock']],
    ['many', null, [ISSUER], [ISSUER, 'profile']],
    ['default', null, [], [S, 'stock']],
    ['default', null, [O], [O, 'orders:read orders:write']],
    ['default', 'stock orders:read', [], TARGET],
    ['default', 'orders:read', [], [O, 'orders:read']],
    ['default', 'profile', [], NOT_ALLOWED],
    ['default', null, [ISSUER], NOT_ALLOWED],
    ['default', 'orders:read', [ISSUER], NOTHING],
    ['none', null, [], NOTHING],
    ['none', null, [O], NOTHING],
    ['none', 'stock', [], [S, 'stock']],
    ['other', null, [], TARGET],
    ['other', null, [O], NOT_ALLOWED],
    ['other', 'stock', [], [S, 'stock']]
  ]
  for (const [client, scope, resources, expected] of cases) {
    const more = [...(scope === null ? [] : [['scope', scope]]), ...resources.map((each) => ['resource', each])]
    const { error, aud, scope: granted } = await asks(clients[client], more as [string, string][])
    t.strictSame(error ?? [aud, granted], expected, JSON.stringify([client, scope, resources]))
  }
})

onOneDatabase(
  t,
  'a client sees the tokens of resources for which it is listed, and refresh tokens with Latchkey’s or its own [IR3]',
  async (t, database) => {
    const { api, add, asks, introspect } = await start(t, database)
    await api('POST', '/resources', ORDERS)
    await api('POST', '/resources', STOCK)
    const SCOPE = { scope: 'tokens:introspect' }
    const [orders, stock, own, all, nobody] = [
      await add('orders-api', SCOPE),
      await add('stock-api', SCOPE),
      await add('own-api', SCOPE),
      await add('all-api', SCOPE),
      await add('no-api', SCOPE)
    ]
    const app = await add('app', { ...LOGIN, scope: 'orders:read profile stock tokens:introspect' })
    await api('PATCH', '/resources/orders', { introspection_clients: ['orders-api', 'all-api'] })
    await api('PATCH', '/resources/stock', { introspection_clients: ['all-api', 'stock-api'] })
    await api('PATCH', '/resources/latchkey', { introspection_clients: ['all-api', 'own-api'] })
    const logins = await Promise.all(
      ['orders:read', 'stock', 'profile'].map((scope) => asks({ ...app, ...USER }, [['scope', scope]], 'password'))
    )
    const ownName = await asks(app, [['scope', 'orders:read']])
    const tokens = [
      ...logins.map(({ body }) => body.access_token),
      ownName.body.access_token,
      logins[0]?.body.refresh_token
    ]
    const seen = async (client: object) =>
      Promise.all(
        tokens.map(async (jwt) => {
          const answer = await introspect(client, jwt)
          if (!answer.active) t.strictSame(answer, INACTIVE)
          return answer.active ? (answer.aud ?? 'refresh') : null
        })
      )
    const [O, S] = [ORDERS.resource, STOCK.resource]
    t.strictSame(await seen(orders), [O, null, null, O, null])
    t.strictSame(await seen(stock), [null, S, null, null, null])
    t.strictSame(await seen(own), [null, null, ISSUER, null, 'refresh'])
    t.strictSame(await seen(all), [O, S, ISSUER, O, 'refresh'])
    t.strictSame(await seen(nobody), [null, null, null, null, null])
    t.strictSame(await seen(app), [null, null, null, null, 'refresh'], 'its own')

    await api('PATCH', '/resources/orders', { introspection_clients: ['stock-api'] })
    t.strictSame(await seen(orders), [null, null, null, null, null], 'listed no more')
    t.strictSame(await seen(stock), [O, S, null, O, null], 'from the next request on')
    await api('PATCH', '/clients/stock-api', { scope: '' })
    t.match(await introspect(stock, tokens[0]), { error: 'unauthorized_client' })
  }
)
