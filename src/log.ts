import { constants, fstatSync, openSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { isatty } from 'node:tty'
import { prettyLine } from './log-lines.ts'
import { printable } from './printable.ts'

/** Maximum number of bytes that wait for a slow reader. Further lines are dropped. */
const MAX_WAITING_BYTES = 1_048_576

/**
 * Opens a terminal a second time in non-blocking mode, so that a write to a stopped terminal (Ctrl-S) fails and does not wait. Returns
 * other descriptors unchanged.
 */
function nonBlocking(fd: number): number {
  try {
    return isatty(fd) ? openSync('/dev/tty', constants.O_WRONLY | constants.O_NONBLOCK) : fd
  } catch {
    return fd
  }
}

/**
 * Opens standard output as the log of the service. On a terminal its lines are for a person, otherwise JSON. `write` never throws and never waits. A line is lost when the disk is full, the
 * terminal is stopped, or the reader has left or is too slow.
 */
export function openLog(fd = 1, isTerminal = isatty(fd)): { write(line: string): void } {
  const status = fstatSync(fd)
  if (status.isFIFO() || status.isSocket()) {
    // A write to a full pipe would block the event loop. A socket of Node.js does not block it.
    const stream = new Socket({ fd, readable: false, writable: true }).unref()
    stream.on('error', () => {})
    return {
      write(line) {
        if (!stream.destroyed && stream.writableLength < MAX_WAITING_BYTES) stream.write(printable(line))
      }
    }
  }
  const format = isTerminal ? prettyLine : (line: string) => line
  const file = nonBlocking(fd)
  /** Ends a line of which only the beginning was written. */
  let separator = ''
  return {
    write(line) {
      try {
        const bytes = Buffer.from(separator + printable(format(line)))
        separator = writeSync(file, bytes) < bytes.length ? '\n' : ''
      } catch {
        // The disk is full or the terminal is stopped: the line is lost.
      }
    }
  }
}
