import { type Static, Type } from '@sinclair/typebox'
import { defined } from '../defined.ts'
import { USER_CLAIMS } from './user-info.ts'

/** RFC 8414 §3. */
export const METADATA_PATH = '/.well-known/oauth-authorization-server'
/** OpenID Connect Discovery 1.0 §4. */
export const OPENID_PATH = '/.well-known/openid-configuration'
export const JWKS_PATH = '/.well-known/jwks.json'

/** The authentication methods of confidential clients. */
const CONFIDENTIAL = ['client_secret_basic', 'client_secret_post', 'private_key_jwt']

/** What authorization requests may ask for, and what every response has. */
const AUTHORIZATION = {
  response_types_supported: ['code'],
  response_modes_supported: ['query', 'form_post'],
  code_challenge_methods_supported: ['S256'],
  authorization_response_iss_parameter_supported: true,
  request_parameter_supported: false,
  request_uri_parameter_supported: false,
  claims_parameter_supported: false
}

/** The claims of ID tokens besides `sub`. */
const TOKEN_CLAIMS = ['iss', 'aud', 'exp', 'iat', 'auth_time', 'nonce', 'amr', 'azp', 'at_hash', 'sid']

/** The members of OpenID Connect that no setting changes. */
const OPENID = {
  claims_supported: [...USER_CLAIMS, ...TOKEN_CLAIMS],
  subject_types_supported: ['public'],
  backchannel_logout_supported: true,
  backchannel_logout_session_supported: true
}

const texts = () => Type.Array(Type.String())

export const Metadata = Type.Object(
  {
    issuer: Type.String(),
    authorization_endpoint: Type.String(),
    token_endpoint: Type.String(),
    revocation_endpoint: Type.String(),
    introspection_endpoint: Type.String(),
    userinfo_endpoint: Type.String(),
    end_session_endpoint: Type.String({ description: 'OpenID Connect RP-Initiated Logout 1.0' }),
    jwks_uri: Type.String(),
    scopes_supported: Type.Array(Type.String(), {
      description: 'The scopes of Latchkey’s own API. The scopes of other resources are not public'
    }),
    response_types_supported: texts(),
    response_modes_supported: texts(),
    grant_types_supported: texts(),
    code_challenge_methods_supported: texts(),
    authorization_response_iss_parameter_supported: Type.Boolean({ description: 'RFC 9207 §3' }),
    request_parameter_supported: Type.Boolean(),
    request_uri_parameter_supported: Type.Boolean(),
    claims_parameter_supported: Type.Boolean(),
    prompt_values_supported: texts(),
    ui_locales_supported: Type.Array(Type.String(), { description: 'Languages of the pages' }),
    claims_supported: texts(),
    subject_types_supported: texts(),
    id_token_signing_alg_values_supported: texts(),
    backchannel_logout_supported: Type.Boolean(),
    backchannel_logout_session_supported: Type.Boolean(),
    token_endpoint_auth_methods_supported: texts(),
    token_endpoint_auth_signing_alg_values_supported: texts(),
    revocation_endpoint_auth_methods_supported: texts(),
    revocation_endpoint_auth_signing_alg_values_supported: texts(),
    introspection_endpoint_auth_methods_supported: texts(),
    introspection_endpoint_auth_signing_alg_values_supported: texts(),
    latchkey_revocations_endpoint: Type.String({ description: '`GET /revocations`' }),
    latchkey_resource_scopes_endpoint: Type.String({ description: '`GET /resource-scopes`' }),
    service_documentation: Type.Optional(Type.String())
  },
  {
    $id: 'Metadata',
    description: 'RFC 8414 §2, OpenID Connect Discovery 1.0 §3',
    examples: [
      {
        issuer: 'https://id.example.com',
        authorization_endpoint: 'https://id.example.com/authorize',
        token_endpoint: 'https://id.example.com/token',
        revocation_endpoint: 'https://id.example.com/revoke',
        introspection_endpoint: 'https://id.example.com/introspect',
        userinfo_endpoint: 'https://id.example.com/userinfo',
        end_session_endpoint: 'https://id.example.com/logout',
        jwks_uri: 'https://id.example.com/.well-known/jwks.json',
        scopes_supported: ['profile', 'users:read'],
        ...AUTHORIZATION,
        prompt_values_supported: ['none', 'login', 'consent', 'select_account'],
        ui_locales_supported: ['en', 'de'],
        ...OPENID,
        id_token_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256'],
        grant_types_supported: ['authorization_code', 'client_credentials', 'password', 'refresh_token'],
        token_endpoint_auth_methods_supported: ['none', ...CONFIDENTIAL],
        token_endpoint_auth_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256', 'PS256'],
        revocation_endpoint_auth_methods_supported: ['none', ...CONFIDENTIAL],
        revocation_endpoint_auth_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256', 'PS256'],
        introspection_endpoint_auth_methods_supported: CONFIDENTIAL,
        introspection_endpoint_auth_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256', 'PS256'],
        latchkey_revocations_endpoint: 'https://id.example.com/revocations',
        latchkey_resource_scopes_endpoint: 'https://id.example.com/resource-scopes',
        service_documentation: 'https://id.example.com/docs'
      }
    ]
  }
)

export const Jwks = Type.Object(
  { keys: Type.Array(Type.Record(Type.String(), Type.String())) },
  {
    $id: 'Jwks',
    description: 'Public keys, RFC 7517 §5',
    examples: [
      {
        keys: [
          {
            kty: 'EC',
            crv: 'P-256',
            x: 'MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4',
            y: '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM',
            kid: 'cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s',
            alg: 'ES256',
            use: 'sig'
          }
        ]
      }
    ]
  }
)

export const Index = Type.Object(
  { name: Type.String(), version: Type.String(), links: Type.Record(Type.String(), Type.String()) },
  {
    $id: 'Index',
    examples: [{ name: 'latchkey', version: '0.1.0', links: { docs: 'https://id.example.com/docs' } }]
  }
)

/** Returns the JSON of the links of the index. @param docs whether `/docs` exists */
export function linksToWire(issuer: string, docs: boolean): Record<string, string> {
  const { origin, pathname } = new URL(issuer)
  return {
    self: issuer,
    ...defined({ docs: docs ? `${issuer}/docs` : undefined }),
    openapi: `${issuer}/openapi.json`,
    token: `${issuer}/token`,
    // RFC 8414 §3.1: the path of the issuer follows the well-known part.
    metadata: `${origin}${METADATA_PATH}${pathname.replace(/\/$/, '')}`,
    jwks: issuer + JWKS_PATH,
    health: `${issuer}/health/ready`
  }
}

/**
 * Returns the JSON of the metadata (RFC 8414 §2, OpenID Connect Discovery 1.0 §3). RFC 8414 §3.2 forbids lists without a value.
 * @param service `docs` says whether `/docs` exists
 */
export const toWire = (service: {
  issuer: string
  docs: boolean
  scopes: string[]
  grantTypes: string[]
  assertionAlgs: string[]
  idTokenAlgs: string[]
  prompts: string[]
  locales: string[]
}): Static<typeof Metadata> => {
  const { issuer, docs, scopes, grantTypes, assertionAlgs, idTokenAlgs, prompts, locales } = service
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    revocation_endpoint: `${issuer}/revoke`,
    introspection_endpoint: `${issuer}/introspect`,
    userinfo_endpoint: `${issuer}/userinfo`,
    end_session_endpoint: `${issuer}/logout`,
    jwks_uri: issuer + JWKS_PATH,
    scopes_supported: scopes,
    ...AUTHORIZATION,
    prompt_values_supported: prompts,
    ui_locales_supported: locales,
    ...OPENID,
    id_token_signing_alg_values_supported: idTokenAlgs,
    grant_types_supported: grantTypes,
    token_endpoint_auth_methods_supported: ['none', ...CONFIDENTIAL],
    token_endpoint_auth_signing_alg_values_supported: assertionAlgs,
    revocation_endpoint_auth_methods_supported: ['none', ...CONFIDENTIAL],
    revocation_endpoint_auth_signing_alg_values_supported: assertionAlgs,
    introspection_endpoint_auth_methods_supported: CONFIDENTIAL,
    introspection_endpoint_auth_signing_alg_values_supported: assertionAlgs,
    latchkey_revocations_endpoint: `${issuer}/revocations`,
    latchkey_resource_scopes_endpoint: `${issuer}/resource-scopes`,
    ...defined({ service_documentation: docs ? `${issuer}/docs` : undefined })
  }
}
