import { type Kysely, PostgresAdapter } from 'kysely'
import type { Tables } from './schema.ts'

/** A connection pool or a transaction. */
export type Db = Kysely<Tables>

/** Returns the names in a column that joins them by a space; none for null. */
export const words = (text: string | null): string[] => (text === null || text === '' ? [] : text.split(' '))

/**
 * Returns whether a query must say that it locks the rows it reads. SQLite has no such clause and does not need one:
 * its transactions run one after the other.
 */
export const needsRowLocks = (db: Db): boolean => db.getExecutor().adapter instanceof PostgresAdapter
