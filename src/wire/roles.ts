import { type Static, Type } from '@sinclair/typebox'
import { defined } from '../defined.ts'
import type { Role } from '../domain/model.ts'
import type { RoleEdit } from '../domain/roles.ts'
import { IDENTIFIER_MAX, NAME_PATTERN, ROLE_SCOPES_MAX } from '../limits.ts'
import { pageSchema } from './pages.ts'
import { Line, PathId } from './schema.ts'

const EDITOR = { name: 'editor', description: 'May edit articles', scopes: ['profile'] }
const Description = Line({ description: 'The purpose of the role' })
const Scopes = Type.Array(Type.String({ minLength: 1, maxLength: IDENTIFIER_MAX }), {
  maxItems: ROLE_SCOPES_MAX,
  uniqueItems: true,
  description: 'The scopes that users with the role may be granted'
})

export const RoleView = Type.Object(
  { name: Type.String(), description: Type.String(), scopes: Type.Array(Type.String()) },
  { $id: 'Role', description: 'A role', examples: [EDITOR] }
)

export const RolePage = pageSchema(Type.Ref(RoleView), {
  $id: 'RolePage',
  description: 'Roles, by name',
  example: EDITOR
})

export const RoleCreation = Type.Object(
  {
    name: Type.String({ pattern: NAME_PATTERN, description: 'The name of the role. It cannot be changed later' }),
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
    description: 'Missing members stay as they are; `scopes` replaces all scopes of the role',
    examples: [{ scopes: ['profile'] }]
  }
)

export const RoleParams = Type.Object({ name: PathId(NAME_PATTERN, '`name` of the role') })

/** The path of one role. */
export const ROLE_PATH = `/roles/:name(${NAME_PATTERN})`

/** Returns the JSON of a role. */
export const toWire = ({ name, description, scopes }: Role): Static<typeof RoleView> => ({ name, description, scopes })

/** Converts the JSON of a new role. */
export const inputFromWire = ({ name, description = '', scopes = [] }: Static<typeof RoleCreation>): Role => ({
  name,
  description,
  scopes
})

/** Converts the JSON of the members of a change. */
export const editFromWire = ({ description, scopes }: Static<typeof RoleChanges>): RoleEdit =>
  defined({ description, scopes })
