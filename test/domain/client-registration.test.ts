import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { ClientEdit, NewClient } from '../../src/domain/clients.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { compareAll } from '../rows.ts'
import { openDomain } from './open.ts'

const GRANTS = 'the grants are password, refresh_token, client_credentials'
const PASSWORD_GRANT = 'The grant password is for first-party clients only'
const REDIRECT =
  'A redirect URI must be an absolute URI without fragment: https, http on a loopback host, or a scheme with a dot'
const confidentialOnly = (feature: string) => `The ${feature} is for confidential clients only`

/** Opens the domain. `register` and `change` return the message of the refusal, or null if the client was stored. */
async function open(t: Test) {
  const { auth } = await openDomain(t)
  const refusal = async (call: Promise<unknown>): Promise<string | null> => {
    try {
      await call
      return null
    } catch (error) {
      if (error instanceof DomainError && error.code === 'invalid') return error.message
      throw error
    }
  }
  return {
    auth,
    register: (client: Partial<NewClient>) => refusal(auth.clients.create(OPERATOR, { name: 'Worker', ...client })),
    change: (id: string, edit: ClientEdit) => refusal(auth.clients.change(OPERATOR, id, edit)),
    all: async () => (await auth.clients.list({ after: null, limit: 100 })).items
  }
}

t.test('an invalid client is refused with the reason, and not stored', async (t) => {
  const { register, all } = await open(t)
  const before = await all()
  await compareAll(t, async (row) => {
    const refused = async (client: Partial<NewClient>, reason: string) =>
      row(JSON.stringify(client).slice(0, 100), await register(client), reason)
    const UUID = '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10'
    for (const id of ['', '.', '..', 'a b', 'é', 'x'.repeat(256), UUID, UUID.toUpperCase()])
      await refused({ id }, 'A client id has 1 to 255 printable ASCII characters and no space, and is not a UUID')
    for (const name of ['', 'a\nb', 'x'.repeat(201)])
      await refused({ name }, 'A name has 1 to 200 characters and no control characters')
    await refused({ grantTypes: ['magic'] }, `There is no grant "magic"; ${GRANTS}`)
    await refused({ grantTypes: ['password'] }, PASSWORD_GRANT)
    await refused({ grantTypes: ['password'], method: 'none' }, PASSWORD_GRANT)
    await refused({ grantTypes: ['client_credentials'], method: 'none' }, confidentialOnly('grant client_credentials'))
    await refused({ scopes: ['tokens:introspect'], method: 'none' }, confidentialOnly('scope tokens:introspect'))
    await refused({ scopes: ['revocations:read'], method: 'none' }, confidentialOnly('scope revocations:read'))
    await refused({ scopes: ['none:such'] }, 'There is no scope "none:such"')
    await refused({ scopes: ['profile\tusers:read'] }, 'There is no scope "profile\\tusers:read"')
    const many = Array.from({ length: 101 }, (_, n) => `s:${n}`)
    await refused({ scopes: many }, 'A client has at most 100 each of scopes, roles, resources and redirect URIs')
    await refused(
      { scopes: ['profile'], defaultScopes: ['users:read'] },
      'Every default scope must be one of the scopes; "users:read" is not'
    )
    await refused({ resources: ['none'] }, 'There is no resource "none"')
    await refused({ resources: ['latchkey', 'latchkey latchkey'] }, 'There is no resource "latchkey latchkey"')
    const noKeys = 'A client must have jwks with the method private_key_jwt, and with no other method'
    await refused({ method: 'private_key_jwt' }, noKeys)
  })
  t.strictSame(await all(), before)
})

t.test('a redirect URI has the scheme https, a loopback host or a private-use scheme', async (t) => {
  const { register } = await open(t)
  const valid = [
    'https://worker.example/back',
    'http://127.0.0.1:8080/',
    'http://[::1]/',
    'http://127.0.0.2/',
    'http://app.localhost:5173/',
    'com.example.worker:/back'
  ]
  t.equal(await register({ redirectUris: valid }), null)
  for (const uri of [
    '',
    'back',
    '/back',
    '//app.example/back',
    'http://app.example/back',
    'http://128.0.0.1/',
    'http://localhost.example/',
    'https://',
    'https://app.example/#',
    'https://app.example/#x',
    'https://user@app.example/',
    'https://user:secret@app.example/',
    'https://app.example/ x',
    'https://äpp.example/',
    'javascript:alert(1)',
    'data:text/html,x',
    'app:/back',
    'urn:ietf:wg:oauth:2.0:oob'
  ])
    t.equal(await register({ redirectUris: ['https://app.example/', uri] }), REDIRECT, uri)
})

t.test('a change that makes a client invalid is refused and changes nothing', async (t) => {
  const { auth, register, change, all } = await open(t)
  await register({ id: 'own', firstParty: true, grantTypes: ['password'], scopes: ['profile'] })
  await register({ id: 'page', method: 'none' })
  const before = await all()
  t.equal(await change('own', { firstParty: false }), PASSWORD_GRANT)
  t.equal(await change('own', { grantTypes: ['passwords'] }), `There is no grant "passwords"; ${GRANTS}`)
  t.equal(await change('own', { scopes: ['profile', 'none'] }), 'There is no scope "none"')
  t.equal(await change('own', { resources: ['none'] }), 'There is no resource "none"')
  t.equal(await change('own', { redirectUris: ['http://app.example'] }), REDIRECT)
  t.equal(await change('page', { grantTypes: ['client_credentials'] }), confidentialOnly('grant client_credentials'))
  t.equal(await change('page', { scopes: ['tokens:introspect'] }), confidentialOnly('scope tokens:introspect'))
  t.equal(await change('page', { jwks: { keys: [{ kty: 'EC' }] } }), 'A public client has no keys')
  t.strictSame(await all(), before)
  t.equal(await change('own', { firstParty: false, grantTypes: [] }), null, 'both members together')
  t.match(await auth.clients.get('own'), { firstParty: false, grantTypes: [], scopes: ['profile'] })
})

t.test('a default scope is always one of the scopes', async (t) => {
  const { auth, register, change } = await open(t)
  await register({ id: 'worker', scopes: ['profile', 'users:read'] })
  const changed = async (edit: ClientEdit) => {
    t.equal(await change('worker', edit), null)
    const { scopes, defaultScopes } = await auth.clients.get('worker')
    return [scopes.join(' '), defaultScopes.join(' ')]
  }
  const both = 'profile roles:read'
  t.strictSame(
    await changed({ scopes: ['profile', 'roles:read'] }),
    [both, both],
    'default scopes that were all scopes stay all scopes'
  )
  t.equal(
    await change('worker', { defaultScopes: ['roles:read', 'clients:read'] }),
    'Every default scope must be one of the scopes; "clients:read" is not'
  )
  t.strictSame(await changed({ defaultScopes: ['roles:read'] }), [both, 'roles:read'])
  t.strictSame(await changed({ scopes: ['profile'], defaultScopes: ['profile'] }), ['profile', 'profile'])
  t.strictSame(await changed({ scopes: [] }), ['', ''])
})

t.test('the id of a client is generated or chosen, unique, and case-sensitive', async (t) => {
  const { auth, register } = await open(t)
  const { client } = await auth.clients.create(OPERATOR, { name: 'Worker' })
  t.match(client.id, /^[0-9a-f]{32}$/)
  await t.rejects(register({ id: client.id }), { code: 'conflict', message: 'A client with this id already exists' })
  t.strictSame(await auth.clients.get(client.id), client)
  t.equal(await register({ id: client.id.toUpperCase() }), null)
})
