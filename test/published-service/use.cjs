const issuer = require('./issuer.cjs')

/** Prints what a guarded route responds to a valid token, a token of the token client, and the status for an invalid token. */
module.exports = async (fastify, guard, createTokenClient) => {
  const app = fastify()
  await app.register(guard, issuer.guardOptions)
  app.get('/', { preHandler: app.requireScope('orders:read') }, async ({ principal }) => principal.sub)
  const ask = (token) => app.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })
  const client = createTokenClient(issuer.clientOptions)
  const printed = [(await ask(issuer.token())).body, await client.token(), (await ask('x')).statusCode]
  process.stdout.write(`${printed.join(' ')}\n`)
  client.close()
  await app.close()
}
