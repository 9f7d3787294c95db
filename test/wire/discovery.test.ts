import t from 'tap'
import { linksToWire, Metadata, toWire } from '../../src/wire/discovery.ts'
import { accepts } from './schema.ts'

const ISSUER = 'https://example.com/id'
const METHODS = ['client_secret_basic', 'client_secret_post', 'private_key_jwt']

t.test('links begin with the issuer; the metadata link ends with the issuer’s path (RFC 8414 §3.1)', async (t) => {
  t.strictSame(linksToWire(ISSUER, true), {
    self: ISSUER,
    docs: `${ISSUER}/docs`,
    openapi: `${ISSUER}/openapi.json`,
    token: `${ISSUER}/token`,
    metadata: 'https://example.com/.well-known/oauth-authorization-server/id',
    jwks: `${ISSUER}/.well-known/jwks.json`,
    health: `${ISSUER}/health/ready`
  })
  t.equal(
    linksToWire('https://example.com', false).metadata,
    'https://example.com/.well-known/oauth-authorization-server'
  )
  t.notOk('docs' in linksToWire(ISSUER, false))
})

t.test('the metadata are written with the names of RFC 8414 §2', async (t) => {
  const service = {
    issuer: ISSUER,
    docs: true,
    scopes: ['profile'],
    grantTypes: ['password'],
    assertionAlgs: ['ES256'],
    idTokenAlgs: ['RS256'],
    prompts: ['none'],
    locales: ['en']
  }
  const metadata = toWire(service)
  t.strictSame(metadata, {
    issuer: ISSUER,
    authorization_endpoint: `${ISSUER}/authorize`,
    token_endpoint: `${ISSUER}/token`,
    revocation_endpoint: `${ISSUER}/revoke`,
    introspection_endpoint: `${ISSUER}/introspect`,
    userinfo_endpoint: `${ISSUER}/userinfo`,
    end_session_endpoint: `${ISSUER}/logout`,
    jwks_uri: `${ISSUER}/.well-known/jwks.json`,
    scopes_supported: ['profile'],
    response_types_supported: ['code'],
    response_modes_supported: ['query', 'form_post'],
    grant_types_supported: ['password'],
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true,
    request_parameter_supported: false,
    request_uri_parameter_supported: false,
    claims_parameter_supported: false,
    prompt_values_supported: ['none'],
    ui_locales_supported: ['en'],
    claims_supported: [
      ...['sub', 'name', 'preferred_username', 'updated_at', 'email', 'email_verified'],
      ...['iss', 'aud', 'exp', 'iat', 'auth_time', 'nonce', 'amr', 'azp', 'at_hash', 'sid']
    ],
    subject_types_supported: ['public'],
    backchannel_logout_supported: true,
    backchannel_logout_session_supported: true,
    id_token_signing_alg_values_supported: ['RS256'],
    token_endpoint_auth_methods_supported: ['none', ...METHODS],
    token_endpoint_auth_signing_alg_values_supported: ['ES256'],
    revocation_endpoint_auth_methods_supported: ['none', ...METHODS],
    revocation_endpoint_auth_signing_alg_values_supported: ['ES256'],
    introspection_endpoint_auth_methods_supported: METHODS,
    introspection_endpoint_auth_signing_alg_values_supported: ['ES256'],
    latchkey_revocations_endpoint: `${ISSUER}/revocations`,
    latchkey_resource_scopes_endpoint: `${ISSUER}/resource-scopes`,
    service_documentation: `${ISSUER}/docs`
  })
  t.ok(accepts(Metadata, metadata))
  t.notOk('service_documentation' in toWire({ ...service, docs: false }))
})
