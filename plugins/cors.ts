import fastifyCors from '@fastify/cors'
import fp from 'fastify-plugin'

/** Lets browser apps of the listed origins call the routes of a scope; never with cookies. */
export default fp<{ origins: string[] }>(
  async (fastify, { origins }) => {
    if (origins.length === 0) return
    await fastify.register(fastifyCors, {
      origin: origins,
      methods: ['GET', 'POST'],
      allowedHeaders: ['Authorization', 'Content-Type'],
      maxAge: 600
    })
  },
  { name: 'cors' }
)
