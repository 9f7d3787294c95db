import { sql } from 'kysely'
import { throttled } from '../domain/errors.ts'
import type { Millis } from '../domain/model.ts'
import type { RevocationQuota } from '../domain/ports/revocations.ts'
import type { Db } from './columns.ts'

/** A stored `until_at` that exceeds the quota by more than this was written by an instance with a wrong clock. It counts as never written. */
const SKEW_MS = 600_000

/**
 * Returns how far `until_at` may be ahead of the current time. Every entry moves `until_at` by one interval: it is the "theoretical arrival
 * time" of a leaky bucket, the instant from which the whole burst is available again.
 */
const room = ({ burst, interval }: RevocationQuota): Millis => (burst - 1) * interval

const refusal = (wait: Millis) => throttled(wait, 'Too many tokens were revoked: try again later')

/** Throws if the quota is used up. Reads only, so a flood of refused calls writes nothing. @throws DomainError throttled */
export async function assertQuota(db: Db, quota: RevocationQuota, now: Millis): Promise<void> {
  const row = await db
    .selectFrom('revocation_quotas')
    .select('until_at')
    .where('writer', '=', quota.writer)
    .executeTakeFirst()
  const wait = (row?.until_at ?? 0) - now - room(quota)
  if (wait > 0 && wait <= SKEW_MS) throw refusal(wait)
}

/** Takes one entry from the quota, in one conditional write. @throws DomainError throttled */
export async function takeQuota(trx: Db, quota: RevocationQuota, now: Millis): Promise<void> {
  const { writer, interval } = quota
  const [latest, wrong] = [now + room(quota), now + room(quota) + SKEW_MS]
  const { numInsertedOrUpdatedRows } = await trx
    .insertInto('revocation_quotas')
    .values({ writer, until_at: now + interval })
    .onConflict((conflict) =>
      conflict
        .column('writer')
        .doUpdateSet({
          until_at: sql<number>`case when revocation_quotas.until_at > ${now} and revocation_quotas.until_at <= ${wrong}
            then revocation_quotas.until_at else cast(${now} as bigint) end + ${interval}`
        })
        .where((eb) =>
          eb.or([eb('revocation_quotas.until_at', '<=', latest), eb('revocation_quotas.until_at', '>', wrong)])
        )
    )
    .executeTakeFirstOrThrow()
  if (numInsertedOrUpdatedRows !== 1n) throw refusal(interval)
}
