import { type Static, Type } from '@sinclair/typebox'
import { defined } from '../defined.ts'
import type { Resource } from '../domain/model.ts'
import type { ResourceEdit } from '../domain/resources.ts'
import { IDENTIFIER_MAX, INTROSPECTION_CLIENTS_MAX, NAME_PATTERN, RESOURCE_SCOPES_MAX } from '../limits.ts'
import { pageSchema } from './pages.ts'
import { Line, PathId } from './schema.ts'

const RESOURCE = {
  id: 'orders',
  resource: 'https://orders.example.com',
  name: 'Orders',
  scopes: [{ name: 'orders:read', description: 'See orders' }],
  introspection_clients: ['orders-api']
}
const Name = Line({ minLength: 1, description: 'The display name' })
const Description = Line({ description: 'The purpose of the scope' })
const Scopes = Type.Array(
  Type.Object(
    {
      name: Type.String({ minLength: 1, maxLength: IDENTIFIER_MAX }),
      description: Type.Optional({ ...Description, default: '' } as typeof Description)
    },
    { additionalProperties: false }
  ),
  { maxItems: RESOURCE_SCOPES_MAX, description: 'The scopes of the resource; the role `admin` gets them too' }
)
const IntrospectionClients = Type.Array(Type.String({ minLength: 1, maxLength: IDENTIFIER_MAX }), {
  maxItems: INTROSPECTION_CLIENTS_MAX,
  uniqueItems: true,
  description: 'Clients of the service. They may introspect tokens for the resource and read their revocations'
})

export const ResourceView = Type.Object(
  {
    id: Type.String(),
    resource: Type.String({ description: 'The URI: `aud` of tokens, and `resource` of token requests (RFC 8707)' }),
    name: Type.String(),
    scopes: Type.Array(Type.Object({ name: Type.String(), description: Type.String() })),
    introspection_clients: Type.Array(Type.String())
  },
  { $id: 'Resource', description: 'A service that tokens are for', examples: [RESOURCE] }
)

export const ResourcePage = pageSchema(Type.Ref(ResourceView), {
  $id: 'ResourcePage',
  description: 'Resources, by id',
  example: RESOURCE
})

export const ResourceCreation = Type.Object(
  {
    id: Type.String({ pattern: NAME_PATTERN, description: 'The id in paths and lists. It cannot be changed later' }),
    resource: Type.String({
      maxLength: IDENTIFIER_MAX,
      description:
        'The URI: absolute, normalised (RFC 3986 §6.2), without fragment and credentials. It cannot be changed later'
    }),
    name: Name,
    scopes: Type.Optional({ ...Scopes, default: [] } as typeof Scopes),
    introspection_clients: Type.Optional({ ...IntrospectionClients, default: [] } as typeof IntrospectionClients)
  },
  { $id: 'ResourceCreation', additionalProperties: false, description: 'A new resource', examples: [RESOURCE] }
)

export const ResourceChanges = Type.Object(
  {
    name: Type.Optional(Name),
    scopes: Type.Optional(Scopes),
    introspection_clients: Type.Optional(IntrospectionClients)
  },
  {
    $id: 'ResourceChanges',
    additionalProperties: false,
    description: 'Missing members stay as they are; a list replaces the whole list of the resource',
    examples: [{ name: 'Orders' }]
  }
)

export const ResourceScopes = Type.Object(
  { scopes: Type.Array(Type.String(), { maxItems: RESOURCE_SCOPES_MAX }) },
  { $id: 'ResourceScopes', description: 'The scopes of a resource', examples: [{ scopes: ['orders:read'] }] }
)

export const ResourceScopesQuery = Type.Object(
  {
    resource: Type.String({
      minLength: 1,
      maxLength: IDENTIFIER_MAX,
      description: 'The URI of the resource: the `aud` of its tokens',
      examples: ['https://orders.example.com']
    })
  },
  { additionalProperties: false }
)

export const ResourceParams = Type.Object({ id: PathId(NAME_PATTERN, '`id` of the resource') })

/** The path of one resource. */
export const RESOURCE_PATH = `/resources/:id(${NAME_PATTERN})`

/** Returns the JSON of a resource. @param issuer the URI of Latchkey's own API */
export const toWire = (resource: Resource, issuer: string): Static<typeof ResourceView> => ({
  id: resource.id,
  resource: resource.identifier ?? issuer,
  name: resource.name,
  scopes: resource.scopes,
  introspection_clients: resource.introspectionClients
})

const scopesFromWire = (scopes: Static<typeof Scopes>): Resource['scopes'] =>
  scopes.map(({ name, description = '' }) => ({ name, description }))

/** Converts the JSON of a new resource. */
export const inputFromWire = (body: Static<typeof ResourceCreation>): Resource & { identifier: string } => ({
  id: body.id,
  identifier: body.resource,
  name: body.name,
  scopes: scopesFromWire(body.scopes ?? []),
  introspectionClients: body.introspection_clients ?? []
})

/** Converts the JSON of the members of a change. */
export const editFromWire = (body: Static<typeof ResourceChanges>): ResourceEdit =>
  defined({
    name: body.name,
    scopes: body.scopes && scopesFromWire(body.scopes),
    introspectionClients: body.introspection_clients
  })
