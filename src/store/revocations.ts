import { type Kysely, sql } from 'kysely'
import { type Millis, type RevocationKind, TOKENS_LIVE_MS } from '../domain/model.ts'
import type { Store } from '../domain/ports.ts'
import type { Tables } from './schema.ts'

const ROWS_AT_ONCE = 500

/**
 * Writes entries into the revocation log, as the last statements of the caller's transaction: whoever holds the counter's
 * row keeps all others from it, so numbers are dense and in the order of commits.
 */
export async function log(
  trx: Kysely<Tables>,
  entries: { kind: RevocationKind; id: string }[],
  now: Millis
): Promise<void> {
  if (entries.length === 0) return
  const { seq } = await trx
    .updateTable('counters')
    .set(({ eb }) => ({ seq: eb('seq', '+', entries.length) }))
    .where('name', '=', 'revocations')
    .returning('seq')
    .executeTakeFirstOrThrow()
  const rows = entries.map((entry, index) => ({
    ...entry,
    seq: seq - entries.length + 1 + index,
    expires_at: now + TOKENS_LIVE_MS
  }))
  for (let at = 0; at < rows.length; at += ROWS_AT_ONCE)
    await trx
      .insertInto('revocations')
      .values(rows.slice(at, at + ROWS_AT_ONCE))
      .execute()
  // What a client's tokens are held against at Latchkey's own endpoints.
  const clients = entries.flatMap(({ kind, id }) => (kind === 'client' ? [id] : []))
  if (clients.length > 0)
    await trx.updateTable('clients').set({ revoked_seq: seq }).where('id', 'in', clients).execute()
}

/** One row for each entry, or one without. */
type PageRow = { head: number; first: number | null } & (
  | { seq: number; kind: RevocationKind; id: string }
  | { seq: null; kind: null; id: null }
)

export function revocations(db: Kysely<Tables>): Store['revocations'] {
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
        await sql<PageRow>`select c.seq as head, (select min(seq) from revocations) as first, r.seq, r.kind, r.id
        from counters c left join (
          select seq, kind, id from revocations
          where seq > (select case when seq < cast(${after} as bigint) then 0 else cast(${after} as bigint) end
            from counters where name = 'revocations')
          order by seq limit ${limit}
        ) r on true
        where c.name = 'revocations' order by r.seq`.execute(db)
      const { head, first } = rows[0] as PageRow
      return {
        entries: rows.flatMap(({ seq, kind, id }) => (seq === null ? [] : [{ seq, kind, id }])),
        seq: head,
        oldest: first === null ? head : first - 1
      }
    },

    revokeToken: (jti, now) =>
      db.transaction().execute(async (trx) => {
        const known = await trx
          .selectFrom('revocations')
          .select('seq')
          .where('kind', '=', 'token')
          .where('id', '=', jti)
          .executeTakeFirst()
        if (known === undefined) await log(trx, [{ kind: 'token', id: jti }], now)
      })
  }
}
