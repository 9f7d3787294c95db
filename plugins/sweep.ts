import fp from 'fastify-plugin'

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
