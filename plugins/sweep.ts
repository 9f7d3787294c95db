import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Starts the rounds of an app that does not listen by itself. Call it once. */
    startSweeping(): void
  }
}

const INTERVAL_MS = 60_000

/** Removes expired rows and rotates the keys when they are due, once a minute while the service listens. */
export default fp(
  async (fastify) => {
    const stop = new AbortController()
    let timer: NodeJS.Timeout | undefined
    let round = Promise.resolve()

    // The next round, here or in another instance, repeats work that failed.
    async function sweep() {
      await fastify.auth
        .removeExpired(stop.signal)
        .catch((err: unknown) => fastify.log.warn({ err }, 'could not remove expired rows'))
      if (stop.signal.aborted) return
      try {
        const done = await fastify.auth.keys.maintain()
        if (done === 'rotated') fastify.log.info('the keys were rotated')
        if (done === 'postponed')
          fastify.log.warn(
            'the keys are due to rotate, but the sealing key is being changed: run "latchkey key reseal" to finish that'
          )
      } catch (err) {
        fastify.log.warn({ err }, 'could not maintain the keys')
      }
    }

    fastify.decorate('startSweeping', () => {
      timer = setInterval(() => {
        round = round.then(sweep)
      }, INTERVAL_MS).unref()
    })
    fastify.addHook('onListen', async () => fastify.startSweeping())
    fastify.addHook('preClose', async () => {
      clearInterval(timer)
      stop.abort()
      await round
    })
  },
  { name: 'sweep', dependencies: ['auth'] }
)
