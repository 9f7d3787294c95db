import { RequestOver } from '../deadline.ts'
import { DomainError, SetupError } from '../domain/errors.ts'

/** What the operator can do about a failure, by the code of Node.js, the SQLSTATE, or the message where there is no code. */
const REPAIRS: [RegExp, string][] = [
  [
    /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|CERT_UNTRUSTED)$/,
    'add sslrootcert=<file> with the certificate of its authority to LATCHKEY_DATABASE_URL'
  ],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, 'write the host name of the certificate into LATCHKEY_DATABASE_URL'],
  [/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/, 'renew the certificate of the server, or set the clock of this machine'],
  [/does not support SSL/, 'switch TLS on at the server, or remove sslmode from LATCHKEY_DATABASE_URL'],
  [/^(ERR_SSL_|ERR_OSSL_|EPROTO$)/, 'check the certificates and the TLS versions of both sides'],
  [/^28P01$|client password must be/, 'correct the user or the password in LATCHKEY_DATABASE_URL'],
  [/^28/, 'allow this connection in pg_hba.conf; for "no encryption" add sslmode=verify-full to LATCHKEY_DATABASE_URL'],
  [/^3D000$/, 'create the database']
]

/**
 * Returns the messages of an error on one line. Node.js gives the error of a host with several addresses no message of its own, and adds
 * an advice for its command line to errors of certificates.
 */
function lineOf(error: Error): string {
  const messages = error instanceof AggregateError ? error.errors.map((each: Error) => each.message) : [error.message]
  return messages
    .join(', ')
    .replace(/\s+/g, ' ')
    .replace(/; if the root CA is installed locally.*$/, '')
}

/**
 * Returns the error for a connection that could not be opened, or for a statement without a response. The operator reads the reason in
 * the output of the start and in the log.
 * @returns SetupError when only the operator can repair it, else DomainError unavailable, whose cause has the reason
 */
export function connectionFailure(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error))
  if (error instanceof DomainError || error instanceof SetupError || error instanceof RequestOver) return error
  const { code = '', syscall } = error as NodeJS.ErrnoException
  const line = lineOf(error)
  const [, repair] = REPAIRS.find(([pattern]) => pattern.test(code === '' ? line : code)) ?? []
  if (repair !== undefined) return new SetupError(`cannot connect to PostgreSQL: ${line}: ${repair}`, { cause: error })
  // A file of LATCHKEY_DATABASE_URL, such as sslrootcert.
  if (syscall === 'open') return new SetupError(`cannot connect to PostgreSQL: ${line}`, { cause: error })
  return new DomainError('unavailable', 'The database is not available', {
    retryAfter: 1,
    cause: new Error(line, { cause: error })
  })
}

/**
 * Returns whether a server says by its SQLSTATE that it does not take writes: it is a standby, is stopping, or a pooler has lost it.
 * Another server may have its address by now. 40001 is a conflict with the recovery of a standby: transactions are READ COMMITTED, so
 * nothing else causes it.
 */
export const isWrongServer = ({ code = '' }: { code?: string | undefined }): boolean =>
  /^(08|25006|40001|57P)/.test(code)

/** Returns whether a prepared statement does not fit its tables any longer, because a migration has changed them. */
export const isStalePlan = (code: string, message: string): boolean =>
  code === '0A000' && message === 'cached plan must not change result type'
