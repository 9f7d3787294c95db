import { type Kysely, PostgresAdapter } from 'kysely'
import type { Tables } from './schema.ts'

/** A connection pool or a transaction. */
export type Db = Kysely<Tables>

/** Splits a column of names that are separated by spaces. Returns an empty list for null. */
export const words = (text: string | null): string[] => (text === null || text === '' ? [] : text.split(' '))

/**
 * Returns whether a query needs a clause that locks the rows it reads. SQLite has no such clause and needs none, because its
 * transactions run one after the other.
 */
export const needsRowLocks = (db: Db): boolean => db.getExecutor().adapter instanceof PostgresAdapter
