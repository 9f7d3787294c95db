import { createTokenClient } from 'latchkey-guard/client'
import { work } from './work.ts'

const { ISSUER = 'http://localhost:3000', ORDERS = 'http://localhost:4000', INTERVAL_MS = '1000' } = process.env
const { CLIENT_ID = 'worker', CLIENT_SECRET = '' } = process.env

const client = createTokenClient({
  issuer: ISSUER,
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  resource: ORDERS,
  scope: 'orders:read'
})
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())

const print = (line: string) => void process.stdout.write(`${line}\n`)
await work({ client, url: `${ORDERS}/orders`, intervalMs: Number(INTERVAL_MS), signal: stop.signal, print })
client.close()
