import fp from 'fastify-plugin'
import type { Store } from '../src/domain/ports.ts'
import { openStore } from '../src/store/index.ts'

declare module 'fastify' {
  interface FastifyInstance {
    store: Store
  }
}

/** The database, open for as long as the app is. */
export default fp<{ databaseUrl: string }>(
  async (fastify, { databaseUrl }) => {
    const store = openStore(databaseUrl)
    fastify.decorate('store', store)
    fastify.addHook('onClose', () => store.close())
  },
  { name: 'store' }
)
