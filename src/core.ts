import { setTimeout as sleep } from 'node:timers/promises'
import fastify, { type FastifyInstance } from 'fastify'
import auth from '../plugins/auth.ts'
import events from '../plugins/events.ts'
import hashing from '../plugins/hashing.ts'
import jwt from '../plugins/jwt.ts'
import store from '../plugins/store.ts'
import type { Clock } from './domain/ports/clock.ts'
import { getPreviousSealingKey, getSealingKey } from './files.ts'
import type { Config } from './settings.ts'

const systemClock: Clock = { now: Date.now, sleep: (span) => sleep(span) }

/** Registers everything below HTTP: database, hashing, signing and the domain. */
export async function registerCore(app: FastifyInstance, config: Config, clock: Clock = systemClock): Promise<void> {
  await app.register(events)
  await app.register(store, config)
  await app.register(hashing, config)
  await app.register(jwt)
  await app.register(auth, {
    settings: config,
    clock,
    getSealingKey: () => getSealingKey(config),
    getPreviousSealingKey: () => getPreviousSealingKey(config)
  })
}

/**
 * Builds the core for a command, without routes and without a log; `close()` closes it. Changes nothing on disk: the database and
 * the sealing key are opened at their first use.
 */
export async function openCore(config: Config): Promise<FastifyInstance> {
  const app = fastify()
  await registerCore(app, config)
  await app.ready()
  return app
}
