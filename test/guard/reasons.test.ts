import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import type { LatchkeyGuardOptions, Refusal } from '../../src/guard/index.ts'
import { AUDIENCE, createKey } from '../fake-issuer.ts'
import { settle } from '../fake-timer.ts'
import { answer } from '../forge.ts'
import { forbidden, INVALID_TOKEN, NOT_A_USER, NOT_AUTHENTICATED, TWO_HEADERS } from './refusals.ts'
import { setUp as setUpService } from './service.ts'

/** A service that records the reasons of its log and those of `onRefused`. */
async function setUp(t: Test, options: Partial<LatchkeyGuardOptions> = {}) {
  const lines: { level: number; msg: string; refused?: string; reqId?: string }[] = []
  const told: { reason: Refusal; id: string }[] = []
  const onRefused = (reason: Refusal, { id }: FastifyRequest) => void told.push({ reason, id })
  const stream = { write: (line: string) => void lines.push(JSON.parse(line)) }
  const all = { revocation: 'none', onRefused, ...options } as Partial<LatchkeyGuardOptions>
  const service = await setUpService(t, all, { logger: { level: 'info', stream } })
  /** Returns the reasons since the last call, of the log and of `onRefused`. */
  const reasons = () => {
    const logged = lines.splice(0).filter(({ refused }) => refused !== undefined)
    return {
      log: logged.map(({ level, refused, msg, reqId }) => ({ level, refused, msg, reqId })),
      told: told
        .splice(0)
        .map(({ reason: { code, message }, id }) => ({ level: 30, refused: code, msg: message, reqId: id }))
    }
  }
  return { ...service, lines, reasons }
}

t.test(
  'the guard logs why it refused, once per refusal at info, and calls onRefused; the response to an invalid token does not say why it is invalid',
  async (t) => {
    const { app, get, token, clock, clientToken, reasons } = await setUp(t)
    const CASES: [code: string, message: string | RegExp, ask: () => ReturnType<typeof get>, expected: object][] = [
      [
        'wrong_audience',
        `The audience of the token is "https://billing.example.com", this service is "${AUDIENCE}"`,
        () => get(token({ aud: 'https://billing.example.com' })),
        INVALID_TOKEN
      ],
      ['wrong_issuer', /^The issuer of the token is "x"/, () => get(token({ iss: 'x' })), INVALID_TOKEN],
      [
        'expired',
        /^The token expired at 2026-01-01T11:59:59Z/,
        () => get(token({ iat: 1, exp: clock.now() / 1000 - 1 })),
        INVALID_TOKEN
      ],
      [
        'clock',
        /clock of this service or of the issuer/,
        () => get(token({ iat: clock.now() / 1000 + 61 })),
        INVALID_TOKEN
      ],
      ['malformed', /does not have the form/, () => get('x'), INVALID_TOKEN],
      ['no_token', 'The request has no Bearer token', () => app.inject('/orders'), NOT_AUTHENTICATED],
      [
        'repeated_header',
        /more than one Authorization/,
        () => app.inject({ url: '/orders', headers: { authorization: ['Bearer x', 'Bearer y'] as never } }),
        TWO_HEADERS
      ],
      [
        'missing_scope',
        'The token lacks the scope orders:read',
        () => get(token({ scope: '' })),
        forbidden({ scope: 'orders:read' })
      ],
      [
        'missing_role',
        'The token lacks the role admin',
        () => get(token({ roles: [] }), '/admin-only'),
        forbidden({ role: 'admin' })
      ],
      ['not_a_user', 'The token is not a token of a user', () => get(clientToken(), '/user-only'), NOT_A_USER]
    ]
    for (const [code, message, ask, expected] of CASES) {
      const response = await ask()
      t.strictSame(answer(response), expected, code)
      const { log, told } = reasons()
      t.equal(log.length, 1, code)
      t.match(log[0], { level: 30, refused: code, msg: message })
      t.strictSame(told, log)
    }
    t.equal((await get(token())).statusCode, 200)
    t.strictSame(reasons(), { log: [], told: [] })
  }
)

t.test('the guard logs an unknown key and a revoked token', async (t) => {
  const { get, token, timer, revoke, reasons } = await setUp(t, { revocation: 'log' })
  const stranger = createKey()
  const pending = get(token({}, stranger))
  await timer.advance(200)
  t.strictSame(answer(await pending), INVALID_TOKEN)
  t.match(reasons().log, [{ refused: 'unknown_key', msg: `The issuer has no key "${stranger.kid}"` }])
  const bearer = token()
  t.equal((await get(bearer)).statusCode, 200)
  revoke('session', 'session-1')
  await settle()
  t.strictSame(answer(await get(bearer)), INVALID_TOKEN)
  t.match(reasons().log, [{ refused: 'revoked', msg: /was revoked$/ }])
})

t.test('the guard logs that the introspection says that a token is not active', async (t) => {
  const { get, token, responders, reasons } = await setUp(t, { revocation: 'introspection' })
  responders.introspect = () => Response.json({ active: false })
  t.strictSame(answer(await get(token())), INVALID_TOKEN)
  t.match(reasons().log, [{ refused: 'revoked', msg: 'The issuer says that the token is not active' }])
})

t.test('no token is in the log, whatever the token is', async (t) => {
  const { get, token, lines } = await setUp(t)
  const tokens = [token(), token({ aud: 'x' }), token({ exp: 2, iat: 1 }), 'opaque-token-of-another-issuer']
  for (const bearer of tokens) await get(bearer)
  const log = JSON.stringify(lines)
  for (const part of tokens.flatMap((bearer) => bearer.split('.'))) t.notOk(log.includes(part))
})

t.test('an onRefused that throws or rejects changes no answer, and its error is logged', async (t) => {
  for (const onRefused of [
    () => {
      throw new Error('mine')
    },
    () => Promise.reject(new Error('mine'))
  ]) {
    const { app, lines } = await setUp(t, { onRefused })
    t.strictSame(answer(await app.inject('/orders')), NOT_AUTHENTICATED)
    await settle()
    t.match(
      lines.filter(({ level }) => level === 50),
      [{ msg: 'onRefused failed', err: { message: 'mine' } }]
    )
  }
})

t.test('an onRefused cannot change the reason of a later refusal', async (t) => {
  const onRefused = (reason: Refusal) => Object.assign(reason, { code: 'revoked', message: 'mine' })
  const { app, reasons } = await setUp(t, { onRefused })
  for (let times = 0; times < 2; times++) {
    t.strictSame(answer(await app.inject('/orders')), NOT_AUTHENTICATED)
    t.match(reasons().log, [{ refused: 'no_token', msg: 'The request has no Bearer token' }])
  }
})

t.test('a service may have several audiences; the first is the one that it publishes', async (t) => {
  const audience = [AUDIENCE, 'http://orders.internal:4000', 'urn:orders']
  const { app, status, token } = await setUp(t, { audience })
  for (const aud of audience) t.equal(await status(token({ aud })), 200, aud)
  for (const aud of ['https://billing.example.com', 'urn', `${AUDIENCE}/`, audience.join(' ')])
    t.equal(await status(token({ aud })), 401, aud)
  const metadata = await app.inject('/.well-known/oauth-protected-resource')
  t.match(metadata.json(), { resource: AUDIENCE })
  audience.push('https://billing.example.com')
  t.equal(await status(token({ aud: 'https://billing.example.com' })), 401, 'a later change of the list has no effect')
})
