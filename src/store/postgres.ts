import { type Dialect, PostgresDialect, type PostgresPoolClient } from 'kysely'
import pg from 'pg'

const INT8 = pg.types.builtins.INT8

const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig['getTypeParser']
}

/**
 * Returns whether the server answered with an error and keeps the connection open. After any other error its state is
 * unknown.
 */
const isAnswer = (error: unknown): boolean => error instanceof pg.DatabaseError && error.severity !== 'FATAL'

/**
 * Closes a connection after a statement without an answer, in place of returning it to the pool: the server may still
 * run that statement. After a late `begin`, for example, later statements on the connection would never be committed.
 */
function discardInDoubt(client: pg.PoolClient) {
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
 * Opens a pool of connections. Waits at most 1 s for a connection, 2 s for a statement and 2.5 s for an answer.
 * @param patient for migrations, which wait for one another and may take long: one connection without these limits
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
  // The next use of a broken connection fails. Without listeners on the pool and on each client the process would exit.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return new PostgresDialect({
    pool: {
      options: pool.options,
      connect: async () => discardInDoubt(await pool.connect()) as unknown as PostgresPoolClient,
      end: () => pool.end()
    }
  })
}
