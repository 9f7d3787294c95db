import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { basic, formEncoded } from '../basic.ts'
import { createAsserter, JWKS, STRANGER } from '../domain/assertions.ts'
import { alive } from '../forge.ts'
import { build, createDatabase, ISSUER, onEachDatabase, type TestApp } from '../helper.ts'
import { compareAll } from '../rows.ts'

// test/plugins/client-credentials.test.ts tests how credentials are read, test/domain which assertions are accepted.

const ROUNDS = Math.max(3, Number(process.env.LATCHKEY_ROUNDS ?? 0))
const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
/** Every endpoint that authenticates clients, with a valid form. */
const ENDPOINTS: Record<string, Record<string, string>> = {
  '/token': { grant_type: 'client_credentials' },
  '/revoke': { token: 'x' },
  '/introspect': { token: 'x' }
}
const ACCEPTED = 'accepted'
const refusal = (error: string, error_description: string) => ({
  status: 400,
  challenge: undefined,
  cache: 'no-store',
  body: { error, error_description }
})
const FAILED = {
  ...refusal('invalid_client', 'Client authentication failed'),
  status: 401,
  challenge: 'Basic realm="latchkey"'
}
/** The same answer at each endpoint. */
const all = (answer: unknown) => Object.fromEntries(Object.keys(ENDPOINTS).map((url) => [url, answer]))

type Form = Record<string, string>
const form = (assertion: string, more: Form = {}): Form => ({
  client_assertion_type: TYPE,
  client_assertion: assertion,
  ...more
})

/** Returns functions that send forms to the endpoints. */
function asking({ inject }: Pick<TestApp, 'inject'>) {
  const post = async (url: string, form: Form | string, authorization?: string) => {
    const response = await inject({
      method: 'POST',
      url,
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        ...(authorization === undefined ? {} : { authorization })
      },
      payload: typeof form === 'string' ? form : new URLSearchParams(form).toString()
    })
    const { statusCode: status, headers, body } = response
    if (status === 200) return ACCEPTED
    return { status, challenge: headers['www-authenticate'], cache: headers['cache-control'], body: JSON.parse(body) }
  }
  /** Returns the answers of all endpoints. @param form a function is called for each, because an assertion is used up */
  const everywhere = async (form: Form | (() => Form), authorization?: string) => {
    const answers: Record<string, unknown> = {}
    for (const [url, own] of Object.entries(ENDPOINTS))
      answers[url] = await post(url, { ...own, ...(typeof form === 'function' ? form() : form) }, authorization)
    return answers
  }
  return { post, everywhere }
}

/** Builds an app with the clients `secret`, `keys` and `app` (public). */
async function open(t: Test, at?: { url: string; dataDir: string }) {
  const world = await build(t, at === undefined ? {} : { at })
  const { clients, resources } = world.app.auth
  const add = async (id: string, more: Partial<NewClient> = {}) => {
    const scopes = ['tokens:introspect']
    const defaults = { grantTypes: ['client_credentials'], scopes, defaultScopes: scopes }
    const { secret } = await clients.create(OPERATOR, { id, name: id, ...defaults, ...more })
    return secret as string
  }
  const secret = await add('secret')
  await add('keys', { method: 'private_key_jwt', jwks: JWKS })
  await clients.create(OPERATOR, { id: 'app', name: 'app', method: 'none' })
  await resources.change(OPERATOR, 'latchkey', { introspectionClients: ['secret', 'keys'] })
  const asserter = createAsserter({ issuer: ISSUER, now: () => world.clock.now() / 1000 })
  return { ...world, add, secret, ...asserter, ...asking(world) }
}
const world = await open(t)

t.test('a client authenticates with its secret in the form, or in Basic form-encoded or raw [CA4]', async (t) => {
  const { everywhere, add } = world
  await compareAll(t, async (row) => {
    for (const id of ['plain', 'a+b%~c', 'a:b']) {
      const secret = await add(id)
      const encoded = basic(formEncoded(id), formEncoded(secret))
      row(`${id} in the form`, await everywhere({ client_id: id, client_secret: secret }), all(ACCEPTED))
      row(`${id} form-encoded`, await everywhere({}, encoded), all(ACCEPTED))
      row(`${id} form-encoded, and client_id`, await everywhere({ client_id: id }, encoded), all(ACCEPTED))
      const raw = await everywhere({}, basic(id, secret))
      row(`${id} raw, as curl and python-requests send it`, raw, all(id === 'a:b' ? FAILED : ACCEPTED))
    }
  })
})

t.test(
  'Basic credentials that match the ids of two clients authenticate the client with the secret [CA4]',
  async (t) => {
    const { inject, add } = world
    const secrets = { 'a%2Bb': await add('a%2Bb'), 'a+b': await add('a+b') }
    for (const [id, secret] of Object.entries(secrets)) {
      const response = await inject({
        method: 'POST',
        url: '/token',
        headers: {
          authorization: basic('a%2Bb', secret),
          'content-type': 'application/x-www-form-urlencoded'
        },
        payload: 'grant_type=client_credentials'
      })
      t.equal(decodeJwt(response.json().access_token).sub, id)
    }
  }
)

t.test('every failed authentication gets the same answer [CA1 CA2 CA5]', async (t) => {
  const { everywhere, secret, add, app, signed } = world
  const second = await add('second')
  const off = await add('off')
  await app.auth.clients.change(OPERATOR, 'off', { disabled: true })
  const base64 = (text: string | Buffer) => Buffer.from(text).toString('base64')
  const ways: [name: string, form: Form, authorization?: string][] = [
    ['a wrong secret', { client_id: 'secret', client_secret: 'lks_wrong' }],
    ['the secret of another client', { client_id: 'secret', client_secret: second }],
    ['the secret in lower case', { client_id: 'secret', client_secret: secret.toLowerCase() }],
    ['half of the secret', { client_id: 'secret', client_secret: secret.slice(0, 20) }],
    ['the secret and a space', { client_id: 'secret', client_secret: `${secret} ` }],
    ['the id in upper case', { client_id: 'SECRET', client_secret: secret }],
    ['an unknown client', { client_id: 'nobody', client_secret: secret }],
    ['a disabled client', { client_id: 'off', client_secret: off }],
    ['a public client with a secret', { client_id: 'app', client_secret: secret }],
    ['a client with keys and a secret', { client_id: 'keys', client_secret: secret }],
    ['no secret', { client_id: 'secret' }],
    ['no assertion of a client with keys', { client_id: 'keys' }],
    ['no id', { client_secret: secret }],
    ['a very long id', { client_id: 'x'.repeat(1024), client_secret: secret }],
    ['a very long secret', { client_id: 'secret', client_secret: secret.repeat(20) }],
    ['Basic without a secret', {}, basic('secret', '')],
    ['Basic with a wrong secret', {}, basic('secret', 'lks_wrong')],
    ['Basic with a secret and a character', {}, basic('secret', `${secret}x`)],
    ['Basic without an id', {}, basic('', secret)],
    ['Basic with an unknown client', {}, basic('nobody', secret)],
    ['Basic with a disabled client', {}, basic('off', off)],
    ['Basic with a secret encoded twice', {}, basic('secret', formEncoded(formEncoded(secret)))],
    ['Basic with a character before the base64', {}, `Basic x${base64(`secret:${secret}`)}`],
    ['Basic with invalid UTF-8', {}, `Basic ${base64(Buffer.from([0xff, 0x3a, 0x78]))}`],
    ['Basic without a colon', {}, `Basic ${base64('secret')}`],
    ['another scheme', {}, `Bearer ${base64(`secret:${secret}`)}`],
    ['an assertion by another key', form(signed({}, {}, 'ES256', STRANGER.privateKey))],
    ['an expired assertion', form(signed({}, { exp: world.now() }))],
    ['an assertion for another service', form(signed({}, { aud: 'https://other.example' }))],
    ['another type of assertion', form(signed(), { client_assertion_type: 'jwt' })]
  ]
  await compareAll(t, async (row) => {
    for (const [name, given, authorization] of ways) row(name, await everywhere(given, authorization), all(FAILED))
  })
  t.strictSame(await everywhere({ client_id: 'secret', client_secret: secret }), all(ACCEPTED))
})

t.test(
  'a request without a client uses the client of /docs at /revoke, and fails at /introspect and for client_credentials [CA5]',
  async (t) => {
    const { everywhere } = world
    const expected = { '/token': FAILED, '/revoke': ACCEPTED, '/introspect': FAILED }
    t.strictSame(await everywhere({}), expected)
    const empty = { client_id: '', client_secret: '', client_assertion: '', client_assertion_type: '' }
    t.strictSame(await everywhere(empty), expected)
    t.strictSame(await everywhere({}, 'Basic Og=='), expected)
  }
)

t.test('a public client names itself, and may not introspect', async (t) => {
  const { everywhere } = world
  const unauthorized = refusal('unauthorized_client', 'The client may not use this grant type')
  const expected = { '/token': unauthorized, '/revoke': ACCEPTED, '/introspect': FAILED }
  t.strictSame(await everywhere({ client_id: 'app' }), expected)
  t.strictSame(await everywhere({}, basic('app', '')), expected)
})

t.test('two methods at once, two ids and half an assertion are refused [CA3]', async (t) => {
  const { everywhere, post, secret, signed } = world
  const invalid = (description: string) => all(refusal('invalid_request', description))
  const header = basic('secret', secret)
  await compareAll(t, async (row) => {
    const two = invalid('The client authenticates by more than one method')
    row('Basic and a secret', await everywhere({ client_secret: secret }, header), two)
    row('Basic and an assertion', await everywhere(() => form(signed()), header), two)
    row('a secret and an assertion', await everywhere(() => form(signed(), { client_secret: secret })), two)
    const inHeader = invalid('The client_id differs from the Authorization header')
    row('two ids, one in Basic', await everywhere({ client_id: 'app' }, header), inHeader)
    const inAssertion = invalid('The client_id differs from the client_assertion')
    row('two ids, one in the assertion', await everywhere(() => form(signed(), { client_id: 'app' })), inAssertion)
    const half = invalid('client_assertion and client_assertion_type must be sent together')
    row('an assertion without its type', await everywhere({ client_assertion: signed() }), half)
    row('the type without an assertion', await everywhere({ client_assertion_type: TYPE }), half)
    row('an empty assertion', await everywhere({ client_assertion_type: TYPE, client_assertion: '' }), half)
    const repeated = `${new URLSearchParams({ ...ENDPOINTS['/token'], ...form(signed()) })}&client_assertion=x`
    row('two assertions', await post('/token', repeated), refusal('invalid_request', 'A parameter is repeated'))
  })
})

t.test('an assertion authenticates its client once, at any endpoint [CA8]', async (t) => {
  const { everywhere, post, signed } = world
  t.strictSame(await everywhere(() => form(signed())), all(ACCEPTED))
  t.strictSame(await everywhere(() => form(signed(), { client_id: 'keys' })), all(ACCEPTED))
  t.strictSame(await everywhere(() => form(signed()), 'Basic Og=='), all(ACCEPTED), 'with blank Basic credentials')
  for (const [url, own] of Object.entries(ENDPOINTS)) {
    const assertion = form(signed())
    t.equal(await post(url, { ...own, ...assertion }), ACCEPTED)
    t.strictSame(await everywhere(assertion), all(FAILED), `an assertion that was used at ${url}`)
  }
})

t.test('an assertion of 1 MB is refused before it is read [CA8]', async (t) => {
  const { everywhere, signed } = world
  const tooLarge = { ...refusal('invalid_request', 'The body is too large'), status: 413 }
  const huge = signed({}, { x: 'x'.repeat(750_000) })
  for (const assertion of [huge, 'x'.repeat(1_000_000), '.'.repeat(1_000_000)])
    t.strictSame(await everywhere(form(assertion)), all(tooLarge))
  await alive(t, world)
})

onEachDatabase(
  t,
  'two instances accept one of parallel requests with the same assertion, and no assertion of a removed key [CA8]',
  async (t, database) => {
    const at = await createDatabase(t, database, 'ready')
    const one = await open(t, at)
    const two = asking(await build(t, { at }))
    for (let round = 0; round < ROUNDS; round++) {
      const given = { ...ENDPOINTS['/token'], ...form(one.signed()) }
      const answers = await Promise.all(
        Array.from({ length: 16 }, (_, index) => (index % 2 === 0 ? one : two).post('/token', given))
      )
      t.equal(answers.filter((answer) => answer === ACCEPTED).length, 1)
      t.strictSame(
        answers.filter((answer) => answer !== ACCEPTED),
        Array(15).fill(FAILED)
      )
    }
    await one.app.auth.clients.change(OPERATOR, 'keys', { jwks: { keys: JWKS.keys.slice(1) } })
    for (const each of [one, two]) t.strictSame(await each.everywhere(() => form(one.signed())), all(FAILED))
    t.strictSame(await two.everywhere(() => form(one.signed({}, {}, 'EdDSA'))), all(ACCEPTED))
  }
)
