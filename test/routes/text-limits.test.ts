import t from 'tap'
import { basic } from '../basic.ts'
import { PASSWORD } from '../helper.ts'
import { asOAuthError, asProblem, FORM, refusal, sendForm, sharedApp, withPointers } from '../http.ts'
import { compareAll } from '../rows.ts'
import { watchWork } from '../work.ts'

/** Combining marks of two classes in turn, which cost `normalize` the most. */
const marks = (bytes: number): string => '\u0301'.repeat(bytes >> 2) + '\u0316'.repeat(bytes >> 2)
const HUGE = marks(15_800)

const TOO_LONG = (bytes: number) => `A text of the request has more than ${bytes} bytes`

/** Every parameter of a form, with its limit in bytes. */
const PARAMETERS: [url: string, name: string, limit: number][] = [
  ...['grant_type', 'username', 'password', 'refresh_token', 'client_id', 'client_secret', 'resource', 'other'].map(
    (name): [string, string, number] => ['/token', name, 1024]
  ),
  ['/token', 'scope', 4096],
  ['/token', 'client_assertion', 8192],
  ...['/revoke', '/introspect'].flatMap((url): [string, string, number][] => [
    [url, 'token', 10_240],
    [url, 'token_type_hint', 1024]
  ])
]

/** Returns a form with the text in one parameter, not percent-encoded, so that the body holds as much text as it can. */
function formWith(name: string, text: string): string {
  const form = new URLSearchParams({ grant_type: 'password', username: 'alice', password: 'x', token: 'x' })
  form.delete(name)
  return `${form}&${name}=${text}`
}

t.test('no text over its limit reaches normalize, a pattern or a hash: forms [UA1]', async (t) => {
  const app = await sharedApp()
  const work = watchWork(t)
  await compareAll(t, async (row) => {
    for (const [url, name, limit] of PARAMETERS) {
      for (const text of [HUGE, 'x'.repeat(15_800)]) {
        work.take()
        const response = await sendForm(app, formWith(name, text), { url })
        const { bytes, by } = work.take()
        const kind = `${url} ${name} of ${text.slice(0, 1)}`
        row(kind, refusal(response), asOAuthError(400, 'invalid_request', TOO_LONG(limit)))
        row(`${kind}: work`, bytes > 1024 ? `${by} got ${bytes} bytes` : 'bounded', 'bounded')
      }
    }
  })
  await sendForm(app, formWith('password', marks(1024)))
  t.strictSame(work.take(), { bytes: 1024, by: 'normalize' }, 'a text of the maximum size is worked on')
})

t.test(
  'no text over its limit reaches normalize, a pattern or a hash: JSON, query, path and headers [UA1]',
  async (t) => {
    const app = await sharedApp()
    const [alice, admin] = [await app.login('alice'), await app.login('admin', 'users:read users:write clients:write')]
    const work = watchWork(t)
    const user = { username: 'mallory', password: PASSWORD, email: null, full_name: null, roles: ['user'] }
    const client = { client_name: 'x' }
    const bodies: [method: 'POST' | 'PATCH', url: string, body: (text: string) => object, limit?: number][] = [
      ['PATCH', '/users/me', (text) => ({ full_name: text })],
      ['PATCH', '/users/me', (text) => ({ email: text })],
      ['PATCH', '/users/me', (text) => ({ [text]: 'x' })],
      ['POST', '/users/me/password', (text) => ({ current_password: text, new_password: PASSWORD })],
      ['POST', '/users/me/password', (text) => ({ current_password: PASSWORD, new_password: text })],
      ...Object.keys(user).map((name): [method: 'POST', url: string, body: (text: string) => object] => [
        'POST',
        '/users',
        (text) => ({ ...user, [name]: name === 'roles' ? [text] : text })
      ]),
      ['POST', '/clients', (text) => ({ ...client, client_name: text })],
      ['POST', '/clients', (text) => ({ ...client, scope: text }), 4096],
      ['POST', '/clients', (text) => ({ ...client, redirect_uris: [text] }), 2000],
      ['POST', '/clients', (text) => ({ ...client, jwks: { keys: [{ kty: text }] } }), 4096]
    ]
    await compareAll(t, async (row) => {
      for (const [method, url, body, limit = 1024] of bodies) {
        work.take()
        const response = await app.send(url.startsWith('/users/me') ? alice : admin, method, url, body(HUGE))
        const { bytes, by } = work.take()
        const name = `${method} ${url} ${JSON.stringify(body('…'))}`
        row(name, withPointers(response).answer, asProblem(400, TOO_LONG(limit)))
        row(`${name}: work`, bytes > 1024 ? `${by} got ${bytes} bytes` : 'bounded', 'bounded')
      }
      const text = encodeURIComponent(marks(2400))
      const others: [name: string, request: object, status: number][] = [
        ['a query', { url: `/users?search=${text}`, headers: { authorization: `Bearer ${admin}` } }, 400],
        ['a query of a public path', { url: `/health/live?x=${text}` }, 400],
        ['a path', { url: `/${'x'.repeat(15_000)}` }, 400],
        ['a bearer token', { url: '/users/me', headers: { authorization: `Bearer ${'x.'.repeat(7000)}` } }, 401],
        [
          'Basic credentials',
          {
            method: 'POST',
            url: '/token',
            headers: { authorization: basic('x'.repeat(5000), 'y'.repeat(5000)), 'content-type': FORM },
            payload: 'grant_type=password'
          },
          401
        ],
        [
          'other headers',
          { url: '/users/me', headers: { origin: 'x'.repeat(7000), 'user-agent': 'y'.repeat(7000) } },
          401
        ]
      ]
      for (const [name, request, status] of others) {
        work.take()
        const { statusCode } = await app.inject(request)
        const { bytes, by } = work.take()
        row(name, statusCode, status)
        row(`${name}: work`, bytes > 1024 ? `${by} got ${bytes} bytes` : 'bounded', 'bounded')
      }
    })
    const { errors } = (await app.send(alice, 'PATCH', '/users/me', { full_name: HUGE })).json()
    t.strictSame(errors, [{ pointer: '/body/full_name', detail: 'must NOT have more than 1024 bytes' }])
  }
)

t.test('a form has at most 100 parameters, also if all of them are resources [UA1]', async (t) => {
  const app = await sharedApp()
  const login = new URLSearchParams({ grant_type: 'password', username: 'alice', password: PASSWORD }).toString()
  const withResources = (count: number) => sendForm(app, `${login}${'&resource=urn:x'.repeat(count)}`)
  t.strictSame(
    refusal(await withResources(98)),
    asOAuthError(400, 'invalid_request', 'A form has at most 100 parameters')
  )
  t.equal((await withResources(97)).json().error, 'invalid_target')
})

t.test('a caller address that is too long to be an address is not recorded [UA1]', async (t) => {
  const app = await sharedApp()
  const seen: unknown[] = []
  t.intercept(app.app.events, 'record', {
    value: ({ caller }: { caller: { address: unknown } }) => seen.push(caller.address)
  })
  await app.inject({
    method: 'POST',
    url: '/token',
    remoteAddress: '1'.repeat(65),
    headers: { 'content-type': FORM },
    payload: formWith('x', 'x')
  })
  t.strictSame(seen, [null])
})
