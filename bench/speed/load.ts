import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** One kind of request that every connection repeats. */
export interface Work {
  connections: number
  /** Returns the next request of a connection as bytes on the wire, or null when the connection has no more. */
  next(connection: number): string | null
  /** Reads the body of a response, for requests that depend on the previous response of the connection. */
  read?(connection: number, body: string): void
  /** Returns the status that the last request of a connection must get. Without it the status must be 200. */
  expected?(connection: number): number
}

export interface Rate {
  requests: number
  seconds: number
  /** Milliseconds of each request. Only recorded on demand. */
  times: number[]
}

const STATUS_AT = 'HTTP/1.1 '.length
const HEAD_END = Buffer.from('\r\n\r\n')

/** Returns an HTTP request as text. A body is form-encoded. */
export function request(
  target: string,
  { method = 'GET', headers = {}, form }: { method?: string; headers?: Record<string, string>; form?: object } = {}
): string {
  const body = form === undefined ? '' : new URLSearchParams(form as Record<string, string>).toString()
  const all: Record<string, string> = { host: 'localhost', ...headers }
  if (form !== undefined)
    Object.assign(all, { 'content-type': 'application/x-www-form-urlencoded', 'content-length': String(body.length) })
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}

/**
 * Calls `answered` with every complete response that a socket receives, and with whether the server closes the connection then. A status
 * other than the expected one is an uncaught exception, which ends the process.
 */
function receive(
  socket: Socket,
  expected: () => number,
  answered: (body: () => string, isLast: boolean) => void
): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const bodyAt = rest.indexOf(HEAD_END) + HEAD_END.length
    if (bodyAt < HEAD_END.length) return
    const head = rest.toString('latin1', 0, bodyAt)
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN)
    if (Number(head.slice(STATUS_AT, STATUS_AT + 3)) !== expected() || Number.isNaN(length))
      throw new Error(`unexpected response: ${rest}`)
    if (rest.length < bodyAt + length) return
    const complete = rest
    rest = Buffer.alloc(0)
    answered(() => complete.toString('utf8', bodyAt, bodyAt + length), /\r\nconnection: close/i.test(head))
  })
}

/**
 * Repeats requests over keep-alive connections until the time ends or no request is left. Never sleeps meanwhile: a load generator that
 * sleeps must be woken by the server, which costs the server CPU time.
 */
export async function load(
  port: number,
  work: Work,
  { seconds, recordsTimes = false }: { seconds: number; recordsTimes?: boolean }
): Promise<Rate> {
  const started = performance.now()
  const until = started + seconds * 1000
  let isOver = false
  const spin = () => {
    if (!isOver) setImmediate(spin)
  }
  spin()
  let requests = 0
  const times: number[] = []
  /** Sends requests over one connection. Returns whether the server has closed it before the end. */
  async function send(connection: number): Promise<boolean> {
    const socket = connect(port, '127.0.0.1').setNoDelay()
    let sent = 0
    let isClosed = false
    const sendNext = () => {
      const text = performance.now() < until ? work.next(connection) : null
      sent = performance.now()
      if (text === null) socket.end()
      else socket.write(text, 'latin1')
    }
    const expected = () => work.expected?.(connection) ?? 200
    receive(socket, expected, (body, isLast) => {
      requests++
      if (recordsTimes) times.push(performance.now() - sent)
      work.read?.(connection, body())
      isClosed = isLast
      if (isLast) socket.end()
      else sendNext()
    })
    await once(socket, 'connect')
    sendNext()
    await once(socket, 'close')
    return isClosed
  }
  const caller = async (connection: number) => {
    while (await send(connection)) {}
  }
  try {
    await Promise.all(Array.from({ length: work.connections }, (_, connection) => caller(connection)))
  } finally {
    isOver = true
  }
  return { requests, seconds: (performance.now() - started) / 1000, times }
}

/** Sends one request and returns the body of its response. */
export async function ask(port: number, text: string): Promise<string> {
  let body = ''
  let left: string | null = text
  await load(
    port,
    {
      connections: 1,
      next() {
        const next = left
        left = null
        return next
      },
      read: (_, received) => void (body = received)
    },
    { seconds: 60 }
  )
  return body
}
