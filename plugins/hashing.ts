import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import argon2 from 'argon2'
import fp from 'fastify-plugin'
import { DomainError } from '../src/domain/errors.ts'
import type { Hasher } from '../src/domain/ports/hasher.ts'
import { createQueue } from '../src/queue.ts'

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
/** Maximum number of waiting callers. With more, users would wait too long. */
const MAX_WAITING = 64

const tooMany = () => new DomainError('unavailable', 'Too many logins at once', { retryAfter: 2 })

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
    // Verified for an unknown user, so that the response takes as long as for a known user.
    const dummy = `$argon2id$v=19$m=${argon2Memory},t=${argon2Passes},p=${argon2Lanes}$${base64(16)}$${base64(32)}`
    const queue = createQueue({ concurrency: CONCURRENCY, maxWaiting: MAX_WAITING, refuse: tooMany })

    fastify.decorate('hasher', {
      hash: (password) => queue.run(() => argon2.hash(password, parameters)),
      verify: (hash, password) => queue.run(() => argon2.verify(hash ?? dummy, password)),
      outdated: (hash) => !hash.startsWith('$argon2id$') || argon2.needsRehash(hash, parameters)
    })
  },
  { name: 'hashing' }
)
