import { DomainError, SetupError } from '../domain/errors.ts'

const SQLITE = { busy: 5, readonly: 8, ioerr: 10, corrupt: 11, full: 13, cantopen: 14, notadb: 26 }
/** SQLSTATE of a transaction that PostgreSQL rolled back to resolve a deadlock. */
const DEADLOCK = '40P01'
const MAX_TRIES = 3

const SQLITE_UNIQUE = [1555, 2067]
const SQLITE_FOREIGN_KEY = 787

/** SQLSTATEs of a server that cannot serve now: connection, resources, shutdown, timeout, read-only, rollback. */
const UNAVAILABLE_STATE = /^(08|53|57|58|25006|40)/
const UNAVAILABLE_CODE = /^(ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)/
/** Errors of the driver that have no code. */
const UNAVAILABLE_MESSAGE = /timeout|Connection terminated|not queryable|connection error/i

/** Messages for unique values that a caller chooses, by the name of the constraint in SQLite or PostgreSQL. */
const TAKEN: [RegExp, string][] = [
  [/users[._]username_key/, 'The username is taken'],
  [/users[._]email_key/, 'The e-mail is taken'],
  [/roles[._](name|pkey)/, 'A role of this name is there already'],
  [/clients[._](id|pkey)/, 'A client with this id is there already'],
  [/resources[._]identifier/, 'A resource with this identifier is there already'],
  [/resources[._](id|pkey)/, 'A resource with this id is there already'],
  [/(^|\W)scopes[._](name|pkey)/, 'A scope of this name is there already']
]

/** Returns the error of the domain for an error of a driver; other errors as they are. */
function translate(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof DomainError || error instanceof SetupError) return error
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
    new DomainError('conflict', 'Something that this refers to has just been removed', { cause: error })

  if (errcode !== undefined) {
    if (SQLITE_UNIQUE.includes(errcode)) return conflict()
    if (errcode === SQLITE_FOREIGN_KEY) return removed()
    const primary = errcode % 256
    if (primary === SQLITE.notadb || primary === SQLITE.corrupt)
      return new SetupError('the database is damaged or is no database', { cause: error })
    return [SQLITE.busy, SQLITE.readonly, SQLITE.ioerr, SQLITE.full, SQLITE.cantopen].includes(primary)
      ? unavailable()
      : error
  }
  if (code === '23505') return conflict()
  if (code === '23503') return removed()
  if (code === '3D000') return new SetupError('the database does not exist: create it', { cause: error })
  if (code.startsWith('28')) return new SetupError('the database refuses the user or the password', { cause: error })
  if (UNAVAILABLE_STATE.test(code) || UNAVAILABLE_CODE.test(code)) return unavailable()
  return code === '' && UNAVAILABLE_MESSAGE.test(error.message) ? unavailable() : error
}

type Methods = Record<string, unknown>

/**
 * Returns the same methods, at any depth, which throw errors of the domain in place of errors of a driver. Runs a
 * method again after a deadlock: every method is one transaction, which was rolled back.
 */
export function translateErrors<T extends object>(store: T): T {
  const wrapped = Object.entries(store as Methods).map(([name, value]) => {
    if (typeof value === 'function') {
      return [
        name,
        async (...args: unknown[]) => {
          for (let tries = 1; ; tries++) {
            try {
              return await value(...args)
            } catch (error) {
              if (tries === MAX_TRIES || (error as { code?: string }).code !== DEADLOCK) throw translate(error)
            }
          }
        }
      ]
    }
    return [name, typeof value === 'object' && value !== null ? translateErrors(value) : value]
  })
  return Object.fromEntries(wrapped) as T
}
