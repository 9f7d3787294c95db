import type { Millis } from '../domain/model.ts'
import type { SessionFilter } from '../domain/ports/sessions.ts'
import { SESSION_ENTRIES_MAX, SESSIONS_MAX } from '../limits.ts'
import { type Db, needsRowLocks, words } from './columns.ts'
import { addLogoutNotices } from './logout-notices.ts'
import { type NewRevocation, resourcesOf } from './revocations.ts'
import type { Tables } from './schema.ts'

/**
 * The time for which an expired session is kept. An instance whose clock is behind may still accept the session, so the session can be
 * ended within this time.
 */
export const GRACE_MS = 60_000

/** The columns of an ended session. They make the session expire, so the removal of expired sessions also removes ended sessions. */
export const endedAt = (now: Millis) => ({ ended_at: now, idle_expires_at: now })

/** The row of an ended session with the members that its entry in the revocation log needs. */
export type EndedRow = Pick<Tables['sessions'], 'id' | 'user_id' | 'client_id' | 'scopes'>

/** Selects and locks sessions in the order of their ids, so that two transactions that end sessions cannot deadlock. */
export const selectForEnd = (trx: Db, now: Millis) =>
  trx
    .selectFrom('sessions')
    .select('id')
    .where('ended_at', 'is', null)
    .where('idle_expires_at', '>', now - GRACE_MS)
    .orderBy('id')
    .$if(needsRowLocks(trx), (query) => query.forUpdate())

type SelectedForEnd = ReturnType<typeof selectForEnd>

/**
 * Ends all matching sessions of a user and returns them. The caller must append an entry that revokes their tokens to the revocation log.
 * @param informed the id of a client that gets no notice, because it ends the session itself
 */
export function endSessions(
  trx: Db,
  { id, userId, clientId, except, now, informed }: SessionFilter & { now: Millis; informed?: string | null }
): Promise<EndedRow[]> {
  const matching = selectForEnd(trx, now)
    .$if(id !== undefined, (query) => query.where('id', '=', id as string))
    .$if(userId !== undefined, (query) => query.where('user_id', '=', userId as string))
    .$if(clientId !== undefined, (query) => query.where('client_id', '=', clientId as string))
    .$if(typeof except === 'string', (query) => query.where('id', '!=', except as string))
  return endAndNotify(trx, matching, { now, informed: informed ?? null })
}

/**
 * Ends all sessions at a client, because the client was changed or deleted. The client gets no notices: there can be any number of sessions, and
 * the operator of the client has caused their end. The caller must append an entry to the revocation log.
 */
export async function endSessionsOfClient(trx: Db, clientId: string, now: Millis): Promise<void> {
  await endRows(trx, selectForEnd(trx, now).where('client_id', '=', clientId), now)
}

/**
 * Ends the active sessions that the logins of browsers have opened at first-party clients, and returns them. The other clients of the logins
 * keep their sessions, and get notices too.
 */
export async function endSessionsOfLogins(
  trx: Db,
  { loginIds, now }: { loginIds: string[]; now: Millis }
): Promise<EndedRow[]> {
  const matching = selectForEnd(trx, now)
    .where('login_id', 'in', loginIds)
    .where('client_id', 'in', trx.selectFrom('clients').select('clients.id').where('first_party', '=', 1))
  const ended = await endAndNotify(trx, matching, { now, informed: null })
  await addLogoutNotices(trx, { loginIds, now })
  return ended
}

/**
 * Ends sessions, and adds the notices of their end. Every end of a user's sessions comes here, so that no client misses it. The newest
 * `SESSIONS_MAX` sessions get notices: a user has no more.
 */
export async function endAndNotify(
  trx: Db,
  matching: SelectedForEnd,
  { now, informed }: { now: Millis; informed: string | null }
): Promise<EndedRow[]> {
  const ended = await endRows(trx, matching, now)
  const ids = ended.filter((row) => row.client_id !== informed).map((row) => row.id)
  const sessionIds = ids.toSorted().slice(-SESSIONS_MAX)
  if (sessionIds.length > 0) await addLogoutNotices(trx, { sessionIds, now })
  return ended
}

const endRows = (trx: Db, matching: SelectedForEnd, now: Millis) =>
  trx
    .with('matching', () => matching)
    .updateTable('sessions')
    .from('matching')
    .set(endedAt(now))
    .whereRef('sessions.id', '=', 'matching.id')
    .returning(['sessions.id', 'sessions.user_id', 'sessions.client_id', 'sessions.scopes'])
    .execute()

/**
 * Returns the entries that revoke the tokens of ended sessions: one for each session, or one for the user of many sessions. An entry
 * for the user also revokes the access tokens of sessions that continue, which must then be renewed.
 */
export async function entriesOf(trx: Db, rows: EndedRow[]): Promise<NewRevocation[]> {
  const byUser = Map.groupBy(rows, ({ user_id }) => user_id)
  const few = [...byUser.values()].filter((ofUser) => ofUser.length <= SESSION_ENTRIES_MAX).flat()
  const many = [...byUser].filter(([, ofUser]) => ofUser.length > SESSION_ENTRIES_MAX)
  const resources = await resourcesOf(trx, [...new Set(few.flatMap(({ scopes }) => words(scopes)))])
  return [
    ...few
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, user_id, scopes }) => ({
        kind: 'session' as const,
        id,
        userId: user_id,
        sid: id,
        resources: [...new Set(words(scopes).flatMap((scope) => resources.get(scope) ?? []))]
      })),
    ...many.map(([id]) => ({ kind: 'user' as const, id, userId: id }))
  ]
}
