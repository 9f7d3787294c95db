import { type TSchema, Type } from '@sinclair/typebox'

/** Texts that people read: no control characters. */
const LINE = '^[^\\p{Cc}]*$'

/** One page of a list, and where the next one begins. */
const pageSchema = <T extends TSchema>(item: T, $id: string, description: string, example: object) =>
  Type.Object(
    {
      items: Type.Array(Type.Ref(item)),
      next_cursor: Type.Union([Type.String(), Type.Null()], {
        description: '`cursor` of the next page; null at the end'
      })
    },
    { $id, description, examples: [{ items: [example], next_cursor: null }] }
  )

const ALICE = {
  id: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10',
  username: 'alice',
  email: 'alice@example.com',
  full_name: 'Alice Liddell',
  disabled: false,
  roles: ['user'],
  created_at: '2026-11-22T09:00:00.000Z',
  updated_at: '2026-11-22T09:00:00.000Z'
}

export const UserView = Type.Object(
  {
    id: Type.String({ format: 'uuid', description: 'The `sub` of the user’s tokens' }),
    username: Type.String(),
    email: Type.Union([Type.String(), Type.Null()]),
    full_name: Type.Union([Type.String(), Type.Null()]),
    disabled: Type.Boolean({ description: 'Whether the user is kept from logging in' }),
    roles: Type.Array(Type.String()),
    created_at: Type.String({ format: 'date-time' }),
    updated_at: Type.String({ format: 'date-time' })
  },
  {
    $id: 'User',
    description: 'A person',
    examples: [ALICE]
  }
)

export const UserPage = pageSchema(UserView, 'UserPage', 'Some users, oldest first', ALICE)

const Username = Type.String({
  minLength: 1,
  maxLength: 256,
  description:
    'How they log in: 1 to 64 letters, digits and signs, however they are encoded; case does not matter (RFC 8265)'
})
const Email = Type.Union([Type.String({ maxLength: 254, pattern: '^[^\\s@\\p{Cc}]+@[^\\s@\\p{Cc}]+$' }), Type.Null()], {
  description: 'Unique; null for none'
})
const FullName = Type.Union([Type.String({ minLength: 1, maxLength: 200, pattern: LINE }), Type.Null()], {
  description: 'null for none'
})
const NewPassword = Type.String({
  maxLength: 1024,
  description:
    'At least LATCHKEY_PASSWORD_MIN_LENGTH characters (15, if not set); a common one and the own name are refused'
})
const RoleName = Type.String({ minLength: 1, maxLength: 64 })
const Roles = Type.Array(RoleName, { maxItems: 50, uniqueItems: true, description: 'Names of roles' })

export const UserChanges = Type.Object(
  { email: Type.Optional(Email), full_name: Type.Optional(FullName) },
  {
    $id: 'UserChanges',
    additionalProperties: false,
    description: 'What is left out stays as it is',
    examples: [{ full_name: 'Alice Liddell' }]
  }
)

export const UserEdit = Type.Object(
  {
    ...UserChanges.properties,
    username: Type.Optional(Username),
    disabled: Type.Optional(Type.Boolean({ description: 'true ends every session and keeps the user out' })),
    roles: Type.Optional(Roles)
  },
  {
    $id: 'UserEdit',
    additionalProperties: false,
    description: 'What is left out stays as it is; `roles` replaces all that the user has',
    examples: [{ disabled: true }]
  }
)

export const UserCreation = Type.Object(
  {
    username: Username,
    password: NewPassword,
    email: Type.Optional(Email),
    full_name: Type.Optional(FullName),
    roles: Type.Optional({ ...Roles, default: ['user'] } as typeof Roles)
  },
  {
    $id: 'UserCreation',
    additionalProperties: false,
    description: 'A new person',
    examples: [{ username: 'alice', password: 'a long pass phrase', roles: ['user'] }]
  }
)

export const PasswordChange = Type.Object(
  { current_password: Type.String({ description: 'The one that holds until now' }), new_password: NewPassword },
  {
    $id: 'PasswordChange',
    additionalProperties: false,
    description: 'A new password, and the old one as proof',
    examples: [{ current_password: 'a long pass phrase', new_password: 'another long pass phrase' }]
  }
)

const EDITOR = { name: 'editor', description: 'May edit articles', scopes: ['profile'] }
const Description = Type.String({ maxLength: 200, pattern: LINE, description: 'What it is for' })
const Scopes = Type.Array(Type.String({ minLength: 1, maxLength: 255 }), {
  maxItems: 200,
  uniqueItems: true,
  description: 'What users with the role may be granted'
})

export const RoleView = Type.Object(
  { name: Type.String(), description: Type.String(), scopes: Type.Array(Type.String()) },
  { $id: 'Role', description: 'A role', examples: [EDITOR] }
)

export const RolePage = pageSchema(RoleView, 'RolePage', 'Some roles, by name', EDITOR)

export const RoleCreation = Type.Object(
  {
    name: Type.String({
      pattern: '^[a-z][a-z0-9_.-]{0,63}$',
      description: 'What it is called from now on; a name is not changed'
    }),
    description: Type.Optional({ ...Description, default: '' } as typeof Description),
    scopes: Type.Optional({ ...Scopes, default: [] } as typeof Scopes)
  },
  { $id: 'RoleCreation', additionalProperties: false, description: 'A new role', examples: [EDITOR] }
)

export const RoleChanges = Type.Object(
  { description: Type.Optional(Description), scopes: Type.Optional(Scopes) },
  {
    $id: 'RoleChanges',
    additionalProperties: false,
    description: 'What is left out stays as it is; `scopes` replaces all that the role has',
    examples: [{ scopes: ['profile'] }]
  }
)

export const ScopePage = Type.Object(
  {
    items: Type.Array(
      Type.Object({
        name: Type.String(),
        description: Type.String(),
        resource: Type.String({ description: 'The service that it belongs to: the `aud` of its tokens' })
      })
    ),
    next_cursor: Type.Union([Type.String(), Type.Null()], { description: '`cursor` of the next page; null at the end' })
  },
  {
    $id: 'ScopePage',
    description: 'Some scopes, by name',
    examples: [
      {
        items: [
          { name: 'profile', description: 'See and change your own profile', resource: 'https://id.example.com' }
        ],
        next_cursor: null
      }
    ]
  }
)

const SCOPE_NAME = Type.String({ minLength: 1, maxLength: 255 })
const RESOURCE = {
  id: 'orders',
  resource: 'https://orders.example.com',
  name: 'Orders',
  scopes: [{ name: 'orders:read', description: 'See orders' }],
  introspection_clients: ['orders-api']
}
const ResourceName = Type.String({ minLength: 1, maxLength: 200, pattern: LINE, description: 'What people call it' })
const ResourceScopes = Type.Array(
  Type.Object(
    { name: SCOPE_NAME, description: Type.Optional({ ...Description, default: '' } as typeof Description) },
    { additionalProperties: false }
  ),
  { maxItems: 100, description: 'What its tokens may hold; the role `admin` gets them too' }
)
const IntrospectionClients = Type.Array(Type.String({ minLength: 1, maxLength: 255 }), {
  maxItems: 100,
  uniqueItems: true,
  description: 'Clients that may ask about its tokens'
})

export const ResourceView = Type.Object(
  {
    id: Type.String(),
    resource: Type.String({ description: 'The `aud` of its tokens, and what requests name (RFC 8707)' }),
    name: Type.String(),
    scopes: Type.Array(Type.Object({ name: Type.String(), description: Type.String() })),
    introspection_clients: Type.Array(Type.String())
  },
  { $id: 'Resource', description: 'A service that tokens are for', examples: [RESOURCE] }
)

export const ResourcePage = pageSchema(ResourceView, 'ResourcePage', 'Some resources, by id', RESOURCE)

export const ResourceCreation = Type.Object(
  {
    id: Type.String({
      pattern: '^[a-z][a-z0-9_.-]{0,63}$',
      description: 'What it is called in paths and by clients; not changed later'
    }),
    resource: Type.String({ maxLength: 255, description: 'An absolute URI without fragment; not changed later' }),
    name: ResourceName,
    scopes: Type.Optional({ ...ResourceScopes, default: [] } as typeof ResourceScopes),
    introspection_clients: Type.Optional({ ...IntrospectionClients, default: [] } as typeof IntrospectionClients)
  },
  { $id: 'ResourceCreation', additionalProperties: false, description: 'A new resource', examples: [RESOURCE] }
)

export const ResourceChanges = Type.Object(
  {
    name: Type.Optional(ResourceName),
    scopes: Type.Optional(ResourceScopes),
    introspection_clients: Type.Optional(IntrospectionClients)
  },
  {
    $id: 'ResourceChanges',
    additionalProperties: false,
    description: 'What is left out stays as it is; lists replace all that the resource has',
    examples: [{ name: 'Orders' }]
  }
)

const CLIENT = {
  client_id: 'worker',
  client_name: 'Orders worker',
  grant_types: ['client_credentials'],
  scope: 'orders:read orders:write',
  default_scope: 'orders:read',
  resources: ['orders'],
  redirect_uris: [],
  token_endpoint_auth_method: 'client_secret_basic',
  first_party: false,
  access_token_ttl: 600,
  session_idle_ttl: 1_209_600,
  session_absolute_ttl: 7_776_000,
  disabled: false,
  client_id_issued_at: 1_795_424_400,
  updated_at: '2026-11-22T09:00:00.000Z'
}
const SECRET = {
  id: '0199d0a4-9a31-7d02-b5c1-7e2f9b3a4c10',
  created_at: '2026-11-22T09:00:00.000Z',
  client_secret_expires_at: 0,
  last_used_at: '2026-11-22T10:00:00.000Z'
}
const Words = (description: string) =>
  Type.String({ maxLength: 4096, description: `${description}, separated by spaces` })
const Ttl = (most: number, description: string) =>
  Type.Integer({ minimum: 1, maximum: most, description: `${description}, in seconds` })
const clientFields = {
  client_name: Type.String({ minLength: 1, maxLength: 200, pattern: LINE, description: 'What people call it' }),
  grant_types: Type.Array(Type.String(), {
    maxItems: 20,
    uniqueItems: true,
    description: 'Values of `grant_type` that it may use'
  }),
  scope: Words('Scopes that its tokens may hold, or that it may use itself'),
  default_scope: Words('Of these, what a request means that names none; else all of them'),
  resources: Type.Array(Type.String({ minLength: 1, maxLength: 64 }), {
    maxItems: 100,
    uniqueItems: true,
    description:
      'Ids of the resources that its tokens may be for, the default first; empty for every one that its scopes belong to'
  }),
  redirect_uris: Type.Array(Type.String({ maxLength: 2000 }), {
    maxItems: 100,
    uniqueItems: true,
    description: 'Where the code flow may lead back to'
  }),
  first_party: Type.Boolean({ description: 'Whether it is your own, and may see passwords' }),
  access_token_ttl: Type.Union([Ttl(3600, 'Lifetime of its access tokens'), Type.Null()], {
    description: 'Lifetime of its access tokens, in seconds; null for that of the settings'
  }),
  session_idle_ttl: Ttl(31_536_000, 'How long its sessions may be idle'),
  session_absolute_ttl: Ttl(31_536_000, 'How long its sessions may last')
}
const Keys = Type.Object(
  {
    keys: Type.Array(Type.Object({ kty: Type.String() }, { additionalProperties: true }), { minItems: 1, maxItems: 10 })
  },
  {
    description: 'The public keys that its assertions are signed with (RFC 7517 §5, RFC 7523)',
    additionalProperties: true
  }
)
const AUTH_METHOD = 'How it authenticates; with either way to send a secret the other is good too'
const ClientIdField = Type.String({ description: 'What it names itself by' })

export const ClientSecretView = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    created_at: Type.String({ format: 'date-time' }),
    client_secret_expires_at: Type.Integer({ description: 'Seconds since the epoch; 0 for never' }),
    last_used_at: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], {
      description: 'To the hour; null for never'
    })
  },
  { $id: 'ClientSecret', description: 'A secret, without itself', examples: [SECRET] }
)

export const ClientView = Type.Object(
  {
    client_id: ClientIdField,
    client_name: Type.String(),
    grant_types: Type.Array(Type.String()),
    scope: Type.String(),
    default_scope: Type.String(),
    resources: Type.Array(Type.String()),
    redirect_uris: Type.Array(Type.String()),
    token_endpoint_auth_method: Type.String({ description: AUTH_METHOD }),
    jwks: Type.Optional(Type.Object({ keys: Type.Array(Type.Record(Type.String(), Type.String())) })),
    first_party: Type.Boolean(),
    access_token_ttl: Type.Union([Type.Integer(), Type.Null()]),
    session_idle_ttl: Type.Integer(),
    session_absolute_ttl: Type.Integer(),
    disabled: Type.Boolean(),
    client_id_issued_at: Type.Integer({ description: 'Seconds since the epoch' }),
    updated_at: Type.String({ format: 'date-time' })
  },
  {
    $id: 'Client',
    description: 'A program that asks for tokens, or about them; the names of RFC 7591 where it has one',
    examples: [CLIENT]
  }
)

export const ClientDetails = Type.Object(
  {
    ...ClientView.properties,
    secrets: Type.Array(Type.Ref(ClientSecretView), { description: 'Those that are not over, oldest first' })
  },
  {
    $id: 'ClientDetails',
    description: 'A client, with its secrets but for themselves',
    examples: [{ ...CLIENT, secrets: [SECRET] }]
  }
)

export const ClientPage = pageSchema(ClientView, 'ClientPage', 'Some clients, by id', CLIENT)

export const ClientCreation = Type.Object(
  {
    ...Type.Partial(Type.Object(clientFields)).properties,
    client_name: clientFields.client_name,
    client_id: Type.Optional(
      Type.String({
        pattern: '^[\\x21-\\x7e]{1,255}$',
        description: 'What it names itself by: no UUID and no user’s name; a generated one without it'
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

const LKS = 'lks_3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
export const ClientRegistration = Type.Object(
  {
    ...ClientView.properties,
    client_secret: Type.Optional(
      Type.String({ description: 'Shown this once; not of a public client or one with keys' })
    ),
    client_secret_expires_at: Type.Optional(Type.Integer({ description: '0: never' }))
  },
  {
    $id: 'ClientRegistration',
    description: 'The new client, RFC 7591 §3.2.1',
    examples: [{ ...CLIENT, client_secret: LKS, client_secret_expires_at: 0 }]
  }
)

export const ClientEdit = Type.Object(
  {
    ...Type.Partial(Type.Object(clientFields)).properties,
    jwks: Type.Optional(Type.Union([Keys, Type.Null()], { description: 'null takes its keys away' })),
    disabled: Type.Optional(Type.Boolean({ description: 'true ends its sessions and tokens and keeps it out' }))
  },
  {
    $id: 'ClientEdit',
    additionalProperties: false,
    description: 'What is left out stays as it is; lists replace all that the client has',
    examples: [{ disabled: true }]
  }
)

export const SecretCreation = Type.Object(
  {
    expires_in: Type.Optional(Ttl(315_360_000, 'After how long it ends; without it never')),
    others_expire_in: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 315_360_000,
        description: 'After how long the others end at the latest, in seconds'
      })
    )
  },
  {
    $id: 'SecretCreation',
    additionalProperties: false,
    description: 'One more secret; `{}` for one without an end',
    examples: [{ others_expire_in: 86_400 }]
  }
)

export const NewSecret = Type.Object(
  { ...ClientSecretView.properties, client_secret: Type.String({ description: 'Shown this once' }) },
  { $id: 'NewSecret', description: 'The new secret', examples: [{ ...SECRET, last_used_at: null, client_secret: LKS }] }
)

const SESSION = {
  id: '0199d0a4-8f20-7c11-8a4e-1b6f0d2c9e55',
  client_id: 'docs',
  scope: 'profile',
  amr: ['pwd'],
  address: '192.0.2.7',
  user_agent: 'Mozilla/5.0',
  current: true,
  authenticated_at: '2026-11-22T09:00:00.000Z',
  created_at: '2026-11-22T09:00:00.000Z',
  last_used_at: '2026-11-22T09:05:00.000Z',
  expires_at: '2026-11-22T10:05:00.000Z'
}

export const SessionView = Type.Object(
  {
    id: Type.String({ format: 'uuid', description: 'The `sid` of its tokens' }),
    client_id: Type.String({ description: 'Where the user logged in' }),
    scope: Type.String({ description: 'What was granted, separated by spaces' }),
    amr: Type.Array(Type.String(), { description: 'How the user was authenticated (RFC 8176)' }),
    address: Type.Union([Type.String(), Type.Null()], { description: 'From where the user logged in' }),
    user_agent: Type.Union([Type.String(), Type.Null()], { description: 'By what' }),
    current: Type.Boolean({ description: 'Whether it is the session of this very request' }),
    authenticated_at: Type.String({ format: 'date-time' }),
    created_at: Type.String({ format: 'date-time' }),
    last_used_at: Type.String({ format: 'date-time', description: 'When it was last renewed' }),
    expires_at: Type.String({ format: 'date-time', description: 'When it ends unless it is renewed' })
  },
  { $id: 'Session', description: 'One login of a user at one client', examples: [SESSION] }
)

export const SessionPage = pageSchema(SessionView, 'SessionPage', 'Some sessions, oldest first', SESSION)

export const SessionsQuery = Type.Object(
  { except: Type.Optional(Type.Literal('current', { description: 'Leaves the session of this very request' })) },
  { additionalProperties: false }
)

const KEY = {
  kid: 'cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s',
  alg: 'ES256',
  state: 'verifying',
  created_at: '2026-09-22T09:00:00.000Z',
  signs_since_at: '2026-10-22T09:00:00.000Z',
  verifies_until_at: '2026-11-21T10:01:00.000Z',
  retired_at: null
}
const InstantOrNull = (description: string) =>
  Type.Union([Type.String({ format: 'date-time' }), Type.Null()], { description })

export const KeyView = Type.Object(
  {
    kid: Type.String({ description: 'Its thumbprint (RFC 7638), in the header of every token that it signed' }),
    alg: Type.String(),
    state: Type.Union(
      ['next', 'signing', 'verifying', 'retired'].map((state) => Type.Literal(state)),
      {
        description:
          '`next` is published and signs after a rotation; `verifying` signs no more; `retired` is good for nothing'
      }
    ),
    created_at: Type.String({ format: 'date-time', description: 'When it was published' }),
    signs_since_at: InstantOrNull('From when on it signed; null if it never did'),
    verifies_until_at: InstantOrNull('Until when tokens that it signed can live; null while it signs'),
    retired_at: InstantOrNull('null while it is published')
  },
  { $id: 'Key', description: 'A key that tokens are signed with, without its private part', examples: [KEY] }
)

export const KeyPage = pageSchema(KeyView, 'KeyPage', 'Some keys, the newest first', KEY)

export const KeyRetirement = Type.Object(
  {
    compromised: Type.Boolean({
      description:
        'true takes the key out at once, with every token that it signed; false when nothing it signed can live'
    })
  },
  {
    $id: 'KeyRetirement',
    additionalProperties: false,
    description: 'Why a key is retired',
    examples: [{ compromised: true }]
  }
)

const cursor = (pattern: string) =>
  Type.Optional(Type.String({ pattern, description: '`next_cursor` of the page before' }))
const page = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 50, description: 'How many at most' })),
  cursor: cursor('^[\\x20-\\x7e]{1,255}$')
}

export const PageQuery = Type.Object(page, { additionalProperties: false })

export const UserQuery = Type.Object(
  {
    ...page,
    cursor: cursor('^[0-9a-f-]{36}$'),
    search: Type.Optional(
      Type.String({ minLength: 1, maxLength: 254, description: 'The beginning of a username or an e-mail' })
    ),
    role: Type.Optional({ ...RoleName, description: 'Only those who have it' } as typeof RoleName),
    disabled: Type.Optional(
      Type.Union([Type.Literal('true'), Type.Literal('false')], { description: 'Only those who are, or are not' })
    )
  },
  { additionalProperties: false }
)

export const IdParams = Type.Object({ id: Type.String({ maxLength: 255, description: '`id` of the user' }) })
const session = Type.String({ maxLength: 255, description: '`id` of the session' })
export const OwnSessionParams = Type.Object({ session })
export const SessionParams = Type.Object({ ...IdParams.properties, session })
export const ClientParams = Type.Object({
  id: Type.String({ maxLength: 255, description: '`client_id` of the client' })
})
export const SecretParams = Type.Object({
  ...ClientParams.properties,
  secret: Type.String({ maxLength: 255, description: '`id` of the secret' })
})
export const ResourceParams = Type.Object({ id: Type.String({ maxLength: 255, description: '`id` of the resource' }) })
export const NameParams = Type.Object({ name: Type.String({ maxLength: 255, description: '`name` of the role' }) })

const Seq = (description: string) => Type.Integer({ minimum: 0, description })

export const RevocationView = Type.Object(
  {
    entries: Type.Array(
      Type.Object({
        seq: Seq('Its number'),
        kind: Type.Unsafe<string>({
          type: 'string',
          enum: ['session', 'token', 'key', 'user', 'client', 'role'],
          description: 'A session, token or key is over; of the others every token whose `rev` is below `seq`'
        }),
        id: Type.String({
          description: '`sid`, `jti`, `kid`, `sub` of a user, `client_id` or a name in `roles`'
        })
      }),
      { maxItems: 1000, description: 'In the order of their numbers' }
    ),
    seq: Seq('How far the log had come'),
    oldest: Seq('The smallest `after` with which nothing is missing')
  },
  {
    $id: 'RevocationLog',
    description: 'What was revoked, for as long as a token can live that this ends',
    examples: [
      { entries: [{ seq: 1042, kind: 'user', id: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10' }], seq: 1042, oldest: 977 }
    ]
  }
)

export const RevocationQuery = Type.Object(
  {
    after: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 999_999_999_999_999,
        default: 0,
        description: 'How far you have read; 0 for nothing yet'
      })
    ),
    wait: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 30, default: 0, description: 'Seconds to wait while there is nothing new' })
    )
  },
  { additionalProperties: false }
)

export const KidParams = Type.Object({ kid: Type.String({ maxLength: 255, description: '`kid` of the key' }) })

/** For routes that take nothing in the query. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

/** An error that only this route can give; those that every route can give are added to it by the errors plugin. */
export const problem = (status: number, title: string, detail: string) => ({
  description: title,
  content: {
    'application/problem+json': { schema: Type.Ref('Problem'), example: { type: 'about:blank', title, status, detail } }
  }
})

/** `limit` and `cursor` as the domain has them. */
export const pageOf = ({ limit = 50, cursor }: { limit?: number; cursor?: string }) => ({
  after: cursor ?? null,
  limit
})

/** 200 with a body of that schema. */
export const json = (description: string, schema: TSchema) => ({
  description,
  content: { 'application/json': { schema: Type.Ref(schema) } }
})

/** 201 with what was made. */
export const created = (description: string, schema: TSchema) => ({
  ...json(description, schema),
  headers: { Location: { type: 'string', description: 'Where it is from now on' } }
})
