import { connect, type Socket } from 'node:net'
import pg from 'pg'
import type { Test } from 'tap'
import { listen } from './proxy.ts'

/** The startup parameters that PgBouncer accepts by default; it refuses every other. */
const ACCEPTED = [
  ...['user', 'database', 'application_name', 'client_encoding', 'datestyle', 'timezone'],
  'standard_conforming_strings'
]
/** Codes of first messages: a CancelRequest and an SSLRequest. */
const [CANCEL, SSL] = [80877102, 80877103]

/** Statements that change a server connection, which another client can get next. */
const NEEDS_SESSION = /^\s*(listen|prepare|deallocate|discard|set (?!local))|pg_(try_)?advisory_(lock|unlock)/i

interface ServerConnection {
  socket: Socket
  processId: number
  secret: number
  holder: Socket | null
}

function message(type: string, body: Buffer | string): Buffer {
  const head = Buffer.from(`${type}\0\0\0\0`)
  head.writeUInt32BE(4 + Buffer.byteLength(body), 1)
  return Buffer.concat([head, Buffer.from(body)])
}

function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [index, value] of values.entries()) bytes.writeInt32BE(value | 0, 4 * index)
  return bytes
}

const refusal = (text: string) => message('E', `SFATAL\0VFATAL\0C08P01\0M${text}\0\0`)

/** Calls `handle` with every complete message of a stream. The first message of a client has no type. */
export function eachMessage(
  socket: Socket,
  startsWithType: boolean,
  handle: (bytes: Buffer, type: string) => void
): void {
  let pending: Buffer = Buffer.alloc(0)
  let hasType = startsWithType
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    for (;;) {
      const offset = hasType ? 1 : 0
      if (pending.length < offset + 4) return
      const length = offset + pending.readUInt32BE(offset)
      if (pending.length < length) return
      const bytes = pending.subarray(0, length)
      pending = pending.subarray(length)
      const type = hasType ? String.fromCharCode(bytes[0] as number) : ''
      // After a request for TLS comes the real first message.
      if (!hasType && bytes.readUInt32BE(4) !== SSL) hasType = true
      handle(bytes, type)
    }
  })
}

/**
 * Starts a stand-in for PgBouncer with `pool_mode = transaction`: refuses the startup parameters that PgBouncer refuses, and gives each
 * transaction the server connection that was used least recently.
 * @returns its URL, and in `wrong` the statements that do not work with PgBouncer; the list must stay empty
 */
export async function startPooler(t: Test, url: string, count = 4): Promise<{ url: string; wrong: string[] }> {
  const wrong: string[] = []
  /** The messages of clients that wait for a server connection, in the order of the clients. */
  const waiting = new Map<Socket, Buffer[]>()
  const servers: ServerConnection[] = []

  function serveNext(): void {
    const free = servers.find(({ holder }) => holder === null)
    const [next] = waiting
    if (free === undefined || next === undefined) return
    const [client, messages] = next
    waiting.delete(client)
    free.holder = client
    for (const each of messages) free.socket.write(each)
  }

  async function openServer(): Promise<void> {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    await client.connect()
    const { connection, processID, secretKey } = client as unknown as {
      connection: { stream: Socket }
      processID: number
      secretKey: number
    }
    const socket = connection.stream.removeAllListeners('data')
    t.teardown(() => socket.destroy())
    const server: ServerConnection = { socket, processId: processID, secret: secretKey, holder: null }
    eachMessage(socket, true, (bytes, type) => {
      server.holder?.write(bytes)
      if (type !== 'Z' || bytes[5] !== 'I'.charCodeAt(0)) return
      server.holder = null
      servers.push(...servers.splice(servers.indexOf(server), 1))
      serveNext()
    })
    servers.push(server)
  }
  for (let index = 0; index < count; index++) await openServer()

  function forward(client: Socket, bytes: Buffer): void {
    const held = servers.find(({ holder }) => holder === client)
    if (held !== undefined) return void held.socket.write(bytes)
    waiting.set(client, [...(waiting.get(client) ?? []), bytes])
    serveNext()
  }

  function start(client: Socket, id: number, bytes: Buffer): void {
    const code = bytes.readUInt32BE(4)
    if (code === SSL) return void client.write('N')
    if (code === CANCEL) {
      const held = servers.find(({ holder }) => holder !== null && clients.get(holder) === bytes.readUInt32BE(8))
      if (held === undefined) return void client.end()
      const { port, hostname } = new URL(url)
      const request = connect(Number(port), hostname)
      request.on('error', () => {}).on('close', () => client.end())
      request.end(uint32(16, CANCEL, held.processId, held.secret))
      return
    }
    const names = bytes
      .subarray(8)
      .toString()
      .split('\0')
      .filter((_text, index) => index % 2 === 0)
    const refused = names.find((name) => name !== '' && !ACCEPTED.includes(name))
    if (refused !== undefined) return void client.end(refusal(`unsupported startup parameter: ${refused}`))
    client.write(Buffer.concat([message('R', uint32(0)), message('K', uint32(id, id)), message('Z', 'I')]))
  }

  const clients = new Map<Socket, number>()
  const { url: own } = await listen(t, (client) => {
    const id = clients.size + 1
    clients.set(client, id)
    eachMessage(client, false, (bytes, type) => {
      if (type === '') return start(client, id, bytes)
      if (type === 'X') return void client.end()
      const text = bytes.subarray(5).toString()
      // A message `Q` is a statement; in a message `P` the name of the prepared statement comes first.
      const statement = type === 'P' ? text.slice(text.indexOf('\0') + 1) : text
      if (['P', 'Q'].includes(type) && NEEDS_SESSION.test(statement)) wrong.push(text)
      forward(client, bytes)
    })
    // As PgBouncer, which closes the server connection of a client that leaves in the middle of a statement.
    client.on('close', () => {
      waiting.delete(client)
      const held = servers.find(({ holder }) => holder === client)
      if (held === undefined) return
      servers.splice(servers.indexOf(held), 1)
      held.socket.destroy()
      void openServer().then(serveNext)
    })
  })
  return { url: url.replace(new URL(url).host, new URL(own).host), wrong }
}
