import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import argon2 from 'argon2'
import fp from 'fastify-plugin'
import { DomainError } from '../src/domain/errors.ts'
import type { Hasher } from '../src/domain/ports.ts'

declare module 'fastify' {
  interface FastifyInstance {
    hasher: Hasher
  }
}

export interface HashingOptions {
  argon2Memory: number
  argon2Passes: number
  argon2Lanes: number
}

/** One core stays free for everything else; what waits longer than a person would is refused. */
const CONCURRENCY = Math.max(1, availableParallelism() - 1)
const QUEUE = 64

function createQueue() {
  const waiting: (() => void)[] = []
  let running = 0

  return async function run<T>(work: () => Promise<T>): Promise<T> {
    if (running >= CONCURRENCY) {
      if (waiting.length >= QUEUE) throw new DomainError('unavailable', 'Too many logins at once', { retryAfter: 2 })
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else {
      running++
    }
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}

/** argon2id, RFC 9106. */
export default fp<HashingOptions>(
  async (fastify, { argon2Memory, argon2Passes, argon2Lanes }) => {
    const parameters = {
      type: argon2.argon2id,
      memoryCost: argon2Memory,
      timeCost: argon2Passes,
      parallelism: argon2Lanes
    }
    const base64 = (bytes: number) => randomBytes(bytes).toString('base64').replaceAll('=', '')
    const nobody = `$argon2id$v=19$m=${argon2Memory},t=${argon2Passes},p=${argon2Lanes}$${base64(16)}$${base64(32)}`
    const run = createQueue()

    fastify.decorate('hasher', {
      hash: (password) => run(() => argon2.hash(password, parameters)),
      verify: (hash, password) => run(() => argon2.verify(hash ?? nobody, password)),
      outdated: (hash) => !hash.startsWith('$argon2id$') || argon2.needsRehash(hash, parameters)
    })
  },
  { name: 'hashing' }
)
