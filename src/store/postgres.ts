import { type Dialect, PostgresDialect, type PostgresPoolClient } from 'kysely'
import pg from 'pg'

const INT8 = pg.types.builtins.INT8

const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig['getTypeParser']
}

/** An answer of the server has an SQLSTATE and lets the connection live; anything else leaves the connection in doubt. */
const isAnswer = (error: unknown): boolean => error instanceof pg.DatabaseError && error.severity !== 'FATAL'

/**
 * A connection that once got no answer is closed instead of used again: what was sent on it may still be done, and after a
 * `begin` that was done late everything that others send on it would be lost.
 */
function discardedInDoubt(client: pg.PoolClient) {
  let doubt: unknown = null
  return {
    async query(sql: string, parameters: unknown[]) {
      if (doubt !== null) throw doubt
      try {
        return await client.query(sql, parameters)
      } catch (error) {
        if (!isAnswer(error)) doubt = error
        throw error
      }
    },
    release: () => client.release(doubt !== null)
  }
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
  // A connection that breaks tells whoever uses it next; without listeners, for idle ones and for those in use, it ends the process.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return new PostgresDialect({
    pool: {
      options: pool.options,
      connect: async () => discardedInDoubt(await pool.connect()) as unknown as PostgresPoolClient,
      end: () => pool.end()
    }
  })
}
