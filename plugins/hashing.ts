import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import argon2 from 'argon2'
import fp from 'fastify-plugin'
import { createAdmission } from '../src/admission.ts'
import { prolong } from '../src/deadline.ts'
import { overloaded } from '../src/domain/errors.ts'
import type { Hasher, HashVisit } from '../src/domain/ports/hasher.ts'
import { CONNECTION_SILENT_MS, HASH_MS, HASH_WAIT_MS } from '../src/limits.ts'

declare module 'fastify' {
  interface FastifyInstance {
    hasher: Hasher
  }
}

export interface HashingOptions {
  /** KiB. */
  argon2Memory: number
  argon2Passes: number
  argon2Lanes: number
}

/** One core stays free for everything else. */
const CONCURRENCY = Math.max(1, availableParallelism() - 1)
/** The expected time of the first hashes, in milliseconds. */
const FIRST_HASH_MS = 50

const OF_KNOWN_CALLER: HashVisit = { isKnown: true, onEntered: async () => {} }

/** Hashes passwords with argon2id (RFC 9106), a few at a time. */
export default fp<HashingOptions>(
  async (fastify, { argon2Memory, argon2Passes, argon2Lanes }) => {
    const parameters = {
      type: argon2.argon2id,
      memoryCost: argon2Memory,
      timeCost: argon2Passes,
      parallelism: argon2Lanes
    }
    const base64 = (bytes: number) => randomBytes(bytes).toString('base64').replaceAll('=', '')
    // Verified in place of a missing hash, so that the response takes as long as with a hash.
    const dummy = `$argon2id$v=19$m=${argon2Memory},t=${argon2Passes},p=${argon2Lanes}$${base64(16)}$${base64(32)}`
    const admission = createAdmission({
      concurrency: CONCURRENCY,
      maxWaitMs: HASH_WAIT_MS,
      firstVisitMs: FIRST_HASH_MS,
      refuse: overloaded
    })

    let hasWarned = false
    function warnOnce(ms: number): void {
      if (hasWarned || ms <= HASH_MS) return
      hasWarned = true
      fastify.log.warn(
        `a password hash took ${Math.round(ms)} ms, and a connection is closed after ${CONNECTION_SILENT_MS} ms: lower LATCHKEY_ARGON2_MEMORY or LATCHKEY_ARGON2_PASSES`
      )
    }

    /** Hashes after the wait in the queue. The time of a hash does not count for the deadline: the settings decide it, and a hash cannot be stopped. */
    async function admitted<T>(visit: HashVisit, hash: () => Promise<T>): Promise<T> {
      const leave = await admission.enter(visit.isKnown)
      try {
        await visit.onEntered()
        const since = performance.now()
        const result = await hash()
        const ms = performance.now() - since
        prolong(ms)
        warnOnce(ms)
        return result
      } finally {
        leave()
      }
    }

    fastify.decorate('hasher', {
      hash: (password) => admitted(OF_KNOWN_CALLER, () => argon2.hash(password, parameters)),
      verify: (hash, password, visit = OF_KNOWN_CALLER) =>
        admitted(visit, () => argon2.verify(hash ?? dummy, password)),
      outdated: (hash) => !hash.startsWith('$argon2id$') || argon2.needsRehash(hash, parameters)
    })
  },
  { name: 'hashing' }
)
