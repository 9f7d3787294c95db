import { once } from 'node:events'
import { connect } from 'node:net'

/** How slow clients begin: not at all, with headers that never end, with a body that never ends. */
export const BEGINNINGS = {
  silence: '',
  headers: 'GET /users/me HTTP/1.1\r\nHost: x\r\nX-Drip: ',
  body: 'POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10000\r\n\r\n'
}

/** Sends that, and then a byte every half second, for as long as the server lets it. @returns how long that was, in milliseconds */
export async function drip(port: number, beginning: string): Promise<number> {
  const start = performance.now()
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  socket.write(beginning)
  const drops = setInterval(() => beginning !== '' && socket.write('x'), 500)
  await once(socket, 'close')
  clearInterval(drops)
  return performance.now() - start
}
