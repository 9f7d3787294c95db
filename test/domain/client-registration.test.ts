import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { ClientEdit, NewClient } from '../../src/domain/clients.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { compareAll } from '../rows.ts'
import { openDomain } from './open.ts'

const GRANTS = 'the grants are authorization_code, password, refresh_token, client_credentials'
const PASSWORD_GRANT = 'The grant password is for first-party clients only'
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

t.test('the members for sign-in are checked, and a refusal names the value', async (t) => {
  const { register, all } = await open(t)
  const before = await all()
  const CODE = { grantTypes: ['authorization_code'], redirectUris: ['https://app.example/'] }
  const plainHttp = (what: string) =>
    `The ${what} "http://app.example/" is not allowed: http is for loopback hosts only: use https`
  const logo =
    'A logo is the name of a file in the data directory, or a data: URI of a PNG, JPEG, WebP, GIF or SVG image'
  await compareAll(t, async (row) => {
    const refused = async (client: Partial<NewClient>, reason: string) =>
      row(JSON.stringify(client).slice(0, 90), (await register(client))?.slice(0, reason.length), reason)
    await refused({ grantTypes: ['authorization_code'] }, 'The grant authorization_code needs a redirect URI')
    await refused({ redirectUris: ['https://a.example/', 'http://app.example/'] }, plainHttp('redirect URI'))
    await refused(
      { redirectUris: ['com.example.app:/back'] },
      'The redirect URI "com.example.app:/back" is not allowed: a scheme with a dot is for clients of the type native'
    )
    await refused({ postLogoutRedirectUris: ['http://app.example/'] }, plainHttp('redirect URI after a logout'))
    await refused({ clientUri: 'http://app.example/' }, plainHttp('URI of the app'))
    await refused({ policyUri: 'http://app.example/' }, plainHttp('URI of the privacy policy'))
    await refused({ tosUri: 'http://app.example/' }, plainHttp('URI of the terms of service'))
    await refused({ backchannelLogoutUri: 'http://app.example/' }, plainHttp('URI for logout tokens'))
    await refused({ clientUri: 'javascript:alert(1)' }, 'The URI of the app "javascript:alert(1)" is not allowed')
    await refused({ ...CODE, method: 'none', requirePkce: false }, 'Only a confidential client may do without PKCE')
    for (const logoUri of [
      '',
      'https://app.example/logo.png',
      '../admin-password',
      'a/b.png',
      '.env',
      'a.png\n',
      'data:text/html,<script>',
      'data:image/png',
      `data:image/png;base64,${'A'.repeat(12_288)}`
    ])
      await refused({ logoUri }, logo)
  })
  t.strictSame(await all(), before)
  const valid: Partial<NewClient>[] = [
    { ...CODE, requirePkce: false, requireConsent: false, idTokenAlg: 'RS256' },
    { ...CODE, method: 'none', applicationType: 'native', redirectUris: ['com.example.app:/back'] },
    {
      clientUri: 'https://app.example',
      policyUri: 'http://localhost/p',
      backchannelLogoutUri: 'https://app.example/bye'
    },
    { logoUri: 'logo.png', postLogoutRedirectUris: ['https://app.example/bye', 'https://app.example/bye'] },
    { logoUri: 'data:image/svg+xml;base64,PHN2Zy8+' }
  ]
  for (const client of valid) t.equal(await register(client), null, JSON.stringify(client))
})

t.test('a client without PKCE is registered, changed and used with a warning [AC3]', async (t) => {
  const { auth, events } = await openDomain(t)
  const warnings = () =>
    events.filter(({ type }) => type === 'client.without_pkce').map(({ subject }) => subject.client)
  await auth.clients.create(OPERATOR, { id: 'safe', name: 'Safe' })
  await auth.clients.create(OPERATOR, { id: 'old', name: 'Old', requirePkce: false })
  t.strictSame(warnings(), ['old'])
  await auth.clients.change(OPERATOR, 'old', { name: 'Older' })
  t.strictSame(warnings(), ['old', 'old'])
  await auth.clients.change(OPERATOR, 'old', { requirePkce: true })
  t.strictSame(warnings(), ['old', 'old'])
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
  t.equal(
    await change('own', { redirectUris: ['http://app.example'] }),
    'The redirect URI "http://app.example" is not allowed: http is for loopback hosts only: use https'
  )
  t.equal(await change('page', { requirePkce: false }), 'Only a confidential client may do without PKCE')
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
