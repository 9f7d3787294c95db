import { sql } from 'kysely'
import { DomainError } from '../domain/errors.ts'
import { type Millis, type RevocationKind, TOKENS_LIVE_MS } from '../domain/model.ts'
import type { RevocationStore, RevokedToken } from '../domain/ports/revocations.ts'
import { SESSION_TOKEN_ENTRIES_MAX } from '../limits.ts'
import { type Db, needsRowLocks, words } from './columns.ts'
import { assertQuota, takeQuota } from './revocation-quotas.ts'
import type { Database } from './transaction.ts'

const ROWS_PER_INSERT = 500

/** The number of the last entry of the log. */
export const LAST_REVOCATION = sql<number>`(select seq from counters where name = 'revocations')`

/** An entry without its number. */
export interface NewRevocation {
  kind: RevocationKind
  id: string
  /** The user and the session that the entry is about, so that a later entry can replace it. */
  userId?: string | null
  sid?: string | null
  /** The ids of the resources whose tokens the entry can revoke. By default all. */
  resources?: string[] | null
  /** Default: when every token has expired that was issued until now. */
  expiresAt?: Millis
}

/** Entries of these kinds revoke all tokens issued before, so the newest entry of an id stands for the earlier ones. */
const NUMBERED: RevocationKind[] = ['session_tokens', 'user', 'client', 'role', 'all']

/** Removes the entries that the new entries stand for, so that each session, user, client and role has few entries at any time. */
async function removeReplaced(trx: Db, entries: NewRevocation[]): Promise<void> {
  for (const kind of NUMBERED) {
    const ids = entries.filter((entry) => entry.kind === kind).map(({ id }) => id)
    if (ids.length > 0) await trx.deleteFrom('revocations').where('kind', '=', kind).where('id', 'in', ids).execute()
  }
  const idsOf = (kind: RevocationKind) => entries.filter((entry) => entry.kind === kind).map(({ id }) => id)
  const [ended, collapsed, users] = [idsOf('session'), idsOf('session_tokens'), idsOf('user')]
  if (ended.length + collapsed.length > 0)
    await trx
      .deleteFrom('revocations')
      .where('kind', 'in', ['token', 'session_tokens'])
      .where('session_id', 'in', [...ended, ...collapsed])
      .execute()
  // Entries of single tokens stay: Latchkey's own endpoints compare a token with them and not with the entry of its user.
  if (users.length > 0)
    await trx.deleteFrom('revocations').where('kind', '=', 'session').where('user_id', 'in', users).execute()
}

/**
 * Appends entries to the revocation log, and removes the entries that they replace. Must be the last change of the transaction: it
 * locks the row of the counter until the commit, so that the numbers have no gap and follow the order of commits.
 */
export async function appendRevocations(trx: Db, entries: NewRevocation[], now: Millis): Promise<void> {
  if (entries.length === 0) return
  await removeReplaced(trx, entries)
  const { seq } = await trx
    .updateTable('counters')
    .set(({ eb }) => ({ seq: eb('seq', '+', entries.length) }))
    .where('name', '=', 'revocations')
    .returning('seq')
    .executeTakeFirstOrThrow()
  const rows = entries.map((entry, index) => ({
    kind: entry.kind,
    id: entry.id,
    seq: seq - entries.length + 1 + index,
    expires_at: entry.expiresAt ?? now + TOKENS_LIVE_MS,
    user_id: entry.userId ?? null,
    session_id: entry.sid ?? null,
    resources: entry.resources?.join(' ') ?? null
  }))
  for (let start = 0; start < rows.length; start += ROWS_PER_INSERT)
    await trx
      .insertInto('revocations')
      .values(rows.slice(start, start + ROWS_PER_INSERT))
      .execute()
  // Latchkey's own endpoints compare the tokens of a client or a session with this number.
  const idsOf = (kind: RevocationKind) => entries.filter((entry) => entry.kind === kind).map(({ id }) => id)
  const [clients, sessions] = [idsOf('client'), idsOf('session_tokens')]
  if (clients.length > 0)
    await trx.updateTable('clients').set({ revoked_seq: seq }).where('id', 'in', clients).execute()
  if (sessions.length > 0)
    await trx.updateTable('sessions').set({ revoked_seq: seq }).where('id', 'in', sessions).execute()
}

/** Returns the ids of the resources that the scopes belong to. */
export async function resourcesOf(trx: Db, scopes: string[]): Promise<Map<string, string>> {
  if (scopes.length === 0) return new Map()
  const rows = await trx.selectFrom('scopes').select(['name', 'resource_id']).where('name', 'in', scopes).execute()
  return new Map(rows.map(({ name, resource_id }) => [name, resource_id]))
}

/** One row for each entry, or one row with null members when there is no entry. */
type PageRow = { last: number; first: number | null } & (
  | { seq: number; kind: RevocationKind; id: string; expires_at: number; resources: string | null }
  | { seq: null }
)

/** Returns the entry that revokes a token: its own, or one for all tokens of its session if the session has many entries already. */
async function entryFor(trx: Db, { jti, userId, sid, aud, expiresAt }: RevokedToken): Promise<NewRevocation> {
  const owner = { userId, sid }
  // Only Latchkey's own resource has no identifier: the `aud` of its tokens is the issuer.
  const resource = await trx
    .selectFrom('resources')
    .select('id')
    .where((eb) => eb.or([eb('identifier', '=', aud), eb('identifier', 'is', null)]))
    .orderBy(sql`identifier is null`)
    .limit(1)
    .executeTakeFirstOrThrow()
  const resources = [resource.id]
  const ofSession =
    sid === null
      ? []
      : await trx.selectFrom('revocations').select(['kind', 'resources']).where('session_id', '=', sid).execute()
  if (ofSession.filter(({ kind }) => kind === 'token').length < SESSION_TOKEN_ENTRIES_MAX)
    return { kind: 'token', id: jti, ...owner, resources, expiresAt }
  const all = new Set([...resources, ...ofSession.flatMap((entry) => words(entry.resources))])
  return { kind: 'session_tokens', id: sid as string, ...owner, resources: [...all] }
}

export function revocations({ db, transaction }: Database): RevocationStore {
  return {
    async seq() {
      const { seq } = await db
        .selectFrom('counters')
        .select('seq')
        .where('name', '=', 'revocations')
        .executeTakeFirstOrThrow()
      return seq
    },

    async since(after, limit) {
      const { rows } =
        await sql<PageRow>`select c.seq as last, (select min(seq) from revocations) as first, r.seq, r.kind, r.id,
          r.expires_at, r.resources
        from counters c left join (
          select seq, kind, id, expires_at, resources from revocations
          where seq > (select case when seq < cast(${after} as bigint) then 0 else cast(${after} as bigint) end
            from counters where name = 'revocations')
          order by seq limit ${limit}
        ) r on true
        where c.name = 'revocations' order by r.seq`.execute(db)
      const { last, first } = rows[0] as PageRow
      const entries = rows.flatMap((row) =>
        row.seq === null
          ? []
          : [
              {
                seq: row.seq,
                kind: row.kind,
                id: row.id,
                expiresAt: row.expires_at,
                resources: row.resources === null ? null : words(row.resources)
              }
            ]
      )
      return {
        entries,
        next: entries.length < limit ? last : (entries.at(-1)?.seq ?? last),
        seq: last,
        oldest: first === null ? last : first - 1
      }
    },

    async revokeToken(caller, token) {
      const { jti, sid, quota, now } = token
      if (quota !== null) await assertQuota(db, quota, now)
      await transaction(async (trx, record) => {
        // Locks the session, so that calls for its tokens run one after the other.
        const session =
          sid === null
            ? undefined
            : await trx
                .selectFrom('sessions')
                .select('ended_at')
                .where('id', '=', sid)
                .$if(needsRowLocks(trx), (query) => query.forNoKeyUpdate())
                .executeTakeFirst()
        const entry = await trx
          .selectFrom('revocations')
          .select('seq')
          .where('kind', '=', 'token')
          .where('id', '=', jti)
          .executeTakeFirst()
        if (entry !== undefined || (session?.ended_at ?? null) !== null)
          throw new DomainError('conflict', 'The token is revoked already')
        if (quota !== null) await takeQuota(trx, quota, now)
        await appendRevocations(trx, [await entryFor(trx, token)], now)
        record({ type: 'token.revoked', caller, subject: { token: jti } })
      })
    }
  }
}
