import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openLog } from '../src/log.ts'
import { build, PASSWORD } from './helper.ts'

/** Sends each request on a connection of its own to one server, and returns its log. */
async function logOf(requests: string[]): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const fd = openSync(join(directory, 'log'), 'a')
  // Closed after all tests: a request whose caller left still writes to the log after the stop, and the log of the next test could get
  // the number of a closed descriptor.
  t.teardown(() => closeSync(fd))
  const { app } = await build(t, { logger: { level: 'trace', stream: openLog(fd) } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as { port: number }
  for (const bytes of requests) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.end(Buffer.from(bytes, 'latin1'))
    await new Promise((resolve) => socket.resume().on('close', resolve))
  }
  await app.close()
  return readFileSync(join(directory, 'log'), 'utf8')
}

const HOSTILE = '\x7f\x80\x85\x9b31m\x9d0;title\x9c\xff'

t.test(
  'every line of the log is one JSON object of printable characters, with the id of its request [BR6]',
  async (t) => {
    const log = await logOf([
      `GET /${HOSTILE} HTTP/1.1\r\nHost: x\r\nUser-Agent: ${HOSTILE}\r\n\r\n`,
      `GET /%0d%0a%1b[31m HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET /%zz${HOSTILE} HTTP/1.1\r\nHost: x\r\n\r\n`,
      `${HOSTILE}\r\n\r\n`
    ])
    t.notMatch(log, /[^\P{Cc}\n]|[\u2028\u2029]/u)
    const lines = log.trimEnd().split('\n')
    t.ok(lines.length > 5)
    for (const line of lines) {
      const { level, time, msg, req, reqId } = JSON.parse(line)
      t.match({ level, time, msg }, { level: Number, time: Number, msg: String }, line)
      if (req !== undefined) t.match(reqId, /^[0-9a-f]{8}-[0-9a-f-]{27}$/, line)
    }
  }
)

t.test('the log holds no query, header, body or credential, also of a request that is refused [BR6]', async (t) => {
  const form = `grant_type=password&username=alice&password=${PASSWORD.replaceAll(' ', '+')}`
  const type = 'Content-Type: application/x-www-form-urlencoded'
  const basic = Buffer.from(`docs:planted-secret`).toString('base64')
  const log = await logOf([
    `GET /?password=planted-secret HTTP/1.1\r\nHost: x\r\n\r\n`,
    `GET /users/me?access_token=planted-secret HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer planted-secret\r\n\r\n`,
    `GET /%zz?password=planted-secret HTTP/1.1\r\nHost: x\r\n\r\n`,
    `POST /token?password=planted-secret HTTP/1.1\r\nHost: x\r\n${type}\r\nContent-Length: ${form.length}\r\n\r\n${form}`,
    `POST /token HTTP/1.1\r\nHost: x\r\n${type}\r\nContent-Length: ${form.length}\r\n\r\n${form}`,
    `POST /token HTTP/1.1\r\nHost: x\r\n${type}\r\nContent-Length: 99\r\n\r\npassword=planted-secret`,
    `POST /token HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ${basic}\r\n${type}\r\nContent-Length: ${form.length}\r\n\r\n${form}`,
    `POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/planted-secret\r\nContent-Length: 1\r\n\r\nx`,
    `POST /token HTTP/1.1\r\nHost: x\r\nCookie: planted-secret\r\nplanted-secret\r\n\r\n`,
    `GET /token#password=planted-secret HTTP/1.1\r\nHost: x\r\n\r\n`,
    `GET /none#planted-secret?x=1 HTTP/1.1\r\nHost: x\r\n\r\n`,
    ...['%3F', '%23', '%26', '%3B', '%253F', ';', '&', '='].map(
      (mark) => `POST /token${mark}password=planted-secret HTTP/1.1\r\nHost: x\r\n\r\n`
    ),
    `GET /clients/a%3Fpassword=planted-secret HTTP/1.1\r\nHost: x\r\n\r\n`,
    `GET http://alice:planted-secret@x/token HTTP/1.1\r\nHost: x\r\n\r\n`,
    `GET http://planted-secret HTTP/1.1\r\nHost: x\r\n\r\n`,
    `PLANTED-SECRET / HTTP/1.1\r\nHost: x\r\n\r\n`
  ])
  t.match(log, /"path":"\/token"/)
  t.notMatch(log, new RegExp(`planted-secret|${PASSWORD.split(' ')[1]}|${basic}|eyJ`, 'i'))
})

t.test('a body that its sender aborts is no failure of the service, and no stack is in the log', async (t) => {
  const json = 'Content-Type: application/json'
  const form = 'Content-Type: application/x-www-form-urlencoded'
  const log = await logOf([
    `POST /token HTTP/1.1\r\nHost: x\r\n${form}\r\nContent-Length: 99\r\n\r\ngrant_type=`,
    `POST /revoke HTTP/1.1\r\nHost: x\r\n${form}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ntoken\r\n`,
    `POST /token HTTP/1.1\r\nHost: x\r\n${form}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
    `POST /users HTTP/1.1\r\nHost: x\r\n${json}\r\nContent-Length: 99\r\n\r\n{`,
    `DELETE /users/me HTTP/1.1\r\nHost: x\r\n${json}\r\nContent-Length: 99\r\n\r\n{`
  ])
  const lines = log
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.strictSame(
    lines.filter(({ level, err, msg }) => (level >= 40 && !msg.startsWith('LATCHKEY_THROTTLE')) || err !== undefined),
    []
  )
})

t.test(
  'the lines of the last turn are written before the process exits, to a file and to another process',
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'latchkey-'))
    t.teardown(() => rmSync(directory, { recursive: true }))
    const path = join(directory, 'log')
    const fd = openSync(path, 'a')
    t.teardown(() => closeSync(fd))
    const program = `import { openLog } from './src/log.ts'
    const log = openLog()
    log.write('first\\n')
    log.write('last\\n')
    process.exit(3)`
    const run = (stdout: number | 'pipe') =>
      spawnSync(process.execPath, ['--input-type=module', '--eval', program], { stdio: ['ignore', stdout, 'inherit'] })
    t.match(run('pipe'), { status: 3, stdout: Buffer.from('first\nlast\n') })
    t.equal(run(fd).status, 3)
    t.equal(readFileSync(path, 'utf8'), 'first\nlast\n')
  }
)
