import { type Static, Type } from '@sinclair/typebox'
import { defined } from '../defined.ts'
import type { ClientEdit as Edit, NewClient } from '../domain/clients.ts'
import type { Client, ClientSecret } from '../domain/model.ts'
import {
  ACCESS_TOKEN_TTL_MAX,
  CLIENT_ID_PATTERN,
  CLIENT_KEYS_MAX,
  CLIENT_LIST_MAX,
  CLIENT_SCOPE_TEXT_MAX,
  GRANT_TYPES_MAX,
  NAME_MAX,
  SESSION_TTL_MAX
} from '../limits.ts'
import { ClientSecretView, SECRET, SECRET_TEXT, toWire as secretToWire } from './client-secrets.ts'
import * as signIn from './client-sign-in.ts'
import { pageSchema } from './pages.ts'
import { Instant, iso, Line, OrNull, PathId, seconds, words } from './schema.ts'

const CLIENT = {
  client_id: 'worker',
  client_name: 'Orders worker',
  grant_types: ['client_credentials'],
  scope: 'orders:read orders:write',
  default_scope: 'orders:read',
  roles: [],
  resources: ['orders'],
  ...signIn.EXAMPLE,
  token_endpoint_auth_method: 'client_secret_basic',
  first_party: false,
  access_token_ttl: 600,
  session_idle_ttl: 1_209_600,
  session_absolute_ttl: 7_776_000,
  disabled: false,
  client_id_issued_at: 1_795_424_400,
  updated_at: '2026-11-22T09:00:00.000Z'
}
const Words = (description: string) => Type.String({ maxLength: CLIENT_SCOPE_TEXT_MAX, description })
const Ttl = (maximum: number, description: string) =>
  Type.Integer({ minimum: 1, maximum, description: `${description}, in seconds` })

const members = {
  client_name: Line({ minLength: 1, description: 'The display name' }),
  grant_types: Type.Array(Type.String(), {
    maxItems: GRANT_TYPES_MAX,
    uniqueItems: true,
    description: 'Values of `grant_type` that the client may use'
  }),
  scope: Words('Scopes that tokens of the client may hold, for users and for the client itself; separated by spaces'),
  default_scope: Words('Scopes of a token request without `scope`, separated by spaces; by default all of `scope`'),
  roles: OrNull(
    Type.Array(Type.String({ minLength: 1, maxLength: NAME_MAX }), { maxItems: CLIENT_LIST_MAX, uniqueItems: true }),
    'Roles that tokens of the client may carry. null, the default: all roles for a first-party client, no role for another client'
  ),
  resources: Type.Array(Type.String({ minLength: 1, maxLength: NAME_MAX }), {
    maxItems: CLIENT_LIST_MAX,
    uniqueItems: true,
    description:
      'Ids of the resources that tokens of the client may be for, the default resource first; empty for every resource of its scopes'
  }),
  ...signIn.members,
  first_party: Type.Boolean({
    description: 'Whether the client is a program of the operator. Only such a client may handle passwords'
  }),
  access_token_ttl: OrNull(
    Ttl(ACCESS_TOKEN_TTL_MAX, 'Lifetime of access tokens'),
    'Lifetime of access tokens, in seconds; null for the lifetime in the settings'
  ),
  session_idle_ttl: Ttl(SESSION_TTL_MAX, 'Lifetime of a session without renewal'),
  session_absolute_ttl: Ttl(SESSION_TTL_MAX, 'Longest lifetime of a session')
}
const Keys = Type.Object(
  {
    keys: Type.Array(Type.Object({ kty: Type.String() }, { additionalProperties: true }), {
      minItems: 1,
      maxItems: CLIENT_KEYS_MAX
    })
  },
  {
    description: 'The public keys that verify assertions of the client (RFC 7517 §5, RFC 7523)',
    additionalProperties: true
  }
)
const AUTH_METHOD = 'How the client authenticates; a client may always send its secret by Basic or in the form'

export const ClientView = Type.Object(
  {
    client_id: Type.String({ description: 'The id of the client in requests' }),
    client_name: Type.String(),
    grant_types: Type.Array(Type.String()),
    scope: Type.String(),
    default_scope: Type.String(),
    roles: OrNull(Type.Array(Type.String())),
    resources: Type.Array(Type.String()),
    ...signIn.members,
    token_endpoint_auth_method: Type.String({ description: AUTH_METHOD }),
    jwks: Type.Optional(Type.Object({ keys: Type.Array(Type.Record(Type.String(), Type.String())) })),
    first_party: Type.Boolean(),
    access_token_ttl: OrNull(Type.Integer()),
    session_idle_ttl: Type.Integer(),
    session_absolute_ttl: Type.Integer(),
    disabled: Type.Boolean(),
    client_id_issued_at: Type.Integer({ description: 'Seconds since the epoch' }),
    updated_at: Instant()
  },
  {
    $id: 'Client',
    description: 'A program that requests or introspects tokens. Members that RFC 7591 defines have its names',
    examples: [CLIENT]
  }
)

export const ClientDetails = Type.Object(
  {
    ...ClientView.properties,
    secrets: Type.Array(Type.Ref(ClientSecretView), { description: 'The secrets that have not expired, oldest first' })
  },
  {
    $id: 'ClientDetails',
    description: 'A client with its secrets, without their texts',
    examples: [{ ...CLIENT, secrets: [SECRET] }]
  }
)

export const ClientPage = pageSchema(Type.Ref(ClientView), {
  $id: 'ClientPage',
  description: 'Clients, by id',
  example: CLIENT
})

export const ClientCreation = Type.Object(
  {
    ...Type.Partial(Type.Object(members)).properties,
    client_name: members.client_name,
    client_id: Type.Optional(
      Type.String({
        pattern: CLIENT_ID_PATTERN,
        description: 'Neither a UUID nor the name of a user; generated when it is missing'
      })
    ),
    token_endpoint_auth_method: Type.Optional(
      Type.Union(
        (['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'] as const).map((method) =>
          Type.Literal(method)
        ),
        { description: `${AUTH_METHOD}; \`none\` for a public client (RFC 7591 §2)` }
      )
    ),
    jwks: Type.Optional(Keys)
  },
  {
    $id: 'ClientCreation',
    additionalProperties: false,
    description: 'A new client',
    examples: [
      { client_name: 'Orders worker', client_id: 'worker', grant_types: ['client_credentials'], scope: 'profile' }
    ]
  }
)

export const ClientRegistration = Type.Object(
  {
    ...ClientView.properties,
    client_secret: Type.Optional(
      Type.String({ description: 'Shown once; missing for a public client and for a client with keys' })
    ),
    client_secret_expires_at: Type.Optional(Type.Integer({ description: '0: the secret never expires' }))
  },
  {
    $id: 'ClientRegistration',
    description: 'The new client, RFC 7591 §3.2.1',
    examples: [{ ...CLIENT, client_secret: SECRET_TEXT, client_secret_expires_at: 0 }]
  }
)

export const ClientEdit = Type.Object(
  {
    ...Type.Partial(Type.Object(members)).properties,
    jwks: Type.Optional(Type.Union([Keys, Type.Null()], { description: 'null removes the keys' })),
    disabled: Type.Optional(
      Type.Boolean({ description: 'true ends the sessions and tokens of the client and refuses its requests' })
    )
  },
  {
    $id: 'ClientEdit',
    additionalProperties: false,
    description: 'Missing members stay as they are; a list replaces the whole list of the client',
    examples: [{ disabled: true }]
  }
)

export const ClientParams = Type.Object({ id: PathId(CLIENT_ID_PATTERN, '`client_id` of the client') })

/** The path of one client. */
export const CLIENT_PATH = `/clients/:id(${CLIENT_ID_PATTERN})`

/** Returns the authentication method of a client (RFC 7591 §2). A client may also send its secret by `client_secret_post`. */
function methodOf({ kind, jwks }: Pick<Client, 'kind' | 'jwks'>): string {
  if (kind === 'public') return 'none'
  return jwks === null ? 'client_secret_basic' : 'private_key_jwt'
}

/** Returns the JSON of a client. */
export const toWire = (client: Client): Static<typeof ClientView> => ({
  client_id: client.id,
  client_name: client.name,
  grant_types: client.grantTypes,
  scope: client.scopes.join(' '),
  default_scope: client.defaultScopes.join(' '),
  roles: client.roles,
  resources: client.resources,
  ...signIn.toWire(client),
  token_endpoint_auth_method: methodOf(client),
  ...defined({ jwks: client.jwks === null ? undefined : { keys: client.jwks } }),
  first_party: client.firstParty,
  access_token_ttl: client.accessTokenTtl,
  session_idle_ttl: client.sessionIdleTtl,
  session_absolute_ttl: client.sessionAbsoluteTtl,
  disabled: client.disabledAt !== null,
  client_id_issued_at: seconds(client.createdAt),
  updated_at: iso(client.updatedAt)
})

/** Returns the JSON of a client with its secrets, without their texts. */
export const detailsToWire = (client: Client, secrets: ClientSecret[]): Static<typeof ClientDetails> => ({
  ...toWire(client),
  secrets: secrets.map(secretToWire)
})

/** Returns the JSON of a new client. @param registration `secret` is the text of its secret, or null for none */
export const registrationToWire = ({
  client,
  secret
}: {
  client: Client
  secret: string | null
}): Static<typeof ClientRegistration> => ({
  ...toWire(client),
  ...defined({
    client_secret: secret ?? undefined,
    client_secret_expires_at: secret === null ? undefined : 0
  })
})

/** Converts the JSON of the members of a change. */
export const editFromWire = (body: Static<typeof ClientEdit>): Edit => ({
  ...signIn.fromWire(body),
  ...defined({
    name: body.client_name,
    grantTypes: body.grant_types,
    scopes: body.scope === undefined ? undefined : words(body.scope),
    defaultScopes: body.default_scope === undefined ? undefined : words(body.default_scope),
    roles: body.roles,
    resources: body.resources,
    firstParty: body.first_party,
    accessTokenTtl: body.access_token_ttl,
    sessionIdleTtl: body.session_idle_ttl,
    sessionAbsoluteTtl: body.session_absolute_ttl,
    jwks: body.jwks,
    disabled: body.disabled
  })
})

/** Converts the JSON of a new client. */
export const inputFromWire = (body: Static<typeof ClientCreation>): NewClient => {
  const { client_id: id, token_endpoint_auth_method: method, ...members } = body
  return { ...editFromWire(members), name: body.client_name, ...defined({ id, method }) }
}
