import { type Dialect, PostgresDialect } from 'kysely'
import pg from 'pg'

const INT8 = pg.types.builtins.INT8

const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig['getTypeParser']
}

/**
 * @param patient for migrations, which may wait for one another and take long; everything else must fail in time: one
 *   second to get a connection, two for a statement, two and a half for an answer
 */
export function openPostgres(url: string, { patient = false } = {}): Dialect {
  const pool = new pg.Pool({
    connectionString: url,
    application_name: 'latchkey',
    types,
    connectionTimeoutMillis: patient ? 10_000 : 1000,
    max: patient ? 1 : 10,
    ...(patient ? {} : { statement_timeout: 2000, query_timeout: 2500 })
  })
  // An idle connection that breaks is replaced at the next query, which then tells the caller; without a listener it ends the process.
  pool.on('error', () => {})
  return new PostgresDialect({ pool })
}
