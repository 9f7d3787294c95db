import fp from 'fastify-plugin'
import { type Auth, createAuth } from '../src/domain/index.ts'
import type { SigningAlg } from '../src/domain/model.ts'
import type { Clock } from '../src/domain/ports.ts'
import { createSealer } from '../src/domain/sealing.ts'

declare module 'fastify' {
  interface FastifyInstance {
    auth: Auth
  }
}

export interface AuthOptions {
  issuer: string
  accessTokenTtl: number
  signingAlg: SigningAlg
  keyRotation: number
  jwksMaxAge: number
  refreshLeeway: number
  passwordMinLength: number
  throttle: boolean
  docs: boolean
  clock: Clock
  /** 32 bytes; asked at the first use. */
  getSealingKey: () => Buffer
  /** Likewise the one before; null when there is none. */
  getPreviousSealingKey: () => Buffer | null
}

/** The rules, put together from the capabilities that the plugins before gave. */
export default fp<AuthOptions>(
  async (fastify, { getSealingKey, getPreviousSealingKey, ...options }) => {
    const { store, hasher, signer } = fastify
    if (!options.throttle) fastify.log.warn('LATCHKEY_THROTTLE is off: passwords can be guessed without limit')
    const sealer = createSealer(getSealingKey, getPreviousSealingKey)
    fastify.decorate('auth', createAuth({ ...options, store, hasher, signer, sealer }))
  },
  { name: 'auth', dependencies: ['store', 'hashing', 'jwt'] }
)
