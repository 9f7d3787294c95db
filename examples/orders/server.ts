import { buildApp } from './app.ts'

const { ISSUER = 'http://localhost:3000', AUDIENCE = 'http://localhost:4000' } = process.env
const { HOST = 'localhost', PORT = '4000', INTERNAL_URL } = process.env
const { CLIENT_ID = 'orders-api', CLIENT_SECRET = '' } = process.env

const app = await buildApp(
  {
    issuer: ISSUER,
    audience: AUDIENCE,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    ...(INTERNAL_URL === undefined ? {} : { internalUrl: INTERNAL_URL })
  },
  { logger: true }
)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close())
await app.listen({ host: HOST, port: Number(PORT) })
