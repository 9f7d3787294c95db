import { decodeJwt } from 'jose'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { basic } from '../basic.ts'
import { answer, INVALID_TOKEN } from '../forge.ts'
import { build, createDatabase, type TestApp } from '../helper.ts'
import { FORM, LOGIN } from '../http.ts'
import { compareAll } from '../rows.ts'
import { sql } from '../sql.ts'

// How any client authenticates is tested in test/routes/client-auth.test.ts.

const app = await build(t)
const { token, inject } = app

type Way = [name: string, form: Record<string, string>, authorization?: string]
const login = ({ token }: Pick<TestApp, 'token'>, form: object, authorization?: string) =>
  token({ ...LOGIN, ...form }, authorization === undefined ? {} : { authorization })

const refusal = (response: Awaited<ReturnType<TestApp['token']>>) => [
  response.statusCode,
  response.json(),
  response.headers['www-authenticate']
]
const refused = (error: string, error_description: string) => [400, { error, error_description }, undefined]
const INVALID_CLIENT = [
  401,
  { error: 'invalid_client', error_description: 'Client authentication failed' },
  'Basic realm="latchkey"'
]
const BLANK = 'Basic Og=='

t.test(
  'a login that names no client, or names the client docs by any method, gets a token for docs [CA4]',
  async (t) => {
    const ways: Way[] = [
      ['no client', {}],
      ['blank Basic, as Swagger UI sends it', {}, BLANK],
      ['blank Basic, the scheme in lower case', {}, 'basic Og=='],
      ['blank Basic and client_id', { client_id: 'docs' }, BLANK],
      ['client_id', { client_id: 'docs' }],
      ['client_id and an empty secret', { client_id: 'docs', client_secret: '' }],
      ['Basic', {}, basic('docs', '')],
      ['Basic, form-encoded', {}, basic('%64ocs', '')],
      ['Basic and the same client_id', { client_id: 'docs' }, basic('docs', '')],
      ['Basic and an empty secret in the form', { client_secret: '' }, basic('docs', '')]
    ]
    for (const [name, form, authorization] of ways) {
      const response = await login(app, form, authorization)
      t.equal(response.statusCode, 200, name)
      t.equal(decodeJwt(response.json().access_token).client_id, 'docs', name)
    }
  }
)

t.test(
  'a login of an unknown client, or with other credentials than docs has, is invalid_client [CA1 CA2 CA4]',
  async (t) => {
    const ways: Way[] = [
      ['an unknown client_id', { client_id: 'nobody' }],
      ['an unknown client_id beside blank Basic', { client_id: 'nobody' }, BLANK],
      ['an unknown client_id with a secret', { client_id: 'nobody', client_secret: 'x' }],
      ['client_id in another case', { client_id: 'DOCS' }],
      ['client_id with a space', { client_id: 'docs ' }],
      ['client_id __proto__', { client_id: '__proto__' }],
      ['a very long client_id', { client_id: 'd'.repeat(1024) }],
      ['a secret of the public client', { client_id: 'docs', client_secret: 'x' }],
      ['a secret without a client', { client_secret: 'x' }],
      ['a secret beside blank Basic', { client_secret: 'x' }, BLANK],
      ['an unknown client in Basic', {}, basic('nobody', '')],
      ['an unknown client in Basic with a secret', {}, basic('nobody', 'x')],
      ['a secret of the public client in Basic', {}, basic('docs', 'x')],
      ['a secret of colons', {}, basic('docs', ':')],
      ['a secret without a client in Basic', {}, basic('', 'x')],
      ['Basic without a colon', {}, `Basic ${Buffer.from('docs').toString('base64')}`],
      ['nothing after Basic', {}, 'Basic'],
      ['a space after Basic', {}, 'Basic '],
      ['no base64', {}, 'Basic !!!'],
      ['base64 with a gap', {}, 'Basic Og== x'],
      ['base64 after the padding', {}, 'Basic O=g='],
      ['two credentials in one header', {}, 'Basic Og==, Basic Og=='],
      ['no space', {}, 'BasicOg=='],
      ['an empty header', {}, ''],
      ['another scheme', {}, 'Bearer x'],
      ['an invalid percent-encoding', {}, basic('docs%', '')],
      ['invalid UTF-8', {}, `Basic ${Buffer.from('64ff3a', 'hex').toString('base64')}`],
      ['NUL in the client', {}, basic('docs\0', '')],
      ['an encoded NUL in the client', {}, basic('docs%00', '')],
      ['NUL in the secret', {}, basic('docs', '\0')]
    ]
    await compareAll(t, async (row) => {
      for (const [name, form, authorization] of ways)
        row(name, refusal(await login(app, form, authorization)), INVALID_CLIENT)
    })
  }
)

t.test('two methods of authentication, and two client ids, are invalid_request [CA3]', async (t) => {
  await compareAll(t, async (row) => {
    for (const [id, secret] of [
      ['docs', ''],
      ['docs', 'x'],
      ['nobody', 'x'],
      ['', 'x']
    ] as const) {
      for (const form of [{ client_secret: 'x' }, { client_id: 'docs', client_secret: 'x' }]) {
        const response = await login(app, form, basic(id, secret))
        const expected = refused('invalid_request', 'The client authenticates by more than one method')
        row(`Basic ${id}:${secret} and ${JSON.stringify(form)}`, refusal(response), expected)
      }
    }
    for (const [id, secret, client_id] of [
      ['docs', '', 'nobody'],
      ['docs', '', 'DOCS'],
      ['nobody', '', 'docs'],
      ['docs', 'x', 'nobody']
    ] as const) {
      const response = await login(app, { client_id }, basic(id, secret))
      const expected = refused('invalid_request', 'The client_id differs from the Authorization header')
      row(`Basic ${id}:${secret} and client_id ${client_id}`, refusal(response), expected)
    }
    const two = await inject({
      method: 'POST',
      url: '/token',
      headers: { 'content-type': FORM, authorization: [BLANK, BLANK] as unknown as string },
      payload: new URLSearchParams(LOGIN).toString()
    })
    const expected = refused('invalid_request', 'The request has more than one Authorization header')
    row('two Authorization headers', refusal(two).slice(0, 2), expected.slice(0, 2))
  })
})

t.test('a client without the grant, or that is not first-party, is unauthorized_client [CA6]', async (t) => {
  const add = (id: string, more: object) =>
    app.app.auth.clients.create(OPERATOR, { id, name: id, method: 'none', scopes: ['profile'], ...more })
  const password = { firstParty: true, grantTypes: ['password'] }
  await add('without', { firstParty: true })
  await add('almost', password)
  await add('foreign', password)
  await add('with', password)
  await sql(app, "update clients set grant_types = 'password2 xpassword' where id = 'almost'")
  await sql(app, "update clients set first_party = 0 where id = 'foreign'")
  for (const client_id of ['without', 'almost', 'foreign']) {
    const expected = refused('unauthorized_client', 'The client may not use this grant type')
    t.strictSame(refusal(await login(app, { client_id })), expected, client_id)
  }
  const response = await login(app, { client_id: 'with' })
  t.equal(response.statusCode, 200)
  t.equal(decodeJwt(response.json().access_token).client_id, 'with')
})

t.test('a disabled client gets no token, and its tokens are invalid [SC6]', async (t) => {
  const jwt = await app.login('alice')
  t.equal((await app.get('/users/me', jwt)).statusCode, 200)
  await sql(app, "update clients set disabled_at = $1 where id = 'docs'", app.clock.now())
  t.strictSame(refusal(await token(LOGIN)), INVALID_CLIENT)
  t.strictSame(refusal(await login(app, { client_id: 'docs' })), INVALID_CLIENT)
  t.strictSame(answer(await app.get('/users/me', jwt)), INVALID_TOKEN)
  await sql(app, 'update clients set disabled_at = null')
  t.equal((await token(LOGIN)).statusCode, 200, 'an enabled client gets one')
})

t.test('LATCHKEY_DOCS=false switches the client of /docs off, with its tokens [SC6]', async (t) => {
  const at = await createDatabase(t, 'sqlite', 'ready')
  const on = await build(t, { at })
  const off = await build(t, { at, env: { LATCHKEY_DOCS: 'false' } })
  const jwt = await on.login('alice')
  const ways: Way[] = [
    ['no client', {}],
    ['blank Basic', {}, BLANK],
    ['Basic', {}, basic('docs', '')],
    ['client_id', { client_id: 'docs' }]
  ]
  for (const [name, form, authorization] of ways)
    t.strictSame(refusal(await login(off, form, authorization)), INVALID_CLIENT, name)
  t.strictSame(answer(await off.get('/users/me', jwt)), INVALID_TOKEN)
  t.equal((await on.get('/users/me', jwt)).statusCode, 200)
})
