import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Creates a directory and its parents, for their owner only, unless they exist. The recursive `mkdir` of Node.js never ends where the
 * system refuses a new directory with ENOENT, for example below `/proc`.
 */
export function createDirectory(path: string): void {
  if (existsSync(path)) return
  const parent = dirname(path)
  if (parent !== path) createDirectory(parent)
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    // Another process may have created it.
    if (!existsSync(path)) throw error
  }
}
