import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { DomainError, SetupError } from './domain/errors.ts'
import type { Config } from './settings.ts'
import { createDirectory } from './store/directory.ts'

const KEY_BYTES = 32

function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  fsyncSync(directory)
  closeSync(directory)
}

/** Returns the user of this process, for an error. A container may run as a user without a name. */
function processUser(): string {
  const uid = process.geteuid?.()
  try {
    const user = userInfo()
    return user.uid === uid ? `the user ${user.username} (uid ${uid})` : `the user with the uid ${uid}`
  } catch {
    return `the user with the uid ${uid}`
  }
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    throw new SetupError(`${processUser()} cannot read the file ${file} (${code})`, { cause: error })
  }
}

/** Codes of Node.js and of SQLite (read-only, cannot open) for a path that the user may not write or that is no directory. */
const REFUSED_CODES = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'EEXIST']
const REFUSED_SQLITE = [8, 14]

/**
 * Returns an error of one line for a file or directory that this process may not write: the user, the path and the repair. Returns every
 * other error unchanged.
 */
export function explainAccess(error: unknown, { databaseUrl, dataDir }: Config): unknown {
  const cause = error instanceof DomainError ? error.cause : error
  const {
    code = '',
    path,
    syscall,
    errcode = 0,
    message
  } = (cause ?? {}) as NodeJS.ErrnoException & { errcode?: number }
  const isSqlite = databaseUrl.startsWith('sqlite:') && REFUSED_SQLITE.includes(errcode % 256)
  const isRefused = REFUSED_CODES.includes(code) || (code === 'ENOENT' && syscall === 'mkdir')
  if (!isSqlite && !(isRefused && path !== undefined)) return error
  const where = isSqlite ? dirname(databaseUrl.slice('sqlite:'.length)) : path
  return new SetupError(
    `${processUser()} cannot write ${where} (${isSqlite ? message : code}): give the directory ${dataDir} to this user, or set LATCHKEY_DATA_DIR to another directory`,
    { cause: error }
  )
}

/**
 * Returns the content of a file. If the file does not exist, first creates it with `content`: completely, synced to disk, and readable by
 * its owner only. Exactly one of concurrent calls creates the file, and all return its content.
 */
function readOrCreate(file: string, content: () => string): string {
  const existing = read(file)
  if (existing === '') throw new SetupError(`the file ${file} is empty: delete it`)
  if (existing !== null) return existing
  const directory = dirname(file)
  createDirectory(directory)
  const temporary = `${file}.${randomBytes(6).toString('hex')}`
  const handle = openSync(temporary, 'wx', 0o600)
  try {
    writeSync(handle, `${content()}\n`)
    fsyncSync(handle)
    linkSync(temporary, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    closeSync(handle)
    rmSync(temporary)
    syncDirectory(directory)
  }
  return readFileSync(file, 'utf8').trim()
}

function toKey(text: string): Buffer {
  const key = Buffer.from(text, 'base64')
  if (key.length !== KEY_BYTES || !/^[\w+/-]{43}=?$/.test(text))
    throw new SetupError('the sealing key must be 32 bytes in base64 (openssl rand -base64 32)')
  return key
}

/** Returns the sealing key of the settings or of its file; null when the file does not exist. @throws SetupError */
export function findSealingKey({ sealingKey, sealingKeyFile }: Config): Buffer | null {
  const text = sealingKey ?? read(sealingKeyFile as string)
  return text === null ? null : toKey(text)
}

/** Returns the sealing key. @throws SetupError when it does not exist */
export function getSealingKey(config: Config): Buffer {
  const key = findSealingKey(config)
  if (key === null)
    throw new SetupError(`the sealing key file ${config.sealingKeyFile} is missing: restore it from your backup`)
  return key
}

/** Returns the previous sealing key of the settings or of its file; null when none is set. @throws SetupError */
export function getPreviousSealingKey({ sealingKeyPrevious, sealingKeyPreviousFile: file }: Config): Buffer | null {
  if (sealingKeyPrevious === undefined && file === undefined) return null
  const text = sealingKeyPrevious ?? read(file as string)
  if (text === null)
    throw new SetupError(`the file ${file} of the previous sealing key is missing (LATCHKEY_SEALING_KEY_PREVIOUS_FILE)`)
  return toKey(text)
}

/** Creates the file of the sealing key unless it exists. */
export function createSealingKey(file: string): void {
  readOrCreate(file, () => randomBytes(KEY_BYTES).toString('base64'))
}

export const adminPasswordFile = ({ dataDir }: Config): string => join(dataDir, 'admin-password')

/** Returns the generated password of the first admin. A file keeps the password until it was shown, so that a crash does not lose it. */
export const createAdminPassword = (config: Config): string =>
  readOrCreate(adminPasswordFile(config), () => randomBytes(18).toString('base64url'))

/** Returns the generated password of the first admin; null when it was already shown, and when none was generated. */
export const findAdminPassword = (config: Config): string | null => read(adminPasswordFile(config))

export const removeAdminPassword = (config: Config): void => rmSync(adminPasswordFile(config), { force: true })
