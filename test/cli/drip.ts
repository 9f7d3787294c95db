import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** How slow clients begin: not at all, with headers that never end, with a body that never ends. */
export const BEGINNINGS = {
  silence: '',
  headers: 'GET /users/me HTTP/1.1\r\nHost: x\r\nX-Drip: ',
  body: 'POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10000\r\n\r\n'
}

/** Sends the beginning, and unless it is empty a byte every half second after it, until the server closes the connection. @returns the milliseconds until then */
export async function drip(port: number, beginning: string): Promise<number> {
  const start = performance.now()
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  socket.write(beginning)
  const drops = setInterval(() => beginning !== '' && socket.write('x'), 500)
  await new Promise((resolve) => socket.once('close', resolve)) // also after an error
  clearInterval(drops)
  return performance.now() - start
}

/** Requests a large file 16 times and reads nothing for `late` milliseconds. @returns how many bytes it could read after that */
export async function readLate(port: number, late: number): Promise<number> {
  const socket = connect(port, '127.0.0.1')
  let bytes = 0
  socket.on('error', () => {})
  socket.pause()
  socket.write('GET /docs/static/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(16))
  await sleep(late)
  socket.on('data', (chunk) => {
    bytes += chunk.length
  })
  socket.resume()
  await Promise.race([once(socket, 'close'), sleep(20_000, undefined, { ref: false })])
  socket.destroy()
  return bytes
}
