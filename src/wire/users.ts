import { type Static, Type } from '@sinclair/typebox'
import { defined } from '../defined.ts'
import type { User } from '../domain/model.ts'
import type { UserFilter } from '../domain/ports/users.ts'
import type { UserEdit as Edit, UserInput } from '../domain/users.ts'
import {
  EMAIL_MAX,
  EMAIL_PATTERN,
  LINE_MAX,
  LINE_PATTERN,
  NAME_MAX,
  PASSWORD_BYTES_MAX,
  ROLES_MAX,
  USERNAME_MAX,
  UUID_PATTERN
} from '../limits.ts'
import { Cursor, PageQuery, pageSchema } from './pages.ts'
import { Instant, iso, OrNull, PathId } from './schema.ts'

/** The roles of a new user when the request names none. */
const DEFAULT_ROLES = ['user']

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
    email: OrNull(Type.String()),
    full_name: OrNull(Type.String()),
    disabled: Type.Boolean({ description: 'A disabled user cannot log in' }),
    roles: Type.Array(Type.String()),
    created_at: Instant(),
    updated_at: Instant()
  },
  { $id: 'User', description: 'A user', examples: [ALICE] }
)

export const OwnUserView = Type.Object(
  {
    ...UserView.properties,
    email: Type.Optional(OrNull(Type.String(), 'Only for a token with the scope `email`')),
    roles: Type.Array(Type.String(), { description: 'The roles that the token carries' })
  },
  { $id: 'OwnUser', description: 'The user of a token', examples: [ALICE] }
)

export const UserPage = pageSchema(Type.Ref(UserView), {
  $id: 'UserPage',
  description: 'Users, oldest first',
  example: ALICE
})

const Username = Type.String({
  minLength: 1,
  maxLength: USERNAME_MAX,
  description:
    'The name for logins: 1 to 64 letters, digits and punctuation characters; upper and lower case are equal (RFC 8265). Spaces around it are removed'
})
const Email = OrNull(Type.String({ maxLength: EMAIL_MAX, pattern: EMAIL_PATTERN }), 'null for none')
const FullName = OrNull(Type.String({ minLength: 1, maxLength: LINE_MAX, pattern: LINE_PATTERN }), 'null for none')
const NewPassword = Type.String({
  maxLength: PASSWORD_BYTES_MAX,
  description:
    'At least LATCHKEY_PASSWORD_MIN_LENGTH characters (default 15). Common passwords and the name and e-mail address of the user are refused'
})
const RoleName = Type.String({ minLength: 1, maxLength: NAME_MAX })
const Roles = Type.Array(RoleName, { maxItems: ROLES_MAX, uniqueItems: true, description: 'Names of roles' })

export const UserChanges = Type.Object(
  { email: Type.Optional(Email), full_name: Type.Optional(FullName) },
  {
    $id: 'UserChanges',
    additionalProperties: false,
    description: 'Missing members stay as they are',
    examples: [{ full_name: 'Alice Liddell' }]
  }
)

export const UserEdit = Type.Object(
  {
    ...UserChanges.properties,
    username: Type.Optional(Username),
    disabled: Type.Optional(Type.Boolean({ description: 'true ends all sessions of the user and refuses logins' })),
    roles: Type.Optional(Roles)
  },
  {
    $id: 'UserEdit',
    additionalProperties: false,
    description: 'Missing members stay as they are; `roles` replaces all roles of the user',
    examples: [{ disabled: true }]
  }
)

export const UserCreation = Type.Object(
  {
    username: Username,
    password: NewPassword,
    email: Type.Optional(Email),
    full_name: Type.Optional(FullName),
    roles: Type.Optional({ ...Roles, default: DEFAULT_ROLES } as typeof Roles)
  },
  {
    $id: 'UserCreation',
    additionalProperties: false,
    description: 'A new user',
    examples: [{ username: 'alice', password: 'a long pass phrase', roles: ['user'] }]
  }
)

export const PasswordChange = Type.Object(
  { current_password: Type.String({ description: 'The current password' }), new_password: NewPassword },
  {
    $id: 'PasswordChange',
    additionalProperties: false,
    description: 'A new password, with the current password as proof',
    examples: [{ current_password: 'a long pass phrase', new_password: 'another long pass phrase' }]
  }
)

export const UserQuery = Type.Object(
  {
    ...PageQuery.properties,
    cursor: Cursor(UUID_PATTERN),
    search: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: EMAIL_MAX,
        description: 'The beginning of a username or an e-mail address'
      })
    ),
    role: Type.Optional({ ...RoleName, description: 'Only users with this role' } as typeof RoleName),
    disabled: Type.Optional(
      Type.Union([Type.Literal('true'), Type.Literal('false')], {
        description: 'Only users who are disabled, or only users who are not'
      })
    )
  },
  { additionalProperties: false }
)

export const UserParams = Type.Object({ id: PathId(UUID_PATTERN, '`id` of the user') })

/** The route path of one user. */
export const USER_PATH = `/users/:id(${UUID_PATTERN})`

/** Returns the JSON of a user. */
export const toWire = (user: User): Static<typeof UserView> => ({
  id: user.id,
  username: user.username,
  email: user.email,
  full_name: user.fullName,
  disabled: user.disabledAt !== null,
  roles: user.roles,
  created_at: iso(user.createdAt),
  updated_at: iso(user.updatedAt)
})

/** Returns the JSON of the user of a token: what its scopes show (OpenID Connect Core 1.0 §5.4). */
export function ownToWire(
  user: User,
  { scopes, roles }: { scopes: string[]; roles: string[] }
): Static<typeof OwnUserView> {
  const { email, ...shown } = { ...toWire(user), roles }
  return scopes.includes('email') ? { ...shown, email } : shown
}

/** Converts the JSON of the members of a change. */
export const editFromWire = ({ full_name: fullName, username, ...rest }: Static<typeof UserEdit>): Edit => ({
  ...rest,
  ...defined({ username: username?.trim(), fullName })
})

/** Converts the JSON of a new user. */
export const inputFromWire = ({
  full_name: fullName,
  username,
  roles = DEFAULT_ROLES,
  ...rest
}: Static<typeof UserCreation>): UserInput => ({
  ...rest,
  username: username.trim(),
  roles,
  ...defined({ fullName })
})

/** Converts the JSON of a change of a password. */
export const passwordChangeFromWire = (body: Static<typeof PasswordChange>) => ({
  current: body.current_password,
  next: body.new_password
})

/** Converts the query of a list. */
export const filterFromWire = ({ search, role, disabled }: Static<typeof UserQuery>): UserFilter =>
  defined({ search, role, disabled: disabled === undefined ? undefined : disabled === 'true' })
