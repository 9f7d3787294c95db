import type { Caller } from './caller.ts'

/** Every type of event, with its meaning. The list is closed: an event of another type does not compile. */
export const EVENT_TYPES = {
  'login.succeeded': 'A user proved who they are, and a session or a login in a browser was opened',
  'login.failed': 'A user could not prove who they are, or may not log in',
  'login.throttled': 'A login was refused because of earlier failures',
  'login.ended': 'A login in a browser was ended',
  'logout.undelivered': 'A client did not accept a logout token; it is sent again later',
  'authorization.allowed': 'A client got a code for a user',
  'authorization.denied': 'A user refused the request of a client',
  'code.replayed': 'A code was used twice, and its session was ended',
  'code.refused': 'A code was used with a wrong verifier, redirect URI or client, and is invalid now',
  'consent.removed': 'A user removed what they had allowed a client',
  'session.opened': 'A client exchanged a code, and a session was opened',
  'session.replayed': 'A refresh token was used twice, and its session was ended',
  'session.ended': 'Sessions were ended',
  'token.revoked': 'An access token was revoked',
  'client.authentication_failed': 'A client failed to authenticate',
  'user.created': 'A user was added',
  'user.changed': 'A user was changed, disabled or enabled, or got other roles',
  'user.deleted': 'A user was deleted',
  'password.changed': 'A user changed their own password',
  'password.change_failed': 'A user gave a wrong current password',
  'password.reset': 'The password of a user was set by somebody else',
  'identity.linked': 'A user got an identity at a provider, by which they can sign in',
  'identity.unlinked': 'An identity at a provider was taken from a user',
  'role.created': 'A role was added',
  'role.changed': 'A role was changed',
  'role.deleted': 'A role was deleted',
  'client.created': 'A client was registered',
  'client.changed': 'A client was changed, disabled or enabled',
  'client.deleted': 'A client was deleted',
  'client.without_pkce': 'A client that needs no PKCE was registered, changed or used',
  'client.secret_added': 'A secret was added to a client',
  'client.secret_deleted': 'A secret of a client was deleted',
  'resource.created': 'A resource was registered',
  'resource.changed': 'A resource was changed',
  'resource.deleted': 'A resource was deleted',
  'key.created': 'The first keys of an algorithm were created',
  'key.rotated': 'The next key began to sign',
  'key.retired': 'A key was taken out of use',
  'keys.resealed': 'All values were sealed again with the current sealing key',
  'everything.revoked': 'All sessions, tokens and keys were revoked',
  'setup.completed': 'The database was set up'
} as const

export type EventType = keyof typeof EVENT_TYPES

/** Events that are warnings although they succeed. */
export const WARNINGS: readonly EventType[] = ['client.without_pkce']

/** The objects of an event: ids and public names, never a secret. */
export interface Subject {
  user?: string
  /** The name of an account. Left out when no account has this name, because users sometimes type a password into this field. */
  username?: string
  client?: string
  session?: string
  /** A login in a browser. */
  login?: string
  role?: string
  resource?: string
  key?: string
  provider?: string
  secret?: string
  token?: string
}

/** One decision: its type, who caused it, which objects it concerns and its outcome. */
export interface Event {
  type: EventType
  caller: Caller
  subject: Subject
  outcome: 'success' | 'failure'
  /** Why the decision was a failure, or what was changed; for operators only. */
  reason?: string
}

/** The destination of all events. Today this is the log. */
export interface Events {
  /** Writes one event. The store calls this method after the commit, so a rollback writes no event. Never throws. */
  record(event: Event): void
}
