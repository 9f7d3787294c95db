import t from 'tap'
import { build } from '../helper.ts'

const WARNING =
  'X-Forwarded-For is ignored: if the peer is a proxy of this service, add its address to LATCHKEY_TRUSTED_PROXIES'

t.test(
  'X-Forwarded-For from an untrusted peer is warned of once, with the setting that is missing [UA3]',
  async (t) => {
    const warnings = async (env: Record<string, string>) => {
      const lines: string[] = []
      const logger = { level: 'warn', stream: { write: (line: string) => void lines.push(line) } }
      const { app } = await build(t, { env: { LATCHKEY_THROTTLE: 'true', ...env }, logger })
      const send = (headers: Record<string, string>) =>
        app.inject({ url: '/health/live', remoteAddress: '192.0.2.1', headers })
      await send({})
      await send({ 'x-forwarded-for': '' })
      t.strictSame(lines, [])
      for (let i = 0; i < 3; i++)
        t.equal((await send({ 'x-forwarded-for': `203.0.113.${i}, 10.0.0.1` })).statusCode, 200)
      return lines.map((line) => JSON.parse(line)).map(({ level, msg, peer }) => [level, msg, peer])
    }
    t.strictSame(await warnings({}), [[40, WARNING, '192.0.2.1']])
    t.strictSame(await warnings({ LATCHKEY_TRUSTED_PROXIES: 'none' }), [[40, WARNING, '192.0.2.1']])
    t.strictSame(await warnings({ LATCHKEY_TRUSTED_PROXIES: '10.0.0.0/8' }), [[40, WARNING, '192.0.2.1']])
    t.strictSame(await warnings({ LATCHKEY_TRUSTED_PROXIES: '192.0.2.0/24' }), [])
  }
)

t.test('a long X-Forwarded-For is refused before its addresses are read [UA1]', async (t) => {
  const { app } = await build(t, { env: { LATCHKEY_TRUSTED_PROXIES: '::/16,192.0.2.1' } })
  const send = (addresses: number) =>
    app.inject({
      url: '/health/live',
      remoteAddress: '192.0.2.1',
      headers: { 'x-forwarded-for': '::1,'.repeat(addresses) }
    })
  t.equal((await send(128)).statusCode, 200)
  const refused = await send(129)
  t.strictSame(
    [refused.statusCode, refused.headers.connection, refused.json().detail],
    [400, 'close', 'X-Forwarded-For has at most 512 bytes']
  )
})
