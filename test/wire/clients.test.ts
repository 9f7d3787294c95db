import type { Static } from '@sinclair/typebox'
import t from 'tap'
import { CLIENT_DEFAULTS } from '../../src/domain/built-in.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Client } from '../../src/domain/model.ts'
import * as wire from '../../src/wire/clients.ts'
import { NOW, openDomain } from '../domain/open.ts'
import { CLIENT_DEFAULTS as WIRE_DEFAULTS } from '../routes/api.ts'
import { accepts, INVALID, type Limit, sameLimits } from './schema.ts'

type Creation = Static<typeof wire.ClientCreation>

const CLIENT: Client = {
  ...CLIENT_DEFAULTS,
  id: 'worker',
  name: 'Orders worker',
  kind: 'confidential',
  grantTypes: ['client_credentials'],
  scopes: ['orders:read', 'orders:write'],
  defaultScopes: ['orders:read'],
  resources: ['orders'],
  redirectUris: ['https://app.example/'],
  jwks: null,
  sessionIdleTtl: 60,
  sessionAbsoluteTtl: 120,
  disabledAt: null,
  createdAt: NOW + 999,
  updatedAt: NOW
}
const WRITTEN = {
  ...WIRE_DEFAULTS,
  client_id: 'worker',
  client_name: 'Orders worker',
  grant_types: ['client_credentials'],
  scope: 'orders:read orders:write',
  default_scope: 'orders:read',
  resources: ['orders'],
  redirect_uris: ['https://app.example/'],
  session_idle_ttl: 60,
  session_absolute_ttl: 120,
  client_id_issued_at: NOW / 1000,
  updated_at: '2026-11-22T09:00:00.000Z'
}
const KEY = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', alg: 'ES256' } as const
const SECRET = {
  id: '0199d0a4-9a31-7d02-b5c1-7e2f9b3a4c10',
  hash: 'h',
  createdAt: NOW,
  expiresAt: null,
  lastUsedAt: null
}

t.test('a client is written with the names of RFC 7591', async (t) => {
  t.strictSame(wire.toWire(CLIENT), WRITTEN)
  t.ok(accepts(wire.ClientView, WRITTEN))
  t.strictSame(wire.toWire({ ...CLIENT, kind: 'public', scopes: [], defaultScopes: [], disabledAt: NOW }), {
    ...WRITTEN,
    token_endpoint_auth_method: 'none',
    scope: '',
    default_scope: '',
    disabled: true
  })
  const keyed = wire.toWire({ ...CLIENT, jwks: [KEY] })
  t.strictSame(keyed, { ...WRITTEN, token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [KEY] } })
  t.ok(accepts(wire.ClientView, keyed))
})

t.test('details hold the secrets without their texts, and a registration holds the text once', async (t) => {
  const details = wire.detailsToWire(CLIENT, [SECRET])
  t.strictSame(details.secrets, [
    { id: SECRET.id, created_at: '2026-11-22T09:00:00.000Z', client_secret_expires_at: 0, last_used_at: null }
  ])
  t.ok(accepts(wire.ClientDetails, details))
  t.strictSame(wire.registrationToWire({ client: CLIENT, secret: null }), WRITTEN)
  const registration = { ...WRITTEN, client_secret: 'lks_x', client_secret_expires_at: 0 }
  t.strictSame(wire.registrationToWire({ client: CLIENT, secret: 'lks_x' }), registration)
  t.ok(accepts(wire.ClientRegistration, registration))
})

t.test('a new client holds the given members only, and lists of words are split', async (t) => {
  t.strictSame(wire.inputFromWire({ client_name: 'A' }), { name: 'A' })
  const body: Creation = {
    client_id: 'a',
    client_name: 'A',
    grant_types: ['password'],
    scope: ' profile  users:read ',
    default_scope: '',
    roles: ['user'],
    resources: ['latchkey'],
    redirect_uris: [],
    post_logout_redirect_uris: ['https://app.example/bye'],
    application_type: 'native',
    client_uri: 'https://app.example/',
    logo_uri: 'app.png',
    policy_uri: 'https://app.example/privacy',
    tos_uri: 'https://app.example/terms',
    require_pkce: false,
    require_consent: false,
    id_token_signed_response_alg: 'RS256',
    backchannel_logout_uri: 'https://app.example/logged-out',
    token_endpoint_auth_method: 'none',
    first_party: true,
    access_token_ttl: null,
    session_idle_ttl: 1,
    session_absolute_ttl: 2
  }
  t.strictSame(wire.inputFromWire(body), {
    id: 'a',
    name: 'A',
    grantTypes: ['password'],
    scopes: ['profile', 'users:read'],
    defaultScopes: [],
    roles: ['user'],
    resources: ['latchkey'],
    redirectUris: [],
    postLogoutRedirectUris: ['https://app.example/bye'],
    applicationType: 'native',
    clientUri: 'https://app.example/',
    logoUri: 'app.png',
    policyUri: 'https://app.example/privacy',
    tosUri: 'https://app.example/terms',
    requirePkce: false,
    requireConsent: false,
    idTokenAlg: 'RS256',
    backchannelLogoutUri: 'https://app.example/logged-out',
    method: 'none',
    firstParty: true,
    accessTokenTtl: null,
    sessionIdleTtl: 1,
    sessionAbsoluteTtl: 2
  })
  t.ok(accepts(wire.ClientCreation, body))
})

t.test('a change holds the given members only, and null removes keys', async (t) => {
  t.strictSame(wire.editFromWire({}), {})
  t.strictSame(wire.editFromWire({ jwks: null, roles: null, disabled: true, scope: '' }), {
    jwks: null,
    roles: null,
    disabled: true,
    scopes: []
  })
  for (const member of ['client_id', 'token_endpoint_auth_method', 'client_secret'])
    t.notOk(accepts(wire.ClientEdit, { [member]: 'none' }), member)
})

t.test('a stored value is returned as it was sent', async (t) => {
  const { clients } = (await openDomain(t)).auth
  const body = {
    client_id: 'a',
    client_name: 'A',
    grant_types: ['password', 'refresh_token'],
    scope: 'profile users:read',
    default_scope: 'profile',
    roles: ['user'],
    resources: ['latchkey'],
    redirect_uris: ['https://app.example/'],
    post_logout_redirect_uris: ['https://app.example/bye'],
    application_type: 'native' as const,
    client_uri: 'https://app.example/',
    logo_uri: 'app.png',
    policy_uri: 'https://app.example/privacy',
    tos_uri: 'https://app.example/terms',
    require_pkce: false,
    require_consent: false,
    id_token_signed_response_alg: 'RS256' as const,
    backchannel_logout_uri: 'https://app.example/logged-out',
    first_party: true,
    access_token_ttl: 60,
    session_idle_ttl: 1,
    session_absolute_ttl: 2
  }
  const jwks = { keys: [KEY] }
  const { client } = await clients.create(OPERATOR, wire.inputFromWire({ ...body, jwks }))
  t.match(wire.toWire(client), { ...body, jwks, token_endpoint_auth_method: 'private_key_jwt' })
  const edit = { client_name: 'B', scope: 'profile', redirect_uris: [], jwks: null, disabled: true }
  const { jwks: removed, ...changed } = wire.toWire(await clients.change(OPERATOR, 'a', wire.editFromWire(edit)))
  t.equal(removed, undefined)
  t.match({ ...changed, jwks: null }, { ...body, ...edit })
})

t.test('schema and domain have the same limits for a client', async (t) => {
  const { clients, resources } = (await openDomain(t)).auth
  for (let n = 0; n < 101; n++) await resources.create(OPERATOR, { id: `r${n}`, identifier: `urn:r:${n}`, name: 'R' })
  const many = <T>(length: number, item: (n: number) => T) => Array.from({ length }, (_, n) => item(n))
  const limit = <K extends keyof Creation>(name: K, max: Creation[K], over: Creation[K]): Limit<Creation> => ({
    name,
    max: { client_name: 'A', [name]: max },
    over: { client_name: 'A', [name]: over }
  })
  const uri = (length: number) => `https://app.example/${'x'.repeat(length - 20)}`
  await sameLimits(t, wire.ClientCreation, {
    limits: [
      limit('client_id', '~'.repeat(255), '~'.repeat(256)),
      limit('client_id', '!', 'a b'),
      limit('client_name', '𝐀'.repeat(200), '𝐀'.repeat(201)),
      limit('client_name', 'A', ''),
      limit(
        'resources',
        many(100, (n) => `r${n}`),
        many(101, (n) => `r${n}`)
      ),
      limit(
        'redirect_uris',
        many(100, (n) => uri(20 + n)),
        many(101, (n) => uri(20 + n))
      ),
      limit('redirect_uris', [uri(2000)], [uri(2001)]),
      limit('post_logout_redirect_uris', [uri(2000)], [uri(2001)]),
      limit('client_uri', uri(2000), uri(2001)),
      limit('policy_uri', uri(2000), uri(2001)),
      limit('tos_uri', uri(2000), uri(2001)),
      limit('backchannel_logout_uri', uri(2000), uri(2001)),
      limit('logo_uri', `data:image/png,${'x'.repeat(12_273)}`, `data:image/png,${'x'.repeat(12_274)}`),
      limit(
        'jwks',
        { keys: many(10, (n) => ({ ...KEY, kid: `${n}` })) },
        { keys: many(11, (n) => ({ ...KEY, kid: `${n}` })) }
      ),
      limit('jwks', { keys: [KEY] }, { keys: [] }),
      limit('access_token_ttl', 3600, 3601),
      limit('access_token_ttl', 1, 0),
      limit('session_idle_ttl', 31_536_000, 31_536_001),
      limit('session_absolute_ttl', 31_536_000, 31_536_001),
      limit('session_absolute_ttl', 1, 0)
    ],
    send: (body) => clients.create(OPERATOR, wire.inputFromWire(body))
  })
})

t.test('only the domain limits the number of scopes, and refuses `.`, `..` and a UUID as a client id', async (t) => {
  const { clients, resources } = (await openDomain(t)).auth
  const names = Array.from({ length: 101 }, (_, n) => `s${n}`)
  for (const part of [names.slice(0, 60), names.slice(60)])
    await resources.create(OPERATOR, {
      id: part[0] as string,
      identifier: `urn:${part[0]}`,
      name: 'S',
      scopes: part.map((name) => ({ name, description: '' }))
    })
  const add = (body: Partial<Creation>) =>
    clients.create(OPERATOR, wire.inputFromWire({ client_name: 'A', default_scope: '', ...body }))
  await t.resolves(add({ scope: names.slice(0, 100).join(' ') }))
  await t.rejects(add({ scope: names.join(' ') }), INVALID)
  for (const client_id of ['.', '..', SECRET.id]) await t.rejects(add({ client_id }), INVALID, client_id)
})

t.test('the schema limits the length of `scope` and the length of `grant_types`', async (t) => {
  const words = (length: number) => ({ scope: 'x'.repeat(length) })
  t.ok(accepts(wire.ClientEdit, words(4096)))
  t.notOk(accepts(wire.ClientEdit, words(4097)))
  const grants = (count: number) => ({ grant_types: Array.from({ length: count }, (_, n) => `g${n}`) })
  t.ok(accepts(wire.ClientEdit, grants(20)))
  t.notOk(accepts(wire.ClientEdit, grants(21)))
})
