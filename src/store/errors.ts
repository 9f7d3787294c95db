import { assertTimeLeft, RequestOver } from '../deadline.ts'
import { DomainError, SetupError } from '../domain/errors.ts'

const SQLITE = { busy: 5, readonly: 8, ioerr: 10, corrupt: 11, full: 13, cantopen: 14, notadb: 26 }
/**
 * SQLSTATEs of a transaction that PostgreSQL rolled back and that can succeed when it is repeated: a deadlock, a server that takes
 * no writes (after a failover the next connection reaches the new primary), and a prepared statement that the server does not keep or
 * whose table has changed.
 */
const REPEATABLE = ['40P01', '25006', '26000', '42P05', '0A000']
const MAX_TRIES = 3

const SQLITE_UNIQUE = [1555, 2067]
const SQLITE_FOREIGN_KEY = 787

/** SQLSTATEs of a server that is not available: connection, resources, shutdown, timeout, read-only, idle transaction, rollback. */
const UNAVAILABLE_STATE = /^(08|53|57|58|25006|25P03|40)/

/** Messages for values that callers choose and that must be unique, by the name of the constraint in SQLite or PostgreSQL. */
const TAKEN: [RegExp, string][] = [
  [/users[._]username_key/, 'The username is taken'],
  [/roles[._](name|pkey)/, 'A role with this name already exists'],
  [/clients[._](id|pkey)/, 'A client with this id already exists'],
  [/resources[._]identifier/, 'A resource with this identifier already exists'],
  [/resources[._](id|pkey)/, 'A resource with this id already exists'],
  [/(^|\W)scopes[._](name|pkey)/, 'A scope with this name already exists']
]

/** Returns the domain error for an error of a driver. Returns other errors unchanged. */
function translate(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof DomainError || error instanceof SetupError) return error
  if (error instanceof RequestOver) return error
  const {
    errcode,
    code = '',
    constraint = error.message
  } = error as { errcode?: number; code?: string; constraint?: string }
  const unavailable = () =>
    new DomainError('unavailable', 'The database is not available', { retryAfter: 1, cause: error })
  const conflict = () => {
    const [, message] = TAKEN.find(([name]) => name.test(constraint)) ?? [undefined, 'The value is taken']
    return new DomainError('conflict', message, { cause: error })
  }

  const removed = () =>
    new DomainError('conflict', 'An object that the request refers to was deleted at the same time', { cause: error })

  if (errcode !== undefined) {
    if (SQLITE_UNIQUE.includes(errcode)) return conflict()
    if (errcode === SQLITE_FOREIGN_KEY) return removed()
    const primary = errcode % 256
    if (primary === SQLITE.notadb || primary === SQLITE.corrupt)
      return new SetupError('the database file is damaged or not a SQLite database: restore a backup', { cause: error })
    return [SQLITE.busy, SQLITE.readonly, SQLITE.ioerr, SQLITE.full, SQLITE.cantopen].includes(primary)
      ? unavailable()
      : error
  }
  if (code === '23505') return conflict()
  if (code === '23503') return removed()
  // "permission denied for table users"
  if (code === '42501')
    return new SetupError(`PostgreSQL: ${error.message}: grant it to the user of LATCHKEY_DATABASE_URL`, {
      cause: error
    })
  return UNAVAILABLE_STATE.test(code) ? unavailable() : error
}

type Methods = Record<string, unknown>

/**
 * Wraps all methods of the store, at any depth, so that they throw domain errors in place of driver errors. Repeats a method after the
 * errors of `REPEATABLE`, which is safe because every method changes something in one transaction only, and this transaction was rolled back.
 */
export function translateErrors<T extends object>(store: T): T {
  const wrapped = Object.entries(store as Methods).map(([name, value]) => {
    if (typeof value === 'function') {
      return [
        name,
        async (...args: unknown[]) => {
          for (let tries = 1; ; tries++) {
            try {
              assertTimeLeft()
              return await value(...args)
            } catch (error) {
              if (tries === MAX_TRIES || !REPEATABLE.includes((error as { code?: string }).code ?? ''))
                throw translate(error)
            }
          }
        }
      ]
    }
    return [name, typeof value === 'object' && value !== null ? translateErrors(value) : value]
  })
  return Object.fromEntries(wrapped) as T
}
