import { Hash } from 'node:crypto'
import argon2 from 'argon2'
import type { Test } from 'tap'

const FOLDERS = ['/src/', '/plugins/', '/routes/']

/**
 * Returns whether code of the service has called the watched function. The first four lines of the stack are the error, this function,
 * `see` and the watched function.
 */
function isCalledByService(): boolean {
  const [, , , , ...callers] = (new Error().stack ?? '').split('\n')
  const caller = callers.find((line) => line.includes('file:')) ?? ''
  return FOLDERS.some((folder) => caller.includes(folder)) && !caller.includes('node_modules')
}

/**
 * Records the size of the longest text that the code of the service gives to `normalize`, to a regular expression or to a hash, from now
 * on. `take` returns the size in bytes with the name of the function, and begins again.
 */
export function watchWork(t: Test): { take: () => { bytes: number; by: string } } {
  let longest = { bytes: 0, by: '' }
  /** Whether the stack is being read, which calls watched functions itself. */
  let isReading = false
  const see = (by: string, text: unknown) => {
    const bytes = typeof text === 'string' ? Buffer.byteLength(text) : 0
    if (isReading || bytes <= longest.bytes) return
    isReading = true
    if (by === 'argon2' || isCalledByService()) longest = { bytes, by }
    isReading = false
  }
  const { normalize } = String.prototype
  const { exec } = RegExp.prototype
  const { update } = Hash.prototype
  const { verify, hash } = argon2
  String.prototype.normalize = function (form) {
    see('normalize', String(this))
    return normalize.call(this, form)
  }
  RegExp.prototype.exec = function (text) {
    if (!isReading) see(this.source, text)
    return exec.call(this, text)
  }
  Hash.prototype.update = function (this: Hash, ...args: Parameters<Hash['update']>) {
    see('hash', args[0])
    return update.apply(this, args)
  } as typeof update
  argon2.verify = (stored, text, ...rest) => {
    see('argon2', text)
    return verify(stored, text, ...rest)
  }
  argon2.hash = ((text: string, ...rest: []) => {
    see('argon2', text)
    return hash(text, ...rest)
  }) as typeof hash
  t.teardown(() => {
    String.prototype.normalize = normalize
    RegExp.prototype.exec = exec
    Hash.prototype.update = update
    Object.assign(argon2, { verify, hash })
  })
  return {
    take() {
      const result = longest
      longest = { bytes: 0, by: '' }
      return result
    }
  }
}
