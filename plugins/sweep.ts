import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Once, for an app that another listens for. */
    startSweeping(): void
  }
}

const EVERY_MS = 60_000

/** Removes what has expired and sees to the keys, once a minute, while the service listens. */
export default fp(
  async (fastify) => {
    const stop = new AbortController()
    let timer: NodeJS.Timeout | undefined
    let round = Promise.resolve()

    // What fails, the next round does, here or in another instance.
    async function sweep() {
      await fastify.auth
        .sweep(stop.signal)
        .catch((err: unknown) => fastify.log.warn({ err }, 'could not remove what has expired'))
      if (stop.signal.aborted) return
      try {
        const done = await fastify.auth.keys.tend()
        if (done === 'rotated') fastify.log.info('the keys were rotated')
        if (done === 'postponed')
          fastify.log.warn('the keys are due to rotate, after "latchkey key reseal": the sealing key is being changed')
      } catch (err) {
        fastify.log.warn({ err }, 'could not see to the keys')
      }
    }

    fastify.decorate('startSweeping', () => {
      timer = setInterval(() => {
        round = round.then(sweep)
      }, EVERY_MS).unref()
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
