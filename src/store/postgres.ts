import { hash } from 'node:crypto'
import { type Dialect, PostgresAdapter, PostgresDialect, type PostgresPoolClient } from 'kysely'
import pg from 'pg'
import { untilDeadline } from '../deadline.ts'
import { SetupError } from '../domain/errors.ts'
import { POSTGRES_CONNECT_MS, POSTGRES_RESPONSE_MS, POSTGRES_STATEMENT_MS, REQUEST_MS } from '../limits.ts'
import { createQueue } from '../queue.ts'
import { closeAtErrors, openConnection } from './postgres-connection.ts'
import { connectionFailure, isStalePlan } from './postgres-failures.ts'
import { createReads } from './postgres-reads.ts'
import type { Statements } from './statements.ts'

const INT8 = pg.types.builtins.INT8

const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) as pg.CustomTypesConfig['getTypeParser']
}

const CONNECTIONS = 10
/** Connections that writes leave free, so that a token can be checked while all writes wait for a lock. */
const FOR_READS = 2
/** The isolation that the transactions of the store are written for. A database or a role can have another default. */
const ISOLATION = '; set transaction isolation level read committed'
/**
 * Limits that the server keeps for a transaction, also when its client has gone. They are set inside the transaction, because PgBouncer
 * refuses them as startup parameters, and a setting of a session would reach other clients of PgBouncer.
 */
const TRANSACTION_LIMITS = `; set local statement_timeout = ${POSTGRES_STATEMENT_MS}; set local idle_in_transaction_session_timeout = ${REQUEST_MS}`
/** Maximum number of statements that the server keeps parsed and planned for each connection. */
const MAX_NAMES = 300
/**
 * SQLSTATEs of a pooler that does not keep prepared statements for its clients: the statement is unknown, or known already. PgBouncer
 * before 1.21, and later with `max_prepared_statements = 0`.
 */
const NOT_KEPT = ['26000', '42P05']
/** Milliseconds for which a new connection is used even if its server does not take writes, so that there is no flood of new connections. */
const MIN_AGE_MS = 100

/**
 * Replaces the modes `prefer`, `require` and `verify-ca` by `verify-full`, unless the URL asks for the rules of libpq. In this version of
 * pg all four do the same: they verify the certificate and its host name. pg prints a warning for the three, because their meaning will
 * change.
 */
const verified = (url: string): string =>
  /[?&]uselibpqcompat=true(&|$)/.test(url)
    ? url
    : url.replace(/([?&]sslmode=)(prefer|require|verify-ca)(?=&|$)/, '$1verify-full')

/** Takes no lock of the session for migrations: `schema-version.ts` takes one of the transaction. */
class Adapter extends PostgresAdapter {
  override async acquireMigrationLock(): Promise<void> {}
  override async releaseMigrationLock(): Promise<void> {}
}

class OwnDialect extends PostgresDialect {
  override createAdapter(): PostgresAdapter {
    return new Adapter()
  }
}

/** A client that knows when it was connected, whether its server says that it takes no writes, and the encoding of the database. */
class Client extends pg.Client {
  connectedAt = 0
  isReadOnly = false
  encoding = 'UTF8'

  constructor(config?: pg.ClientConfig) {
    super(config)
    const { connection } = this as unknown as { connection: pg.Connection }
    closeAtErrors(connection)
    this.once('connect', () => {
      this.connectedAt = performance.now()
    })
    // PostgreSQL 14 and later report these at the start and at every change.
    const settings = new Map<string, string>()
    connection.on('parameterStatus', ({ parameterName, parameterValue }) => {
      settings.set(parameterName, parameterValue)
      if (parameterName === 'server_encoding') this.encoding = parameterValue
      this.isReadOnly = ['in_hot_standby', 'default_transaction_read_only'].some((name) => settings.get(name) === 'on')
    })
  }
}

/**
 * Opens a pool of connections. Waits at most 1 s for a connection and 2 s for a response, and never longer than the request may take.
 * @param unlimited opens one connection without limits for statements: for migrations, which wait for one another, and for changes of
 *   whole tables
 */
export function openPostgres(url: string, { unlimited = false } = {}): { dialect: Dialect; statements: Statements } {
  const pool = new pg.Pool({
    connectionString: verified(url),
    application_name: 'latchkey',
    types,
    Client: Client as unknown as NonNullable<pg.PoolConfig['Client']>,
    ...(unlimited
      ? { connectionTimeoutMillis: 10_000, max: 1 }
      : { connectionTimeoutMillis: POSTGRES_CONNECT_MS, max: CONNECTIONS, query_timeout: POSTGRES_RESPONSE_MS })
  })
  // The next use of a broken connection fails. Without a listener, on the pool and on each client, the error would end the process.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))

  const writers = createQueue({
    concurrency: unlimited ? 1 : CONNECTIONS - FOR_READS,
    ...(unlimited ? {} : { maxWaitMs: POSTGRES_CONNECT_MS }),
    refuse: () => connectionFailure(new Error('all connections are in use'))
  })
  /** Connections that were opened before this instant are closed before their next use. */
  let trustedFrom = Number.NEGATIVE_INFINITY

  const ageOf = (client: pg.PoolClient) => performance.now() - (client as unknown as Client).connectedAt

  function isTrusted(client: pg.PoolClient): boolean {
    const { connectedAt, isReadOnly } = client as unknown as Client
    return connectedAt > trustedFrom && (!isReadOnly || ageOf(client) < MIN_AGE_MS)
  }

  async function open(): Promise<pg.PoolClient> {
    try {
      return await untilDeadline(pool.connect(), (late) => late.release())
    } catch (error) {
      throw connectionFailure(error)
    }
  }

  async function connect(): Promise<pg.PoolClient> {
    for (;;) {
      const client = await open()
      const { encoding } = client as unknown as Client
      if (encoding === 'UTF8' && isTrusted(client)) return client
      client.release(true)
      // Another encoding cannot store every character. With SQL_ASCII the database does not know the encoding of its texts.
      if (encoding !== 'UTF8')
        throw new SetupError(
          `the database has the encoding ${encoding}: create it with "encoding 'UTF8' template template0"`
        )
    }
  }

  async function acquire(sql: string) {
    const leave = /^select /i.test(sql) ? () => {} : await writers.enter()
    try {
      return { client: await connect(), leave }
    } catch (error) {
      leave()
      throw error
    }
  }

  const distrust = (client: pg.PoolClient) => {
    if (ageOf(client) >= MIN_AGE_MS) trustedFrom = performance.now()
  }

  const names = new Map<string, string>()
  let keepsNames = true

  /** A name belongs to one text on every server, so that a pooler can never run another statement in its place. */
  function nameOf(sql: string): string | undefined {
    if (unlimited || !keepsNames) return undefined
    const known = names.get(sql)
    if (known !== undefined || names.size >= MAX_NAMES) return known
    const name = hash('sha256', sql, 'base64url')
    names.set(sql, name)
    return name
  }

  function forgetNames({ code = '', message }: pg.DatabaseError): void {
    if (NOT_KEPT.includes(code)) keepsNames = false
    // Another instance has changed a table. Connections that are opened from now on parse the statements again.
    if (isStalePlan(code, message)) trustedFrom = performance.now()
  }

  const openOne = () =>
    openConnection({
      acquire,
      afterBegin: unlimited ? ISOLATION : ISOLATION + TRANSACTION_LIMITS,
      distrust,
      nameOf,
      forgetNames
    })

  async function runOne(sql: string, parameters: readonly unknown[]): Promise<pg.QueryResult> {
    const connection = openOne()
    try {
      return (await connection.query(sql, parameters)) as pg.QueryResult
    } finally {
      connection.release()
    }
  }

  return {
    dialect: new OwnDialect({
      pool: {
        options: pool.options,
        connect: async () => openOne() as unknown as PostgresPoolClient,
        end: () => pool.end()
      }
    }),
    statements: {
      read: createReads(async (sql, parameters) => (await runOne(sql, parameters)).rows),
      write: async (sql, parameters) => (await runOne(sql, parameters)).rows
    }
  }
}
