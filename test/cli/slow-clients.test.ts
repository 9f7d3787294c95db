import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { Agent } from 'node:http'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createDatabase, environment, PASSWORD } from '../helper.ts'
import { BEGINNINGS, drip, readLate } from './drip.ts'
import { ask, freePort, login, me, serve } from './process.ts'

/** How many clients drip in each way. */
const DRIPS = process.env.LATCHKEY_ROUNDS === undefined ? 10 : 300
/** Milliseconds after which an answer that nobody reads has been given up. */
const GIVEN_UP = 17_500
/** A lower bound of the bytes of the file that `readLate` requests sixteen times. */
const FILE_BYTES_MIN = 1_400_000

const settings = async (t: Test) => environment(await createDatabase(t, 'sqlite', 'ready'))

/** Writes more lines to the log than a pipe and the memory kept for them hold, then stops the server. */
async function flood(t: Test, sink: 'a pipe that nobody reads' | 'a pipe whose reader is gone' | 'a full disk') {
  const port = await freePort()
  const env = { ...(await settings(t)), LATCHKEY_LOG_LEVEL: 'trace', LATCHKEY_PORT: String(port) }
  const { PATH, NODE_COMPILE_CACHE } = process.env
  const child = spawn(process.execPath, ['src/cli.ts', 'serve'], {
    env: { PATH, NODE_COMPILE_CACHE, ...env },
    stdio: ['ignore', sink === 'a full disk' ? openSync('/dev/full', 'w') : 'pipe', 'pipe']
  })
  t.teardown(() => child.kill('SIGKILL'))
  child.stdout?.pause()
  for (let greeting = ''; !greeting.endsWith('\n\n'); )
    greeting += String((await once(child.stderr as NodeJS.ReadableStream, 'data'))[0])
  if (sink === 'a pipe whose reader is gone') child.stdout?.destroy()
  const origin = `http://localhost:${port}`
  const token = await login(origin, 'alice', PASSWORD)
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  const headers = { authorization: `Bearer ${token}` }
  const path = `/users/me/${'x'.repeat(7500)}`
  await Promise.all(Array.from({ length: 200 }, () => ask(agent, origin + path, headers)))
  t.equal((await me(origin, token)).status, 200, sink)
  agent.destroy()
  child.kill('SIGTERM')
  t.equal((await once(child, 'exit'))[0], 0, sink)
}

t.test('connections of slow and greedy clients are closed, and other clients are served', async (t) => {
  const server = await serve(t, await settings(t))
  const port = Number(new URL(server.origin).port)
  const bytes = readLate(port, GIVEN_UP)
  const closed = Object.values(BEGINNINGS).flatMap((beginning) =>
    Array.from({ length: DRIPS }, () => drip(port, beginning))
  )
  const token = await login(server.origin, 'alice', PASSWORD)
  t.equal((await me(server.origin, token)).status, 200, 'beside those that are slow')

  await t.test('a log that nobody reads stops neither the service nor its shutdown [F7]', async (t) => {
    for (const sink of ['a pipe that nobody reads', 'a pipe whose reader is gone', 'a full disk'] as const)
      await flood(t, sink)
  })

  await t.test('a connection is closed after a thousand requests [HT9]', async (t) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const sockets = new Map<Socket, number>()
    agent.on('free', (socket: Socket) => sockets.set(socket, (sockets.get(socket) ?? 0) + 1))
    for (let sent = 0; sent < 1001; sent++)
      if ((await ask(agent, `${server.origin}/health/live`, {})) !== 'ok') t.fail(`request ${sent}`)
    t.equal(sockets.size, 2)
    agent.destroy()
  })

  await t.test('of a thousand pipelined requests of one connection sixteen are answered [HT9]', async (t) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.on('error', () => {})
    socket.on('data', (chunk) => (text += chunk))
    socket.write('GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(1000))
    await once(socket, 'close')
    t.strictSame(text.match(/(?<=HTTP\/1\.1 )\d+/g), [...Array(16).fill('200'), '400'])
    t.match(text, /connection: close/i)
  })

  await t.test('connections with slow headers, slow bodies or unread answers are closed [HT7]', async (t) => {
    await Promise.all(closed)
    const read = await bytes
    t.ok(read < 16 * FILE_BYTES_MIN, `${read} bytes were sent to one who did not read`)
  })
  t.equal((await me(server.origin, token)).status, 200)
})
