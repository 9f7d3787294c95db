import fastify from 'fastify'
import guard from '../../src/guard/index.ts'

/**
 * A service with a guard, as a process of its own: started by `startServices`. It asks for the issuer's things at `upstream`,
 * where another instance of it may be; a message cuts it off from there, or puts it back.
 */
const settings = JSON.parse(process.argv[2] as string) as {
  issuer: string
  upstream: string
  audience: string
  clientId: string
  clientSecret: string
  staleAfter: number
  /** What its route asks for. */
  scope: string
}
const { upstream, scope, ...options } = settings
let isCut = false
const cuts = new Set<() => void>()

/** Nobody answers, and nobody says that nobody will. */
const silence = (signal?: AbortSignal | null) =>
  new Promise<never>((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))

process.on('message', (message) => {
  isCut = message === 'cut'
  if (isCut) for (const cut of cuts) cut()
})

async function reachable(input: string | URL | Request, init?: RequestInit): Promise<Response> {
  if (isCut) return silence(init?.signal)
  let cut = () => {}
  const whenCut = new Promise<void>((resolve) => {
    cut = resolve
  }).then(() => silence(init?.signal))
  cuts.add(cut)
  try {
    const response = await Promise.race([whenCut, fetch(String(input).replace(options.issuer, upstream), init)])
    // Nobody was redirected.
    return new Response(response.body, response)
  } finally {
    cuts.delete(cut)
  }
}

const app = fastify({ logger: { level: 'warn' }, forceCloseConnections: true })
await app.register(guard, { ...options, fetch: reachable })
app.get('/orders', { preHandler: app.requireScope(scope) }, async ({ principal }) => ({ sub: principal.sub }))
app.get('/status', { preHandler: app.publicAccess }, async () => app.guard.status())
await app.listen({ host: '127.0.0.1', port: 0 })
process.send?.(app.listeningOrigin)
process.on('disconnect', () => process.exit())
