import fp from 'fastify-plugin'

const EVERY_MS = 60_000

/** Removes what has expired, once a minute, while the service listens. */
export default fp(
  async (fastify) => {
    let timer: NodeJS.Timeout | undefined
    fastify.addHook('onListen', async () => {
      timer = setInterval(async () => {
        try {
          await fastify.auth.sweep()
        } catch (err) {
          // What is left, the next round takes, here or in another instance.
          fastify.log.warn({ err }, 'could not remove what has expired')
        }
      }, EVERY_MS).unref()
    })
    fastify.addHook('preClose', async () => clearInterval(timer))
  },
  { name: 'sweep', dependencies: ['auth'] }
)
