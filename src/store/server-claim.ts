import { closeSync, openSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

const BUSY = 5

/**
 * Marks this process as a server of an embedded database. The mark is a lock of the operating system on a file beside the database, so it
 * ends with the process, however the process ends. Commands do not look at it.
 */
export function createServerClaim(file: string) {
  let lock: DatabaseSync | undefined

  return {
    /** Returns false when another server holds the mark. Returns true when the mark cannot be set, because it only serves a warning. */
    take(): boolean {
      const path = `${file}-server`
      try {
        closeSync(openSync(path, 'a', 0o600))
        lock = new DatabaseSync(path, { timeout: 0 })
        // The file stays empty. A journal on the disk would be one more file.
        lock.exec('pragma journal_mode = memory; begin exclusive')
        return true
      } catch (error) {
        this.release()
        return (error as { errcode?: number }).errcode !== BUSY
      }
    },

    release(): void {
      lock?.close()
      lock = undefined
    }
  }
}

export type ServerClaim = ReturnType<typeof createServerClaim>
