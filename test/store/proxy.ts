import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Test } from 'tap'

/** Starts a TCP server on a free port, and returns it with a PostgreSQL URL for it. */
export async function listen(
  t: Test,
  onConnection: (socket: Socket) => void
): Promise<{ server: Server; url: string }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { server, url: `postgres://latchkey:secret@127.0.0.1:${(server.address() as AddressInfo).port}/latchkey` }
}

/** Starts a proxy to a database that can freeze: at once, or as soon as a given text is sent. */
export async function freezable(t: Test, url: string) {
  const { host, hostname, port } = new URL(url)
  let isFrozen = false
  let freezeAt: string | null = null
  const held: (() => void)[] = []
  const { url: proxy } = await listen(t, (client) => {
    const server = connect(Number(port), hostname)
    server.on('error', () => {})
    const forward = (to: Socket, chunk: Buffer) => {
      if (freezeAt !== null && chunk.includes(freezeAt)) isFrozen = true
      if (isFrozen) held.push(() => to.write(chunk))
      else to.write(chunk)
    }
    client.on('data', (chunk) => forward(server, chunk)).on('close', () => server.destroy())
    server.on('data', (chunk) => forward(client, chunk)).on('close', () => client.destroy())
  })
  return {
    url: url.replace(host, new URL(proxy).host),
    freeze(text?: string) {
      if (text === undefined) isFrozen = true
      else freezeAt = text
    },
    thaw() {
      isFrozen = false
      freezeAt = null
      for (const send of held.splice(0)) send()
    }
  }
}
