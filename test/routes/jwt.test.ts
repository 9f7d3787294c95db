import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { accepted, alive, answers, decode, guarded, INVALID_TOKEN } from '../forge.ts'
import { forgeries } from '../forged.ts'
import { build } from '../helper.ts'
import { sql } from '../sql.ts'

const world = await build(t)
const { app, clock, env, get, login } = world
const good = await login('admin', 'profile users:read')
const { forge, attacker, forged, accepted: fine, byReference } = await forgeries(world, good)
const { token } = forge
const { kid } = forge.header

t.test('what these tests forge is accepted when nothing about it is wrong [JW1 to JW12]', async (t) => {
  for (const each of fine) await accepted(t, world, each)
})

/**
 * Returns three guarded operations, other ones for each token; all of them in a long run. The same guard stands before all operations:
 * test/routes/access.test.ts promises that.
 */
function someOperations(index: number) {
  const all = guarded()
  if (process.env.LATCHKEY_ROUNDS !== undefined) return all
  return [0, 1, 2].map((number) => all[(3 * index + number) % all.length] as (typeof all)[number])
}

t.ok(forged.length > 400)
for (const [index, { id, name, token }] of forged.entries())
  t.test(`refused: ${name} [${id}]`, (t) => answers(t, world, token, INVALID_TOKEN, someOperations(index)))

t.test('a kid that is no thumbprint never reaches the database [JW4]', async (t) => {
  const { keys } = app.store
  const { find } = keys
  const asked: string[] = []
  keys.find = (wanted) => {
    asked.push(wanted)
    return find(wanted)
  }
  for (const { id, name, token } of forged)
    if (id === 'JW4' && name.startsWith('a kid that is')) await get('/users/me', token)
  keys.find = find
  // The three of the right form, which a look-up by primary key does not find.
  t.strictSame(asked, [kid.toUpperCase(), 'A'.repeat(43), '_'.repeat(43)])
})

t.test('a key or the address of one in the header is refused, and nobody is called [JW5]', async (t) => {
  let calls = 0
  const server = createServer((_request, response) => {
    calls++
    response.end(JSON.stringify({ keys: [{ ...attacker.export({ format: 'jwk' }), kid }] }))
  })
  server.on('connection', () => calls++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  for (const { name, token } of byReference(`http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`))
    await t.test(`refused: ${name}`, (t) => answers(t, world, token, INVALID_TOKEN))
  t.equal(calls, 0)
})

t.test(
  'the mirrored signature, which ECDSA cannot tell apart, is no way around the end of the session [JW11]',
  async (t) => {
    const session = await login('admin', 'profile users:read')
    const [first, second = '', third = ''] = session.split('.')
    const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
    const bytes = Buffer.from(third, 'base64url')
    const s = ORDER - BigInt(`0x${bytes.subarray(32).toString('hex')}`)
    const mirrored = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')])
    const twin = `${first}.${second}.${mirrored.toString('base64url')}`
    t.not(twin, session)
    const before = await get('/users/me', twin)
    t.ok([200, 401].includes(before.statusCode))
    await sql({ env }, `update sessions set ended_at = ${clock.now()} where id = '${decode(second).sid}'`)
    await answers(t, world, session, INVALID_TOKEN)
    await answers(t, world, twin, INVALID_TOKEN)
  }
)

t.test('a token of 8192 characters is good, one of 8193 is not [JW12]', async (t) => {
  const long = (length: number): string => token({}, { x: 'x'.repeat(length) })
  let size = 5000
  while (long(size + 1).length <= 8192) size++
  t.ok(long(size).length > 8189)
  await accepted(t, world, long(size))
  await answers(t, world, long(size + 1), INVALID_TOKEN)
})

t.test('a header that Node’s parser cannot hold is 431 [JW12]', async (t) => {
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const response = await fetch(`${address}/users/me`, { headers: { authorization: `Bearer ${'A'.repeat(20_000)}` } })
  t.equal(response.status, 431)
  t.equal(response.headers.get('content-type'), 'application/problem+json; charset=utf-8')
  t.strictSame(await response.json(), {
    type: 'about:blank',
    title: 'Request Header Fields Too Large',
    status: 431,
    detail: 'The headers are too large'
  })
})

t.test('after all of them the service is alive and the good token is still good [JW12]', async (t) => {
  await accepted(t, world, good)
  await alive(t, world)
})
