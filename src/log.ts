import { constants, fstatSync, openSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { isatty } from 'node:tty'

/** What some terminals obey and JSON does not escape: DEL, the C1 controls, line ends of Unicode. */
const CONTROLS = /[\u007f-\u009f\u2028\u2029]/g
const escaped = (line: string) =>
  line.replace(CONTROLS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** What waits for a reader who is slow; beyond it lines are dropped. */
const KEPT_BYTES = 1_048_576

/** The terminal, opened once more so that a write to one that was stopped (Ctrl-S) fails and does not wait. */
function unblocked(fd: number): number {
  try {
    return isatty(fd) ? openSync('/dev/tty', constants.O_WRONLY | constants.O_NONBLOCK) : fd
  } catch {
    return fd
  }
}

/**
 * Standard output as the service's log. Whatever becomes of it (a full disk, a terminal that was stopped, a reader who is
 * gone or reads no more), writing a line neither throws nor waits: the line is lost and the service goes on.
 */
export function openLog(fd = 1): { write(line: string): void } {
  const status = fstatSync(fd)
  if (status.isFIFO() || status.isSocket()) {
    // A write to a pipe that is full would stop the event loop; a socket of Node.js waits beside it.
    const stream = new Socket({ fd, readable: false, writable: true }).unref()
    stream.on('error', () => {})
    return {
      write(line) {
        if (!stream.destroyed && stream.writableLength < KEPT_BYTES) stream.write(escaped(line))
      }
    }
  }
  const file = unblocked(fd)
  let torn = ''
  return {
    write(line) {
      try {
        const bytes = Buffer.from(torn + escaped(line))
        torn = writeSync(file, bytes) < bytes.length ? '\n' : ''
      } catch {
        // The disk is full, or the terminal takes nothing.
      }
    }
  }
}
