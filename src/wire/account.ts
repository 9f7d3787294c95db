import { type Static, Type } from '@sinclair/typebox'
import type { DescribedConsent } from '../domain/consents.ts'
import type { User } from '../domain/model.ts'
import type { Places } from '../domain/places.ts'
import type { Login } from '../domain/ports/logins.ts'
import { CURSOR_PATTERN, UUID_PATTERN } from '../limits.ts'

/** The token of a form of a page. Its guard has checked it. */
const token = { form_token: Type.String() }
const text = Type.Optional(Type.String())
const uuid = Type.Optional(Type.String({ pattern: UUID_PATTERN }))

export const ProfileForm = Type.Object({ ...token, full_name: text, email: text })
export const PasswordForm = Type.Object({ ...token, current_password: text, new_password: text })
/** Ends a login or a session. */
export const EndForm = Type.Object({ ...token, login: uuid, session: uuid })
export const RemoveForm = Type.Object({ ...token, client_id: Type.String() })

/** `saved` says that the last change was stored, and `cursor` where the list begins. */
export const AccountQuery = Type.Object({
  saved: Type.Optional(Type.String()),
  cursor: Type.Optional(Type.String({ pattern: CURSOR_PATTERN }))
})

/** Returns the texts of the fields of a profile. */
export const valuesOf = ({ fullName, email }: Pick<User, 'fullName' | 'email'>) => ({
  fullName: fullName ?? '',
  email: email ?? ''
})

/** Returns the texts of the fields as they were sent. An empty field is missing in the form. */
export const valuesFromWire = ({ full_name, email }: Static<typeof ProfileForm>) => ({
  fullName: full_name ?? '',
  email: email ?? ''
})

/** Reads the changes of a profile. An empty field removes its value. */
export const profileFromWire = ({ full_name, email }: Static<typeof ProfileForm>) => ({
  fullName: full_name?.trim() || null,
  email: email?.trim() || null
})

export const passwordsFromWire = ({ current_password, new_password }: Static<typeof PasswordForm>) => ({
  current: current_password ?? '',
  next: new_password ?? ''
})

/** Returns what the page shows of the places where a user is signed in. */
export const placesToPage = ({ logins, sessions }: Places, current: Login) => ({
  browsers: logins.map(({ id, userAgent, address, authAt, lastUsedAt }) => ({
    id,
    userAgent,
    address,
    signedInAt: authAt,
    lastUsedAt,
    isCurrent: id === current.id
  })),
  apps: sessions.map(({ id, client, userAgent, address, createdAt, lastUsedAt }) => ({
    id,
    client,
    userAgent,
    address,
    signedInAt: createdAt,
    lastUsedAt
  }))
})

/** Returns what the page shows of consents. */
export const consentsToPage = (consents: DescribedConsent[]) =>
  consents.map(({ client, scopes, updatedAt }) => ({ client, scopes, allowedAt: updatedAt }))
