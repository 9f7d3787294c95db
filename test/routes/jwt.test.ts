import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { accepted, alive, answer, answers, decode, INVALID_TOKEN } from '../forge.ts'
import { forgeriesFor } from '../forged/app.ts'
import { oneOfEach } from '../forged/index.ts'
import { build } from '../helper.ts'
import { sql } from '../sql.ts'

const world = await build(t)
const { app, clock, env, get, login } = world
const valid = await login('admin', 'profile users:read')
const { forge, attacker, forged, accepted: validTokens, withKeyInHeader } = await forgeriesFor(world, valid)
const { token } = forge
const { kid } = forge.header

t.test('valid tokens that are made like the forged ones are accepted [JW1 to JW12]', async (t) => {
  for (const each of validTokens) await accepted(t, world, each)
})

t.ok(forged.length > 400)
for (const [id, tokens] of Map.groupBy(forged, ({ id }) => id))
  t.test(`every forged token is refused [${id}]`, async (t) => {
    for (const { name, token } of tokens) t.strictSame(answer(await get('/users/me', token)), INVALID_TOKEN, name)
  })

for (const { id, name, token } of oneOfEach(forged))
  t.test(`every guarded operation refuses a forged token: ${name} [${id}]`, (t) =>
    answers(t, world, token, INVALID_TOKEN)
  )

t.test('a kid that is not a thumbprint never reaches the database [JW4]', async (t) => {
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
  // The three that have the form of a thumbprint.
  t.strictSame(asked, [kid.toUpperCase(), 'A'.repeat(43), '_'.repeat(43)])
})

t.test('a key or the URL of keys in the header is refused, and the URL is not requested [JW5]', async (t) => {
  let calls = 0
  const server = createServer((_request, response) => {
    calls++
    response.end(JSON.stringify({ keys: [{ ...attacker.export({ format: 'jwk' }), kid }] }))
  })
  server.on('connection', () => calls++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  for (const { name, token } of withKeyInHeader(`http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`))
    t.strictSame(answer(await get('/users/me', token)), INVALID_TOKEN, name)
  t.equal(calls, 0)
})

t.test('a token with the mirrored signature, which ECDSA accepts too, ends with its session [JW11]', async (t) => {
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
})

t.test('a token of 10240 characters is accepted, one of 10241 is refused [JW12]', async (t) => {
  const long = (length: number): string => token({}, { x: 'x'.repeat(length) })
  let size = 5000
  while (long(size + 1).length <= 10_240) size++
  t.ok(long(size).length > 10_237)
  await accepted(t, world, long(size))
  await answers(t, world, long(size + 1), INVALID_TOKEN)
})

t.test('a header that is too large for the parser of Node.js is 431 [JW12]', async (t) => {
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

t.test('after all forged tokens the service is ready and the valid token is accepted [JW12]', async (t) => {
  await accepted(t, world, valid)
  await alive(t, world)
})
