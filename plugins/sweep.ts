import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Starts the timer that runs a round every minute. An app calls this when it listens. For a mounted app, `src/mount.ts` calls it. */
    startSweeping(): void
  }
}

const INTERVAL_MS = 60_000

/** Removes expired rows once a minute, and rotates the keys when a rotation is due. */
export default fp(
  async (fastify) => {
    const stop = new AbortController()
    let timer: NodeJS.Timeout | undefined
    let round = Promise.resolve()

    /** Runs one round. Logs failures: the next round, in this instance or another, repeats the failed work. */
    async function sweep() {
      await fastify.auth
        .removeExpired(stop.signal)
        .catch((err: unknown) => fastify.log.warn({ err }, 'could not remove expired rows'))
      if (stop.signal.aborted) return
      try {
        const result = await fastify.auth.keys.maintain()
        if (result === 'rotated') fastify.log.info('the keys were rotated')
        if (result === 'postponed')
          fastify.log.warn(
            'a rotation of the keys is due, but the sealing key is being replaced: run "latchkey key reseal" to finish the replacement'
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
