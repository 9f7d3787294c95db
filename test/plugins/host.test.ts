import t from 'tap'
import { build } from '../helper.ts'
import { asProblem, refusal, sendBytes } from '../http.ts'
import { compareAll } from '../rows.ts'

const EVIL = ['evil.example', 'evil.example:3000', 'localhost.evil.example', '127.0.0.1.evil.example', 'evil.local']
const LOCAL = [
  'localhost:3000',
  'localhost',
  'auth.localhost:8080',
  '127.0.0.1',
  '127.0.0.1:1',
  '[::1]:3000',
  // A probe uses the address of the container, another container its name.
  '10.1.2.3:3000',
  '[fd00::1]:3000',
  'latchkey:3000',
  'host.docker.internal:3000'
]
const detailFor = (issuer: string) =>
  `The service does not have this host name: use ${issuer}, or set LATCHKEY_ISSUER to the URL that callers use`

t.test(
  'with a loopback issuer, a request for a host that an attacker can own is refused (DNS rebinding) [HT10]',
  async (t) => {
    const lines: { msg: string; host?: string }[] = []
    const { inject, token } = await build(t, {
      logger: { level: 'info', stream: { write: (line) => void lines.push(JSON.parse(line)) } }
    })
    const refused = asProblem(400, detailFor('http://localhost:3000'))
    await compareAll(t, async (row) => {
      for (const host of EVIL) {
        for (const url of ['/', '/health/live', '/users/me', '/docs/', '/no-such-path'])
          row(`${host}${url}`, refusal(await inject({ url, headers: { host } })), refused)
        const { statusCode, body } = await token({ grant_type: 'password' }, { host })
        row(
          `${host}/token`,
          [statusCode, JSON.parse(body)],
          [400, { error: 'invalid_request', error_description: detailFor('http://localhost:3000') }]
        )
      }
      for (const host of LOCAL) row(host, (await inject({ url: '/health/live', headers: { host } })).statusCode, 200)
    })
    t.match(
      lines.find(({ msg }) => msg === 'the host of the request is not a host of the issuer'),
      { host: 'evil.example' }
    )
  }
)

t.test('with a loopback issuer, a Host that no URL can have is refused, and HTTP/1.0 needs none [HT10]', async (t) => {
  const { app } = await build(t)
  const statusOf = async (bytes: string) => (await sendBytes(app, bytes)).status
  for (const host of ['localhost:99999', 'a b', '%', '', 'evil.example/@localhost'])
    t.equal(await statusOf(`GET /health/live HTTP/1.1\r\nHost: ${host}\r\n\r\n`), 400, host)
  t.equal(await statusOf('GET /health/live HTTP/1.0\r\n\r\n'), 200)
  t.equal(await statusOf('GET /health/live HTTP/1.1\r\nHost: [::1]:80\r\n\r\n'), 200)
})

t.test('with an issuer on another host every Host is accepted, because a proxy may set it', async (t) => {
  const { inject } = await build(t, {
    env: { LATCHKEY_ISSUER: 'http://id.example.com', LATCHKEY_INSECURE_HTTP: 'true' }
  })
  for (const host of [...EVIL, ...LOCAL, 'id.example.com'])
    t.equal((await inject({ url: '/health/live', headers: { host } })).statusCode, 200, host)
})
