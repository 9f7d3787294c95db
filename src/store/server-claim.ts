import { closeSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

const BUSY = 5
/** How long a server waits for another one that begins at the same moment, in milliseconds. */
const WAIT_MS = 100

/**
 * Marks this process as a server of an embedded database. The mark is a shared lock of the operating system on a file beside the database, so
 * it ends with the process, however the process ends. Commands do not look at it.
 */
export function createServerClaim(file: string) {
  let lock: DatabaseSync | undefined

  /** Returns whether nobody else holds a mark. */
  function isAlone(own: DatabaseSync): boolean {
    try {
      own.exec('begin exclusive; rollback')
      return true
    } catch (error) {
      if ((error as { errcode?: number }).errcode !== BUSY) throw error
      return false
    }
  }

  return {
    /** Sets the mark. Returns false when another server has one too. Returns true when no mark can be set, because it only serves a warning. */
    take(): boolean {
      const path = `${file}-server`
      try {
        closeSync(openSync(path, 'a', 0o600))
        const own = new DatabaseSync(path, { timeout: 0 })
        lock = own
        // The file stays empty. A journal on the disk would be one more file.
        own.exec('pragma journal_mode = memory')
        const isOnly = isAlone(own)
        // A read transaction holds the shared lock, which keeps the next server from an exclusive one.
        own.exec(`pragma busy_timeout = ${WAIT_MS}; begin; select count(*) from sqlite_schema`)
        return isOnly
      } catch {
        this.release()
        return true
      }
    },

    release(): void {
      lock?.close()
      lock = undefined
    }
  }
}

export type ServerClaim = ReturnType<typeof createServerClaim>
