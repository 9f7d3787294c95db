import type { Duplex } from 'node:stream'
import pg from 'pg'
import { RequestOver, timeLeft } from '../deadline.ts'
import { defined } from '../defined.ts'
import { POSTGRES_RESPONSE_MS } from '../limits.ts'
import { connectionFailure, isWrongServer } from './postgres-failures.ts'

/** Milliseconds that a request to cancel a statement may take. */
const CANCEL_MS = 500

type CancelConnection = pg.Connection & {
  connect(portOrSocket: number | string, host?: string): void
  requestSsl(): void
  cancel(processId: number, secretKey: number): void
}

/** Returns whether an error is the response of the server to a statement, after which the connection stays open. */
const isResponse = (error: unknown): error is pg.DatabaseError =>
  error instanceof pg.DatabaseError && !['FATAL', 'PANIC'].includes(error.severity ?? '')

/**
 * Closes a connection at every error. pg does not: the server would keep a place for the connection until its own limit. Also makes an
 * error of the exception that pg throws for a message that is not valid, because the exception would end the process.
 */
export function closeAtErrors(connection: pg.Connection): void {
  const close = () => connection.stream.destroy()
  // A message of an unknown type is reported as an error of the server without a severity.
  connection.on('error', close).on('errorMessage', ({ severity }) => severity === undefined && close())
  const { attachListeners } = connection as pg.Connection & { attachListeners(stream: Duplex): void }
  Object.assign(connection, {
    attachListeners(stream: Duplex) {
      attachListeners.call(connection, stream)
      const read = stream.listeners('data').at(-1) as (chunk: Buffer) => void
      stream.off('data', read).on('data', (chunk: Buffer) => {
        try {
          read(chunk)
        } catch (cause) {
          const { message } = cause as Error
          connection.emit('error', new Error(`the server sent a message that is not valid: ${message}`, { cause }))
        }
      })
    }
  })
}

/**
 * Asks the server to cancel the statement that a connection runs, over a connection of its own. The server would otherwise continue
 * until it has finished, also without its client. Resolves when the request was sent, or after `CANCEL_MS`.
 */
function cancelStatement(client: pg.PoolClient): Promise<void> {
  const { host, port, ssl, processID, secretKey } = client as unknown as {
    host: string
    port: number
    ssl: pg.ConnectionConfig['ssl']
    processID: number
    secretKey: number
  }
  const { promise, resolve } = Promise.withResolvers<void>()
  const connection = new pg.Connection({ ssl }) as CancelConnection
  closeAtErrors(connection)
  const timer = setTimeout(end, CANCEL_MS)
  function end() {
    clearTimeout(timer)
    connection.stream.destroy()
    resolve()
  }
  const send = () => connection.cancel(processID, secretKey)
  // The server closes the connection when it has passed the request on.
  connection.on('error', end).once('end', end)
  connection.once('connect', () => (ssl ? connection.requestSsl() : send())).once('sslconnect', send)
  if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`)
  else connection.connect(port, host)
  return promise
}

export interface ConnectionOptions {
  /** Returns the name of a prepared statement; undefined when the server must parse the statement at each use. */
  nameOf(sql: string): string | undefined
  /** Called when the server does not know a prepared statement, or knows it with other columns. */
  forgetNames(error: pg.DatabaseError): void
  /** Takes a connection of the pool for the first statement. */
  acquire(sql: string): Promise<{ client: pg.PoolClient; leave: () => void }>
  /** Statements that follow `begin` in the same message. */
  afterBegin: string
  /** Called when a server said that it does not take writes, or did not respond. */
  distrust(client: pg.PoolClient): void
}

/**
 * A connection for one transaction or one statement, with the interface that Kysely expects. Takes a connection of the pool at the first
 * statement, because that statement says whether it writes. Closes the connection in place of returning it to the pool after a statement
 * without a response, because the server may still run the statement. If it runs a `begin` late, for example, the next user of the
 * connection would be inside a transaction that nobody commits. Also closes the connection when the server does not take writes.
 */
export function openConnection({ acquire, afterBegin, distrust, nameOf, forgetNames }: ConnectionOptions) {
  let acquired: { client: pg.PoolClient; leave: () => void } | undefined
  let failure: unknown = null
  let isUnfit = false
  let cancelled: Promise<void> | undefined

  function fail(client: pg.PoolClient, error: unknown, isCut: boolean): unknown {
    if (isResponse(error)) {
      forgetNames(error)
      if (!isWrongServer(error)) return error
      isUnfit = true
      distrust(client)
      return error
    }
    const isTimeout = (error as Error).message === 'Query read timeout'
    if (isTimeout) cancelled = cancelStatement(client)
    if (isTimeout && isCut) {
      failure = new RequestOver({ callerLeft: false })
      return failure
    }
    distrust(client)
    // These are mistakes of this program and not of the connection.
    failure = error instanceof TypeError || error instanceof RangeError ? error : connectionFailure(error)
    return failure
  }

  return {
    async query(sql: string, parameters: readonly unknown[]) {
      if (failure !== null) throw failure
      acquired ??= await acquire(sql)
      const { client } = acquired
      const left = timeLeft()
      // After a failure `release` closes the connection, so that the server rolls back.
      if (left === 0) throw (failure = new RequestOver({ callerLeft: false }))
      const isCut = left < POSTGRES_RESPONSE_MS
      try {
        const text = sql === 'begin' ? sql + afterBegin : sql
        const name = parameters.length > 0 ? nameOf(sql) : undefined
        const limit = isCut ? { query_timeout: left } : {}
        const results = [
          (await client.query({ text, values: parameters as unknown[], ...defined({ name }), ...limit })) as
            | pg.QueryResult
            | pg.QueryResult[]
        ].flat()
        return results[0]
      } catch (error) {
        throw fail(client, error, isCut)
      }
    },

    release() {
      if (acquired === undefined) return
      const { client, leave } = acquired
      leave()
      // The pooler PgBouncer knows the statement only until the connection is closed.
      if (cancelled === undefined) client.release(isUnfit || failure !== null)
      else void cancelled.then(() => client.release(true))
    }
  }
}
