import fp from 'fastify-plugin'

const EVERY_MS = 60_000

/** Removes what has expired, once a minute, while the service listens. */
export default fp(
  async (fastify) => {
    const stop = new AbortController()
    let timer: NodeJS.Timeout | undefined
    let round = Promise.resolve()

    async function sweep() {
      try {
        await fastify.auth.sweep(stop.signal)
      } catch (err) {
        // What is left, the next round takes, here or in another instance.
        fastify.log.warn({ err }, 'could not remove what has expired')
      }
    }

    fastify.addHook('onListen', async () => {
      timer = setInterval(() => {
        round = round.then(sweep)
      }, EVERY_MS).unref()
    })
    fastify.addHook('preClose', async () => {
      clearInterval(timer)
      stop.abort()
      await round
    })
  },
  { name: 'sweep', dependencies: ['auth'] }
)
