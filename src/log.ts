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

/** Writes text to standard output. Never throws and never waits. */
type Write = (text: string) => void

function writerOf(fd: number, isTerminal: boolean): Write {
  const status = fstatSync(fd)
  if (status.isFIFO() || status.isSocket()) {
    // A write to a full pipe would block the event loop. A socket of Node.js does not block it.
    const stream = new Socket({ fd, readable: false, writable: true }).unref()
    stream.on('error', () => {})
    return (text) => {
      if (!stream.destroyed && stream.writableLength < MAX_WAITING_BYTES) stream.write(text)
    }
  }
  const file = isTerminal ? nonBlocking(fd) : fd
  /** Ends a line of which only the beginning was written. */
  let separator = ''
  return (text) => {
    try {
      const bytes = Buffer.from(separator + text)
      separator = writeSync(file, bytes) < bytes.length ? '\n' : ''
    } catch {
      // The disk is full or the terminal is stopped: the lines are lost.
    }
  }
}

/**
 * Opens standard output as the log of the service. On a terminal its lines are for a person, otherwise JSON. `write` never throws and
 * never waits. The lines of one turn of the event loop are written together at its end, or at the exit of the process. Lines are lost when
 * the disk is full, the terminal is stopped, the reader has left or is too slow, or the process is killed.
 */
export function openLog(fd = 1, isTerminal = isatty(fd)): { write(line: string): void } {
  const write = writerOf(fd, isTerminal)
  const format = isTerminal ? prettyLine : (line: string) => line
  let lines = ''
  function flush() {
    if (lines !== '') write(printable(lines))
    lines = ''
  }
  process.on('exit', flush)
  return {
    write(line) {
      if (lines === '') setImmediate(flush)
      lines += format(line)
    }
  }
}
