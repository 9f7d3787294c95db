import { connect } from 'node:net'
import t from 'tap'
import { DomainError } from '../../src/domain/errors.ts'
import {
  accepted,
  alive,
  answer,
  answers,
  everywhere,
  forbidden,
  guarded,
  INVALID_TOKEN,
  NOT_AUTHENTICATED,
  placeholderPath,
  READABLE
} from '../forge.ts'
import { bearers } from '../forged/bearers.ts'
import { build } from '../helper.ts'
import { compareAll } from '../rows.ts'
import { sql } from '../sql.ts'

const world = await build(t, { logger: false })
const { app, env, createUser, inject, login, get } = world
const valid = await login('admin', 'account profile users:read')
const alice = await login('alice')
const { otherSchemes, noToken, elsewhere } = bearers(valid)

/** Sends `GET` with this `Authorization`. */
const ask = async (url: string, authorization?: string | string[]) =>
  answer(
    await inject({
      method: 'GET',
      url,
      headers: authorization === undefined ? {} : { authorization: authorization as string }
    })
  )

/** One guard checks every route, so the forms of the header are tested on two routes. The last tests use all operations. */
const TWO_ROUTES = READABLE.map((url) => ({ method: 'GET' as const, url }))

t.test('a header of another scheme has no token: the challenge has no error (RFC 6750 §3.1) [JW13]', async (t) => {
  for (const authorization of otherSchemes)
    await everywhere(t, world, { headers: { authorization } }, NOT_AUTHENTICATED, TWO_ROUTES)
})

t.test('a Bearer header without a valid token is invalid_token [JW13]', async (t) => {
  for (const authorization of noToken)
    await everywhere(t, world, { headers: { authorization } }, INVALID_TOKEN, TWO_ROUTES)
})

t.test('the scheme may be written in any case (RFC 9110 §11.1) [JW13]', async (t) => {
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR']) {
    for (const path of READABLE) t.equal((await ask(path, `${scheme} ${valid}`)).status, 200, `${scheme} at ${path}`)
  }
})

t.test('one or more spaces stand before the token (RFC 6750 §2.1) [JW13]', async (t) => {
  for (const path of READABLE) t.equal((await ask(path, `Bearer  ${valid}`)).status, 200, path)
})

t.test('a token in the query is ignored [JW13]', async (t) => {
  for (const name of ['access_token', 'token', 'bearer_token', 'authorization', 'Authorization']) {
    await everywhere(t, world, { query: `?${name}=${valid}` }, NOT_AUTHENTICATED, TWO_ROUTES)
    t.equal((await ask(`/users/me?${name}=nonsense`, `Bearer ${valid}`)).status, 200, `${name} beside a header`)
    t.strictSame(await ask(`/users/me?${name}=${valid}`, 'Bearer x'), INVALID_TOKEN, `${name} beside an invalid header`)
  }
})

t.test('a token in the body is ignored [JW13]', async (t) => {
  const users = guarded().filter(({ url }) => url.startsWith('/users'))
  const bodies: [type: string, payload: string][] = [
    ['application/x-www-form-urlencoded', `access_token=${valid}`],
    ['application/json', JSON.stringify({ access_token: valid })],
    ['application/json', JSON.stringify(valid)],
    ['text/plain', `Bearer ${valid}`]
  ]
  for (const [type, payload] of bodies) {
    const headers = { 'content-type': type }
    await everywhere(t, world, { headers, payload }, NOT_AUTHENTICATED, users)
  }
})

t.test('a token in any other header is ignored [JW13]', async (t) => {
  for (const headers of elsewhere) await everywhere(t, world, { headers }, NOT_AUTHENTICATED, TWO_ROUTES)
})

const TWO_HEADERS = {
  status: 400,
  challenge:
    'Bearer realm="latchkey", error="invalid_request", error_description="The request has more than one Authorization header"',
  type: 'application/problem+json; charset=utf-8',
  cache: 'no-store',
  body: {
    type: 'about:blank',
    title: 'Bad Request',
    status: 400,
    detail: 'The request has more than one Authorization header'
  }
}

t.test('two Authorization headers are refused, with any values [JW13]', async (t) => {
  const pairs = [
    [`Bearer ${valid}`, `Bearer ${valid}`],
    [`Bearer ${valid}`, 'Bearer x'],
    ['Bearer x', `Bearer ${valid}`],
    ['Basic Og==', `Bearer ${valid}`],
    [`Bearer ${valid}`, 'Basic Og=='],
    [`Bearer ${valid}`, ''],
    ['', '']
  ]
  for (const pair of pairs) await everywhere(t, world, { headers: { authorization: pair } }, TWO_HEADERS, TWO_ROUTES)
})

t.test(
  'two Authorization lines sent over a socket are refused, in any case and with other lines between [JW13]',
  async (t) => {
    await app.listen({ host: '127.0.0.1', port: 0 })
    const { port } = app.server.address() as { port: number }
    /** Sends the lines as they are, and returns the whole answer. */
    const raw = (method: string, path: string, lines: string[]) =>
      new Promise<{ status: number; headers: Map<string, string>; body: string }>((resolve, reject) => {
        const socket = connect(port, '127.0.0.1')
        let text = ''
        socket.on('data', (chunk) => (text += chunk))
        socket.on('error', reject)
        socket.on('end', () => {
          const [head = '', body = ''] = text.split('\r\n\r\n')
          const [first = '', ...rest] = head.split('\r\n')
          const headers = rest.map((line): [string, string] => {
            const colon = line.indexOf(':')
            return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
          })
          resolve({ status: Number(first.split(' ')[1]), headers: new Map(headers), body })
        })
        socket.write(
          [`${method} ${path} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...lines, '', ''].join('\r\n')
        )
      })

    t.equal((await raw('GET', '/users/me', [`Authorization: Bearer ${valid}`])).status, 200)
    const doubles = [
      [`Authorization: Bearer ${valid}`, `Authorization: Bearer ${valid}`],
      [`Authorization: Bearer ${valid}`, 'Authorization: Bearer x'],
      ['Authorization: Bearer x', `Authorization: Bearer ${valid}`],
      [`authorization: Bearer ${valid}`, `AUTHORIZATION: Bearer ${valid}`],
      [`Authorization: Bearer ${valid}`, 'Accept: */*', 'X-Other: y', 'aUTHORIZATION: Basic Og=='],
      [`Authorization: Bearer ${valid}`, 'Authorization:'],
      ['Authorization:', 'Authorization:']
    ]
    for (const lines of doubles) {
      for (const path of [...READABLE, '/users/me?x=1']) {
        const { status, headers, body } = await raw('GET', path, lines)
        t.strictSame(
          {
            status,
            challenge: headers.get('www-authenticate'),
            type: headers.get('content-type'),
            cache: headers.get('cache-control'),
            body: JSON.parse(body)
          },
          TWO_HEADERS,
          lines.map((line) => line.slice(0, 25)).join(' | ')
        )
      }
      t.equal((await raw('HEAD', '/users/me', lines)).status, 400)
    }
    const folded = await raw('GET', '/users/me', ['Authorization: Bearer', ` ${valid}`])
    t.ok([400, 401].includes(folded.status), 'a folded line is refused')
  }
)

t.test(
  'the challenge has the required scopes when one is missing, the description names each missing right (RFC 6750 §3.1) [JW13]',
  async (t) => {
    t.strictSame(await ask('/users', `Bearer ${alice}`), forbidden({ scope: 'users:read', role: 'admin' }))
    await sql(
      { env },
      `insert into roles (name, description, created_at, updated_at) values ('reader', 'Reads', 0, 0);
     insert into role_scopes (role, scope) values ('reader', 'users:read')`
    )
    await createUser('bob', ['reader'])
    t.strictSame(await ask('/users', `Bearer ${await login('bob', 'users:read')}`), forbidden({ role: 'admin' }))
    t.strictSame(
      await ask('/users/me', `Bearer ${await login('admin', 'users:read')}`),
      forbidden({ scope: 'profile' })
    )
  }
)

const GARBAGE: [name: string, headers: Record<string, string>, payload: string | Buffer][] = [
  ['broken JSON', { 'content-type': 'application/json' }, '{"email":'],
  ['invalid UTF-8', { 'content-type': 'application/json' }, Buffer.from([123, 34, 0xff, 34, 58, 49, 125])],
  ['an unknown member', { 'content-type': 'application/json' }, '{"roles":["admin"]}'],
  ['a wrong type', { 'content-type': 'application/json' }, '{"email":1}'],
  ['__proto__', { 'content-type': 'application/json' }, '{"__proto__":{"roles":["admin"]}}'],
  ['an empty body', { 'content-type': 'application/json' }, ''],
  ['another content type', { 'content-type': 'text/html' }, '<p>'],
  ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 'email=x'],
  ['an invalid content type', { 'content-type': 'nonsense' }, '{}'],
  ['no content type', {}, '{}'],
  ['17 KB', { 'content-type': 'application/json' }, `{"full_name":"${'x'.repeat(17_000)}"}`],
  ['a wrong length', { 'content-type': 'application/json', 'content-length': '5' }, '{}']
]

t.test('401 comes before 400, 413 and 415: the body is not read [AD1]', async (t) => {
  const patch = (headers: Record<string, string>, payload: string | Buffer) =>
    inject({ method: 'PATCH', url: '/users/me', headers, payload })
  for (const [name, headers, payload] of GARBAGE) {
    t.strictSame(answer(await patch(headers, payload)), NOT_AUTHENTICATED, `${name} without a token`)
    t.strictSame(
      answer(await patch({ ...headers, authorization: 'Bearer x' }, payload)),
      INVALID_TOKEN,
      `${name} with an invalid token`
    )
    const { statusCode } = await patch({ ...headers, authorization: `Bearer ${valid}` }, payload)
    t.ok([400, 413, 415].includes(statusCode), `${name} with a valid token: ${statusCode}`)
  }
})

t.test('403 comes before 400, 413 and 415: the body is not read [AD1]', async (t) => {
  const authorization = `Bearer ${await login('admin', 'users:read')}`
  for (const [name, headers, payload] of GARBAGE) {
    const response = await inject({
      method: 'PATCH',
      url: '/users/me',
      headers: { ...headers, authorization },
      payload
    })
    t.strictSame(answer(response), forbidden({ scope: 'account' }), name)
  }
})

const QUERIES = [
  'limit=0',
  'limit=x',
  'nonsense=1',
  'cursor=x',
  'limit=1&limit=2',
  'x=%ff',
  'x=%',
  'x=%zz',
  'x=%00',
  '%ff'
]
t.test('401 and 403 come before every error of the query [AD1]', async (t) => {
  for (const query of QUERIES) {
    t.strictSame(await ask(`/users?${query}`), NOT_AUTHENTICATED, `${query} without a token`)
    t.strictSame(await ask(`/users?${query}`, 'Bearer x'), INVALID_TOKEN, `${query} with an invalid token`)
    t.strictSame(
      await ask(`/users?${query}`, `Bearer ${alice}`),
      forbidden({ scope: 'users:read', role: 'admin' }),
      `${query} without the scope`
    )
    t.equal((await ask(`/users?${query}`, `Bearer ${valid}`)).status, 400, `${query} with a valid token`)
  }
})

t.test('HEAD is guarded like GET, and its answer has no body [AD1]', async (t) => {
  const head = async (url: string, token?: string) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const response = await inject({ method: 'HEAD', url, headers })
    return [response.statusCode, response.headers['www-authenticate'], response.body]
  }
  for (const path of READABLE) {
    t.strictSame(await head(path), [401, NOT_AUTHENTICATED.challenge, ''])
    t.strictSame(await head(path, 'x'), [401, INVALID_TOKEN.challenge, ''])
    t.strictSame(await head(path, valid), [200, undefined, ''])
  }
  t.strictSame(await head('/users', alice), [403, forbidden({ scope: 'users:read', role: 'admin' }).challenge, ''])
})

t.test('no spelling of a guarded path is open without a token [AD1]', async (t) => {
  const spellings = [
    ...[
      '/users/',
      '/users//',
      '//users',
      '/./users',
      '/x/../users',
      '/users;a=b',
      '/users/me/',
      '/users//me',
      '//users/me'
    ],
    ...['/Users', '/USERS/ME', '/users/ME', '/%75sers', '/users/%6de', '/users%2Fme', '/users/me%00', '/users/me%20'],
    ...[
      '/users/me.json',
      '/users/me;x',
      '/users/./me',
      '/users/me/..',
      '/users?',
      '/users/me#x',
      '/users\\me',
      '/users/%2e/me'
    ],
    ...[
      'http://evil.example/users',
      'http://localhost/users/me',
      '/users/me?x',
      '/health/../users',
      '/docs/../users/me'
    ]
  ]
  for (const url of spellings) {
    const response = await inject({ method: 'GET', url })
    t.ok([401, 400, 404].includes(response.statusCode), `${url}: ${response.statusCode}`)
    if (response.statusCode === 401) t.strictSame(answer(response), NOT_AUTHENTICATED, url)
  }
})

const isForAdmins = (description = ''): boolean => description.includes('the role `admin`')

t.test('every guarded operation of the document answers 401 and 403 with its challenge [AD1]', async (t) => {
  const { paths = {} } = app.swagger() as unknown as {
    paths: Record<string, Record<string, { security?: Record<string, string[]>[]; description?: string }>>
  }
  let count = 0
  await compareAll(t, async (row) => {
    for (const [path, operations] of Object.entries(paths)) {
      for (const [method, { security = [], description }] of Object.entries(operations)) {
        if (!security.some((scheme) => 'password' in scheme || 'clientCredentials' in scheme)) continue
        count++
        const call = async (headers: Record<string, string>) =>
          answer(
            await inject({
              method: method.toUpperCase() as 'GET',
              url: placeholderPath(path),
              headers
            })
          )
        const name = `${method} ${path}`
        row(`${name} without a token`, await call({}), NOT_AUTHENTICATED)
        row(`${name} with another scheme`, await call({ authorization: 'Basic Og==' }), NOT_AUTHENTICATED)
        row(`${name} with an invalid token`, await call({ authorization: 'Bearer x' }), INVALID_TOKEN)
        const scopes = Object.values(security[0] ?? {}).flat()
        if (scopes.length > 0 && !['profile', 'account'].some((own) => scopes.includes(own))) {
          row(
            `${name} without the scope`,
            await call({ authorization: `Bearer ${alice}` }),
            forbidden({ scope: scopes.join(' '), ...(isForAdmins(description) ? { role: 'admin' } : {}) })
          )
        }
      }
    }
  })
  t.ok(count > 30)
})

t.test(
  'an error during the check of a token is 503 when the database is not available, else 500, and shows no cause [JW13]',
  async (t) => {
    const { state } = app.store
    const failing = async (error: Error, path: string) => {
      app.store.state = async () => {
        throw error
      }
      const response = await inject({ method: 'GET', url: path, headers: { authorization: `Bearer ${valid}` } })
      app.store.state = state
      return { ...answer(response), retryAfter: response.headers['retry-after'] }
    }
    const common = { challenge: undefined, type: 'application/problem+json; charset=utf-8', cache: 'no-store' }
    for (const path of READABLE) {
      const away = new DomainError('unavailable', 'The database is not available', { retryAfter: 1 })
      t.strictSame(await failing(away, path), {
        ...common,
        status: 503,
        body: {
          type: 'about:blank',
          title: 'Service Unavailable',
          status: 503,
          detail: 'The database is not available'
        },
        retryAfter: '1'
      })
      t.strictSame(await failing(new Error('relation "sessions" does not exist'), path), {
        ...common,
        status: 500,
        body: { type: 'about:blank', title: 'Internal Server Error', status: 500, detail: 'The server failed' },
        retryAfter: undefined
      })
    }
  }
)

t.test('after all invalid requests the service is ready and the token is still valid', async (t) => {
  await accepted(t, world, valid)
  await answers(t, world, 'x', INVALID_TOKEN)
  t.equal((await get('/users/me', alice)).statusCode, 200)
  await alive(t, world)
})
