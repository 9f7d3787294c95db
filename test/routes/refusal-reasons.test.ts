import t from 'tap'
import { answer, createForge, decode, forbidden, INVALID_TOKEN } from '../forge.ts'
import { build, ISSUER } from '../helper.ts'

t.test('Latchkey logs each refusal once with its reason, and the answer shows only a missing right', async (t) => {
  const lines: { level: number; msg: string; refused?: string }[] = []
  const logger = { level: 'info', stream: { write: (line: string) => void lines.push(JSON.parse(line)) } }
  const world = await build(t, { logger })
  const { get, login, send } = world
  const token = await login('alice')
  const { token: forged } = await createForge(world, token)
  const reasons = () =>
    lines.splice(0).flatMap(({ level, msg, refused }) => (refused === undefined ? [] : [{ level, msg, refused }]))
  reasons()

  t.strictSame(answer(await get('/users/me', forged({}, { aud: 'orders' }))), INVALID_TOKEN)
  const audience = `The audience of the token is "orders", this service is "${ISSUER}"`
  t.strictSame(reasons(), [{ level: 30, msg: audience, refused: 'wrong_audience' }])

  t.strictSame(answer(await get('/users', token)), forbidden({ scope: 'users:read', role: 'admin' }))
  const lacks = 'The token lacks the scope users:read and the role admin'
  t.strictSame(reasons(), [{ level: 30, msg: lacks, refused: 'missing_scope' }])

  const { sid } = decode(token.split('.')[1] as string) as { sid: string }
  t.equal((await send(token, 'DELETE', `/users/me/sessions/${sid}`)).statusCode, 204)
  t.strictSame(answer(await get('/users/me', token)), INVALID_TOKEN)
  const ended = 'The token is no longer valid: its session has ended'
  t.strictSame(reasons(), [{ level: 30, msg: ended, refused: 'revoked' }])
})
