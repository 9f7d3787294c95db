import { buildApp } from './app.ts'

const { ISSUER = 'http://localhost:3000', AUDIENCE = 'http://localhost:4000', PORT = '4000' } = process.env
const { CLIENT_ID = 'orders-api', CLIENT_SECRET = '' } = process.env

const app = await buildApp(
  { issuer: ISSUER, audience: AUDIENCE, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET },
  { logger: true }
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close())
await app.listen({ port: Number(PORT) })
