import { type Dialect, PostgresDialect, type PostgresPoolClient } from 'kysely'
import pg from 'pg'

const INT8 = pg.types.builtins.INT8

const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig['getTypeParser']
}

/**
 * Returns whether an error is the response of the server to a statement, after which the connection stays open. After any other error
 * the state of the connection is unknown.
 */
const isErrorResponse = (error: unknown): boolean => error instanceof pg.DatabaseError && error.severity !== 'FATAL'

/**
 * Wraps a connection. After a statement without a response the connection is closed in place of being returned to the pool, because
 * the server may still run the statement. If this is a `begin`, for example, the next statements would run in a transaction that
 * nothing commits.
 */
function discardAfterNoResponse(client: pg.PoolClient) {
  let failure: unknown = null
  return {
    async query(sql: string, parameters: unknown[]) {
      if (failure !== null) throw failure
      try {
        return await client.query(sql, parameters)
      } catch (error) {
        if (!isErrorResponse(error)) failure = error
        throw error
      }
    },
    release: () => client.release(failure !== null)
  }
}

/**
 * Opens a pool of connections. Waits at most 1 s for a connection, 2 s for a statement and 2.5 s for a response.
 * @param forMigrations opens one connection without limits for statements, because migrations wait for one another and may take long
 */
export function openPostgres(url: string, { forMigrations = false } = {}): Dialect {
  const pool = new pg.Pool({
    connectionString: url,
    application_name: 'latchkey',
    types,
    ...(forMigrations
      ? { connectionTimeoutMillis: 10_000, max: 1 }
      : { connectionTimeoutMillis: 1000, max: 10, statement_timeout: 2000, query_timeout: 2500 })
  })
  // The next use of a broken connection fails. Without a listener, on the pool and on each client, the error would end the process.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return new PostgresDialect({
    pool: {
      options: pool.options,
      connect: async () => discardAfterNoResponse(await pool.connect()) as unknown as PostgresPoolClient,
      end: () => pool.end()
    }
  })
}
