import fp from 'fastify-plugin'
import type { Store } from '../src/domain/ports/store.ts'
import { openStore } from '../src/store/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    store: Store
  }
}

/** Opens the database, and closes it with the app. */
export default fp<{ databaseUrl: string }>(
  async (fastify, { databaseUrl }) => {
    const store = await openStore(databaseUrl, fastify.events)
    fastify.decorate('store', store)
    fastify.addHook('onClose', () => store.close())
  },
  { name: 'store', dependencies: ['events'] }
)
