import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Config } from './config.ts'
import { SetupError } from './domain/errors.ts'

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
    throw new SetupError(`${file} cannot be read`, { cause: error })
  }
}

/**
 * What the file holds, and if there is none, `content` is put there first: whole, on disk, readable by its owner only.
 * Of concurrent calls one writes, and all get what that one wrote.
 */
function readOrCreate(file: string, content: () => string): string {
  const existing = read(file)
  if (existing === '') throw new SetupError(`${file} is empty: delete it`)
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
    throw new SetupError('the sealing key is not 32 bytes in base64')
  return key
}

/** The sealing key of the settings, or of its file; null when the file is not there. @throws SetupError */
export function findSealingKey({ sealingKey, sealingKeyFile }: Config): Buffer | null {
  const text = sealingKey ?? read(sealingKeyFile as string)
  return text === null ? null : toKey(text)
}

/** @throws SetupError when there is none */
export function getSealingKey(config: Config): Buffer {
  const key = findSealingKey(config)
  if (key === null)
    throw new SetupError(`the sealing key file ${config.sealingKeyFile} is missing: put it back from where it is kept`)
  return key
}

/** The sealing key before, of the settings or of its file; null when none is given. @throws SetupError */
export function getPreviousSealingKey({ sealingKeyPrevious, sealingKeyPreviousFile: file }: Config): Buffer | null {
  if (sealingKeyPrevious === undefined && file === undefined) return null
  const text = sealingKeyPrevious ?? read(file as string)
  if (text === null)
    throw new SetupError(`the file ${file} of the sealing key before is missing (LATCHKEY_SEALING_KEY_PREVIOUS_FILE)`)
  return toKey(text)
}

/** Makes the file of the sealing key unless it is there. */
export function createSealingKey(file: string): void {
  readOrCreate(file, () => randomBytes(KEY_BYTES).toString('base64'))
}

export const adminPasswordFile = ({ dataDir }: Config): string => join(dataDir, 'admin-password')

/** The password of the first admin, kept in a file until it was shown, so that a crash in between does not lose it. */
export const createAdminPassword = (config: Config): string =>
  readOrCreate(adminPasswordFile(config), () => randomBytes(18).toString('base64url'))

/** The generated password that nobody was shown yet; null when there is none. */
export const findAdminPassword = (config: Config): string | null => read(adminPasswordFile(config))

export const removeAdminPassword = (config: Config): void => rmSync(adminPasswordFile(config), { force: true })
