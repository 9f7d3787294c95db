import { type Static, Type } from '@sinclair/typebox'
import { defined } from '../defined.ts'
import type { User } from '../domain/model.ts'
import { seconds } from './schema.ts'

/** The claims of each scope (OpenID Connect Core 1.0 §5.4). */
const CLAIMS = { profile: ['name', 'preferred_username', 'updated_at'], email: ['email', 'email_verified'] }

/** The claims that `/userinfo` can hold. */
export const USER_CLAIMS = ['sub', ...CLAIMS.profile, ...CLAIMS.email]

export const UserInfo = Type.Object(
  {
    sub: Type.String({ description: 'The id of the user, as in the ID token' }),
    name: Type.Optional(Type.String({ description: 'The full name; with the scope `profile`' })),
    preferred_username: Type.Optional(Type.String({ description: 'With the scope `profile`' })),
    updated_at: Type.Optional(
      Type.Integer({ description: 'Seconds since the epoch of the last change; with the scope `profile`' })
    ),
    email: Type.Optional(Type.String({ description: 'With the scope `email`' })),
    email_verified: Type.Optional(
      Type.Boolean({ description: 'Always false: nobody has proved that the address belongs to the user' })
    )
  },
  {
    $id: 'UserInfo',
    description: 'Claims about the user, OpenID Connect Core 1.0 §5.3.2. A claim without a value is missing',
    examples: [
      {
        sub: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10',
        name: 'Alice Liddell',
        preferred_username: 'alice',
        updated_at: 1_795_424_400,
        email: 'alice@example.com',
        email_verified: false
      }
    ]
  }
)

export const UserInfoForm = Type.Object(
  { access_token: Type.Optional(Type.String({ description: 'Instead of the header `Authorization`' })) },
  { $id: 'UserInfoForm', description: 'RFC 6750 §2.2', examples: [{}] }
)

/** Returns the JSON of the claims that the scopes of a token allow. */
export function toWire(user: User, scopes: string[]): Static<typeof UserInfo> {
  const has = (scope: keyof typeof CLAIMS) => scopes.includes(scope)
  return {
    sub: user.id,
    ...(has('profile') &&
      defined({
        name: user.fullName ?? undefined,
        preferred_username: user.username,
        updated_at: seconds(user.updatedAt)
      })),
    ...(has('email') && user.email !== null && { email: user.email, email_verified: false })
  }
}
