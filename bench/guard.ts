import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fastify from 'fastify'
import guard from '../src/guard/index.ts'
import { createTestAuth } from '../src/testing/index.ts'

/**
 * Measures the cost of the guard: the requests per second with a token that was seen before, beside those of the same server without guard,
 * in turns, each run in a process of its own. Then measures the memory that many different tokens need.
 *
 *     node bench/guard.ts [runs, 7] [seconds of each, 3] [different tokens, 1000000]
 */
const [runs = 7, seconds = 3, tokens = 1_000_000] = process.argv.slice(2, 5).map(Number)
const role = process.argv[5]

const SERVERS = ['bare', 'guarded'] as const
const CONNECTIONS = 16

async function service(isGuarded: boolean) {
  // Also without the guard, so that the two processes differ in nothing else.
  const auth = await createTestAuth()
  const app = fastify()
  if (isGuarded) await app.register(guard, auth.guardOptions)
  app.get('/orders', isGuarded ? { preHandler: app.requireScope('orders:read') } : {}, async () => ({ orders: [] }))
  return { app, auth, tokenFor: () => auth.tokenFor({ sub: 'alice', scopes: ['orders:read'], roles: ['clerk'] }) }
}

/** Runs a server until the parent process disconnects. */
async function serve(isGuarded: boolean): Promise<void> {
  const { app, tokenFor } = await service(isGuarded)
  await app.listen({ host: '127.0.0.1', port: 0 })
  process.send?.({ port: Number(new URL(app.listeningOrigin).port), token: await tokenFor() })
  process.on('disconnect', () => process.exit())
}

/** Returns the responses per second of a server. All responses must have the same length. */
async function load({ port, token }: { port: number; token: string }, seconds: number): Promise<number> {
  const request = `GET /orders HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n\r\n`
  const until = performance.now() + seconds * 1000
  let answers = 0
  // A caller that sleeps must be woken by the server, at a price that depends on how busy the caller is.
  let isAwake = true
  const stayAwake = () => {
    if (isAwake) setImmediate(stayAwake)
  }
  stayAwake()
  async function caller(): Promise<void> {
    const socket = connect(port, '127.0.0.1')
    socket.write(request)
    const [first] = (await once(socket, 'data')) as [Buffer]
    if (!first.toString().startsWith('HTTP/1.1 200')) throw new Error(first.toString())
    let missing = 0
    const next = () => {
      missing = first.length
      socket.write(request)
    }
    socket.on('data', (chunk) => {
      missing -= chunk.length
      if (missing > 0) return
      answers++
      if (performance.now() < until) next()
      else socket.end()
    })
    next()
    await once(socket, 'close')
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, caller))
  isAwake = false
  return answers / seconds
}

const median = (numbers: number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] as number
const print = (line: string) => process.stdout.write(`${line}\n`)

/** Measures a server in a new process: two processes with the same code differ in speed, so the median of several runs counts. */
async function run(name: string): Promise<number> {
  const child = fork(import.meta.filename, ['0', '0', '0', name])
  const [address] = (await once(child, 'message')) as [{ port: number; token: string }]
  await load(address, 1)
  const rate = await load(address, seconds)
  child.disconnect()
  await once(child, 'exit')
  return rate
}

async function speed(): Promise<void> {
  const rates: Record<string, number[]> = { bare: [], guarded: [] }
  for (let round = 0; round < runs; round++) for (const name of SERVERS) rates[name]?.push(await run(name))
  const [bare, guarded] = SERVERS.map((name) => median(rates[name] as number[])) as [number, number]
  for (const name of SERVERS) print(`${name}: ${rates[name]?.map((rate) => Math.round(rate)).join(' ')} requests/s`)
  print(`median ${Math.round(bare)} without guard, ${Math.round(guarded)} with: ${(guarded / bare).toFixed(2)}`)
}

/** Uses each token once, in a process with a heap of 256 MB. */
async function memory(): Promise<void> {
  const { app, auth, tokenFor } = await service(true)
  await app.ready()
  for (let count = 1; count <= tokens; count++) {
    const { statusCode } = await app.inject({
      url: '/orders',
      headers: { authorization: `Bearer ${await tokenFor()}` }
    })
    if (statusCode !== 200) throw new Error(String(statusCode))
    if (count % 100 === 0) await sleep(0)
    if (count % Math.ceil(tokens / 10) !== 0) continue
    globalThis.gc?.()
    const { heapUsed, rss } = process.memoryUsage()
    print(
      `${count} tokens: heap ${Math.round(heapUsed / 2 ** 20)} MB, resident ${Math.round(rss / 2 ** 20)} MB, ${app.guard.status().tokens} remembered`
    )
  }
  await app.close()
  await auth.close()
}

if (role === 'memory') await memory()
else if (role !== undefined) await serve(role === 'guarded')
else {
  await speed()
  const child = fork(import.meta.filename, ['0', '0', String(tokens), 'memory'], {
    execArgv: ['--expose-gc', '--max-old-space-size=256']
  })
  await once(child, 'exit')
}
