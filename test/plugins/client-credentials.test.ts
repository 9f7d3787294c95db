import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { readCredentials } from '../../plugins/client-authentication/credentials.ts'
import { OAuthError } from '../../src/domain/errors.ts'
import { basic, formEncoded } from '../basic.ts'
import { compareAll } from '../rows.ts'

type Form = Record<string, string>
const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const SECRET = 'lks_secret'
const REFUSED = 'invalid_client: Client authentication failed'
const TWO_METHODS = 'invalid_request: The client authenticates by more than one method'

/** Returns the credentials of a request, or the refusal. */
function read(form: Form, authorization?: string) {
  try {
    return readCredentials({ headers: { authorization }, body: form } as unknown as FastifyRequest)
  } catch (error) {
    if (error instanceof OAuthError) return `${error.code}: ${error.message}`
    throw error
  }
}

const HARMLESS = ['plain', 'a~b', "-_.!~*'()", '/?#[]@']
const AMBIGUOUS = ['a+b', 'a%b', '100%25', 'a+b%~c', '%zz', '%2B', '+']
const WITH_COLON = ['a:b', ':', 'x:y+z%~:', '%3A:']

t.test('Basic credentials are read form-encoded and raw [CA4]', async (t) => {
  const given = (ids: string[]) => ({ method: 'client_secret_basic', ids, secret: SECRET })
  const idsOf = (header: string) => (read({}, header) as { ids: string[] }).ids
  for (const id of HARMLESS) t.strictSame(read({}, basic(id, SECRET)), given([id]), id)
  for (const id of [...HARMLESS, ...AMBIGUOUS, ...WITH_COLON]) {
    t.equal(idsOf(basic(formEncoded(id), SECRET))[0], id, `${id} form-encoded`)
    t.equal(idsOf(basic(encodeURIComponent(id), SECRET))[0], id, `${id} percent-encoded`)
  }
  for (const id of [...HARMLESS, ...AMBIGUOUS]) t.equal(idsOf(basic(id, SECRET)).at(-1), id, `${id} raw`)
  t.strictSame(read({}, basic('a%2Bb', SECRET)), given(['a+b', 'a%2Bb']))
  // A colon ends the id, so an id with a colon must be encoded (RFC 7617 §2).
  t.match(read({}, basic('a:b', SECRET)), { ids: ['a'], secret: `b:${SECRET}` })
})

t.test('a client names itself by Basic or in the form, with and without a secret', async (t) => {
  const none = { method: 'none', ids: ['app'], secret: null }
  t.strictSame(read({ client_id: 'app' }), none)
  t.strictSame(read({}, basic('app', '')), none)
  t.strictSame(read({ client_id: 'app', client_secret: SECRET }), {
    method: 'client_secret_post',
    ids: ['app'],
    secret: SECRET
  })
  t.strictSame(read({ client_id: 'a+b' }, basic('a%2Bb', SECRET)), read({}, basic('a%2Bb', SECRET)))
  const assertion = { client_assertion: 'x', client_assertion_type: TYPE }
  t.strictSame(read(assertion), { method: 'private_key_jwt', assertion: 'x', id: null })
  t.strictSame(read({ ...assertion, client_id: 'a' }), { method: 'private_key_jwt', assertion: 'x', id: 'a' })
})

t.test('a request without credentials, or with blank Basic credentials, names no client', async (t) => {
  t.equal(read({}), null)
  t.equal(read({}, 'Basic Og=='), null)
  t.match(read({ client_assertion: 'x', client_assertion_type: TYPE }, 'Basic Og=='), { method: 'private_key_jwt' })
})

t.test('credentials that cannot be read are refused [CA4]', async (t) => {
  const encoded = basic('secret', SECRET).slice('Basic '.length)
  await compareAll(t, async (row) => {
    for (const header of [
      'Basic',
      'Basic ',
      'Basic !',
      `Basic ${Buffer.from('secret').toString('base64')}`,
      `Basic ${encoded} x`,
      `Basic ${encoded},Basic Og==`,
      `Basic secret:${SECRET}`,
      `Bearer ${encoded}`,
      `Digest username="secret", response="${SECRET}"`,
      basic('sec\0ret', SECRET),
      basic('sec%00ret', SECRET)
    ])
      row(JSON.stringify(header), read({}, header), REFUSED)
    row('a secret without an id', read({ client_secret: SECRET }), REFUSED)
    for (const type of ['urn:ietf:params:oauth:client-assertion-type:saml2-bearer', TYPE.toUpperCase(), `${TYPE} `])
      row(`the type ${type}`, read({ client_assertion: 'x', client_assertion_type: type }), REFUSED)
  })
})

t.test('more than one method, and parameters that contradict each other, are refused [CA3]', async (t) => {
  const header = basic('secret', SECRET)
  const assertion = { client_assertion: 'x', client_assertion_type: TYPE }
  await compareAll(t, async (row) => {
    for (const [name, form, authorization] of [
      ['Basic and a secret', { client_secret: SECRET }, header],
      ['Basic, id and secret', { client_id: 'secret', client_secret: SECRET }, header],
      ['a public client by Basic and a secret', { client_secret: SECRET }, basic('app', '')],
      ['Basic and an assertion', assertion, header],
      ['Basic and only the type of an assertion', { client_assertion_type: TYPE }, header],
      ['Basic and an assertion without its type', { client_assertion: 'x' }, header],
      ['a secret and an assertion', { ...assertion, client_secret: SECRET }],
      ['a secret and only the type of an assertion', { client_secret: SECRET, client_assertion_type: TYPE }],
      ['all three', { ...assertion, client_secret: SECRET }, header]
    ] as [string, Form, string?][])
      row(name, read(form, authorization), TWO_METHODS)
    const other = 'invalid_request: The client_id differs from the Authorization header'
    for (const id of ['app', 'SECRET', 'secret ', 'nobody'])
      row(`client_id ${id}`, read({ client_id: id }, header), other)
    const half = 'invalid_request: client_assertion and client_assertion_type must be sent together'
    row('an assertion without its type', read({ client_assertion: 'x' }), half)
    row('only the type of an assertion', read({ client_assertion_type: TYPE }), half)
    row('an id and the type of an assertion', read({ client_assertion_type: TYPE, client_id: 'keys' }), half)
  })
})
