import { sql } from 'kysely'
import { DomainError } from '../domain/errors.ts'
import { type Millis, type RevocationKind, TOKENS_LIVE_MS } from '../domain/model.ts'
import type { RevocationStore } from '../domain/ports/revocations.ts'
import type { Db } from './columns.ts'
import type { Database } from './transaction.ts'

const ROWS_PER_INSERT = 500

/**
 * Appends entries to the revocation log. Must be the last change of the transaction: it locks the row of the counter until the commit,
 * so that the numbers have no gap and follow the order of commits.
 */
export async function appendRevocations(
  trx: Db,
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
  for (let start = 0; start < rows.length; start += ROWS_PER_INSERT)
    await trx
      .insertInto('revocations')
      .values(rows.slice(start, start + ROWS_PER_INSERT))
      .execute()
  // Latchkey's own endpoints compare the tokens of a client with this number.
  const clients = entries.flatMap(({ kind, id }) => (kind === 'client' ? [id] : []))
  if (clients.length > 0)
    await trx.updateTable('clients').set({ revoked_seq: seq }).where('id', 'in', clients).execute()
}

/** One row for each entry, or one row with null members when there is no entry. */
type PageRow = { last: number; first: number | null } & (
  | { seq: number; kind: RevocationKind; id: string }
  | { seq: null; kind: null; id: null }
)

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
        await sql<PageRow>`select c.seq as last, (select min(seq) from revocations) as first, r.seq, r.kind, r.id
        from counters c left join (
          select seq, kind, id from revocations
          where seq > (select case when seq < cast(${after} as bigint) then 0 else cast(${after} as bigint) end
            from counters where name = 'revocations')
          order by seq limit ${limit}
        ) r on true
        where c.name = 'revocations' order by r.seq`.execute(db)
      const { last, first } = rows[0] as PageRow
      return {
        entries: rows.flatMap(({ seq, kind, id }) => (seq === null ? [] : [{ seq, kind, id }])),
        seq: last,
        oldest: first === null ? last : first - 1
      }
    },

    revokeToken: (caller, { jti, now }) =>
      transaction(async (trx, record) => {
        const entry = await trx
          .selectFrom('revocations')
          .select('seq')
          .where('kind', '=', 'token')
          .where('id', '=', jti)
          .executeTakeFirst()
        if (entry !== undefined) throw new DomainError('conflict', 'The token is revoked already')
        await appendRevocations(trx, [{ kind: 'token', id: jti }], now)
        record({ type: 'token.revoked', caller, subject: { token: jti } })
      })
  }
}
