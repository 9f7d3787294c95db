/** A guarded service in a process of its own. Prints its port as its first line. */
import fastify from 'fastify'
import guard from '../../src/guard/index.ts'

const { ISSUER = '', CLIENT_ID = '', CLIENT_SECRET = '', SCOPE = '', STALE_AFTER } = process.env
const app = fastify()
await app.register(guard, {
  issuer: ISSUER,
  audience: process.env.AUDIENCE ?? ISSUER,
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  staleAfter: Number(STALE_AFTER)
})
app.get('/', { preHandler: app.requireScope(SCOPE) }, async ({ principal }) => ({ sub: principal.sub }))
app.get('/status', { preHandler: app.publicAccess }, async () => ({
  ...app.guard.status(),
  memory: process.memoryUsage().rss
}))
process.stdout.write(`${new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port}\n`)
