import { type Static, Type } from '@sinclair/typebox'
import type { Session } from '../domain/model.ts'
import { UUID_PATTERN } from '../limits.ts'
import { pageSchema } from './pages.ts'
import { Instant, iso, OrNull, PathId } from './schema.ts'
import { UserParams } from './users.ts'

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
    id: Type.String({ format: 'uuid', description: 'The `sid` of the tokens of the session' }),
    client_id: Type.String({ description: 'The client that the user logged in at' }),
    scope: Type.String({ description: 'The granted scopes, separated by spaces' }),
    amr: Type.Array(Type.String(), { description: 'How the user was authenticated (RFC 8176)' }),
    address: OrNull(Type.String(), 'IP address of the login'),
    user_agent: OrNull(Type.String(), 'User-Agent header of the login'),
    current: Type.Boolean({ description: 'Whether this request belongs to the session' }),
    authenticated_at: Instant(),
    created_at: Instant(),
    last_used_at: Instant('When the session was last renewed'),
    expires_at: Instant('When the session ends unless it is renewed')
  },
  { $id: 'Session', description: 'One login of a user at one client', examples: [SESSION] }
)

export const SessionPage = pageSchema(Type.Ref(SessionView), {
  $id: 'SessionPage',
  description: 'Sessions, oldest first',
  example: SESSION
})

export const SessionsQuery = Type.Object(
  { except: Type.Optional(Type.Literal('current', { description: 'Keeps the session of this request' })) },
  { additionalProperties: false }
)

const session = PathId(UUID_PATTERN, '`id` of the session')
export const OwnSessionParams = Type.Object({ session })
export const SessionParams = Type.Object({ ...UserParams.properties, session })

/** The path of one session, below the sessions of its user. */
export const SESSION_PATH = `/:session(${UUID_PATTERN})`

/** Returns the JSON of a session. @param current the id of the session of the caller, or null */
export const toWire = (session: Session, current: string | null): Static<typeof SessionView> => ({
  id: session.id,
  client_id: session.clientId,
  scope: session.scopes.join(' '),
  amr: session.amr,
  address: session.address,
  user_agent: session.userAgent,
  current: session.id === current,
  authenticated_at: iso(session.authAt),
  created_at: iso(session.createdAt),
  last_used_at: iso(session.lastUsedAt),
  expires_at: iso(session.idleExpiresAt)
})
