import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { SetupError } from './domain/errors.ts'
import type { Config } from './settings.ts'

const KEY_BYTES = 32

function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  fsyncSync(directory)
  closeSync(directory)
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new SetupError(`the file ${file} cannot be read`, { cause: error })
  }
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
  mkdirSync(directory, { recursive: true, mode: 0o700 })
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
