import fp from 'fastify-plugin'
import { type Auth, createAuth } from '../src/domain/index.ts'
import type { Clock } from '../src/domain/ports/clock.ts'
import { createSealer } from '../src/domain/sealing.ts'
import type { Config } from '../src/settings.ts'

declare module 'fastify' {
  interface FastifyInstance {
    auth: Auth
  }
}

export interface AuthOptions {
  settings: Config
  clock: Clock
  /** Returns 32 bytes. Called at the first use. */
  getSealingKey: () => Buffer
  /** Returns the previous key, or null when there is none. Called at the first use. */
  getPreviousSealingKey: () => Buffer | null
}

/** Builds the domain from the decorators of other plugins. */
export default fp<AuthOptions>(
  async (fastify, { settings, clock, getSealingKey, getPreviousSealingKey }) => {
    const { store, hasher, signer, events } = fastify
    if (!settings.throttle) fastify.log.warn('LATCHKEY_THROTTLE is false: password guessing is not limited')
    const sealer = createSealer(getSealingKey, getPreviousSealingKey)
    fastify.decorate('auth', createAuth({ store, hasher, signer, sealer, events, clock, settings }))
  },
  { name: 'auth', dependencies: ['store', 'hashing', 'jwt', 'events'] }
)
