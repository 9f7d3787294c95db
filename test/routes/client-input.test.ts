import t from 'tap'
import { build } from '../helper.ts'
import { compareAll } from '../rows.ts'
import { asAdmin, invalid, outcome, pointers } from './api.ts'

// test/domain/client-registration.test.ts tests the rules, test/wire/clients.test.ts the limits of the schema.

const FORM = 'The request does not have the form that the documentation describes'

const world = await build(t)
const { api, add } = await asAdmin(world)
await add({ client_id: 'worker' })

t.test('a member of a client with a wrong type or form is 400 with its place, and nothing is stored', async (t) => {
  const before = (await api('GET', '/clients')).json()
  const malformed: [member: string, values: unknown[], pointer?: string][] = [
    ['client_id', ['', ' ', 'a b', 'a\n', 'é', 'x'.repeat(256), 7, null]],
    ['client_name', ['', 'a\nb', 'x'.repeat(201), 7, null]],
    ['grant_types', ['password', ['refresh_token', 'refresh_token']]],
    ['scope', [['profile'], 'x'.repeat(4097)]],
    ['resources', ['latchkey']],
    ['redirect_uris', [Array.from({ length: 101 }, (_, n) => `https://app.example/${n}`)]],
    ['redirect_uris', [[`https://app.example/${'x'.repeat(2000)}`]], '/body/redirect_uris/0'],
    ['post_logout_redirect_uris', ['https://app.example/']],
    ['application_type', ['desktop', null]],
    ['client_uri', [7, `https://app.example/${'x'.repeat(2000)}`]],
    ['logo_uri', ['', ['x']]],
    ['require_pkce', ['false', null]],
    ['require_consent', [0]],
    ['id_token_signed_response_alg', ['none', 'HS256', 'PS256']],
    ['first_party', ['true']],
    ['session_idle_ttl', [0, 31_536_001, 1.5, -1, null, '60']],
    ['session_absolute_ttl', [0, 31_536_001, 1.5, -1, null, '60']],
    ['access_token_ttl', [0, 3601, 1.5, '60']],
    ['jwks', [[]]],
    ['jwks', [{ keys: [] }, {}, { keys: Array(11).fill({ kty: 'EC' }) }], '/body/jwks/keys']
  ]
  await compareAll(t, async (row) => {
    for (const [member, values, pointer = `/body/${member}`] of malformed) {
      for (const value of values) {
        const response = await api('POST', '/clients', { client_name: 'Worker', [member]: value })
        const name = `${member} ${JSON.stringify(value)}`.slice(0, 100)
        row(name, [response.statusCode, pointers(response)?.[0]], [400, pointer])
        const { detail } = response.json()
        row(
          `${name}: reason`,
          detail === FORM ||
            /^The parameter \w+ is missing$|^A text of the request has more than \d+ bytes$/.test(detail),
          true
        )
      }
    }
    const method = await api('POST', '/clients', { client_name: 'x', token_endpoint_auth_method: 'tls_client_auth' })
    row('another method', [method.statusCode, method.json().detail], [400, FORM])
  })
  t.strictSame((await api('GET', '/clients')).json(), before)
})

t.test('a client that breaks a rule is 400 with the reason', async (t) => {
  const grant = invalid(
    'There is no grant "magic"; the grants are authorization_code, password, refresh_token, client_credentials'
  )
  const body = { grant_types: ['magic'] }
  t.strictSame(outcome(await api('POST', '/clients', { client_name: 'x', ...body })), grant)
  t.strictSame(outcome(await api('PATCH', '/clients/worker', body)), grant)
})

t.test('a member that a caller may not set is 400 [AD3]', async (t) => {
  const before = (await api('GET', '/clients/worker')).json()
  const always = ['id', 'kind', 'client_secret', 'secrets', 'client_id_issued_at', 'updated_at', 'created_at', 'hash']
  const more = ['client_secret_expires_at', 'revoked_seq', 'firstParty', 'constructor', 'jwks_uri']
  await compareAll(t, async (row) => {
    const refused = async (method: 'POST' | 'PATCH', url: string, name: string, rest: object = {}) => {
      const response = await api(method, url, { ...rest, [name]: 'x' })
      row(`${method} ${url} with ${name}`, [response.statusCode, pointers(response)], [400, [`/body/${name}`]])
    }
    for (const name of [...always, ...more, 'disabled']) await refused('POST', '/clients', name, { client_name: 'x' })
    for (const name of [...always, ...more, 'client_id', 'token_endpoint_auth_method'])
      await refused('PATCH', '/clients/worker', name)
    for (const name of ['id', 'client_secret', 'hash', 'created_at', 'last_used_at'])
      await refused('POST', '/clients/worker/secrets', name)
  })
  t.strictSame((await api('GET', '/clients/worker')).json(), before)
})
