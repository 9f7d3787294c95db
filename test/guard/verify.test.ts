import t from 'tap'
import { createKey } from '../fake-issuer.ts'
import { settle } from '../fake-timer.ts'
import { answer } from '../forge.ts'
import { forbidden, INVALID_TOKEN, unavailable } from './refusals.ts'
import { setUp } from './service.ts'

/** Between two fetches of the keys. */
const COOLDOWN_MS = 200
const FIVE_MINUTES = 300_000

for (const alg of ['ES256', 'EdDSA', 'RS256'] as const)
  t.test(`a token that is signed with a published key is accepted: ${alg}`, async (t) => {
    const { token, key, responders, status } = await setUp(t, { revocation: 'none' })
    const published = createKey(alg)
    responders.jwks = () => Response.json({ keys: [key.jwk, published.jwk] })
    t.equal(await status(token({}, published)), 200)
    const [header, , signature] = token({}, published).split('.')
    const [, otherPayload] = token({}, published).split('.')
    t.equal(await status([header, otherPayload, signature].join('.')), 401)
  })

t.test('a remembered token is refused from its exp on, and then forgotten', async (t) => {
  const { token, clock, get, status, app } = await setUp(t)
  const bearer = token()
  clock.advance(299)
  t.equal(await status(bearer), 200)
  t.equal(app.guard.status().tokens, 1)
  clock.advance(1)
  t.strictSame(answer(await get(bearer)), INVALID_TOKEN)
  t.equal(app.guard.status().tokens, 0)
})

t.test('the revocation log does not age when the clock of the machine is set', async (t) => {
  const { token, clock, status, app, revoke } = await setUp(t)
  for (const seconds of [86_400, -2 * 86_400, 31_536_000, -31_536_000]) {
    clock.advance(seconds)
    t.equal(await status(token()), 200)
    t.equal(app.guard.status().lag, 0)
  }
  revoke('session', 'session-1')
  await settle()
  clock.advance(-86_400)
  t.equal(await status(token()), 401)
})

for (const endpoint of ['oauth-authorization-server', 'jwks'])
  t.test(
    `without the keys of the issuer every token gets 503, which does not name the issuer: ${endpoint}`,
    async (t) => {
      const { token, clientToken, get, issuer, timer } = await setUp(
        t,
        { revocation: 'none' },
        { prepare: ({ responders }) => void (responders[endpoint] = () => Response.json({}, { status: 500 })) }
      )
      for (const bearer of [token(), clientToken()]) {
        const pending = get(bearer)
        await timer.advance(COOLDOWN_MS)
        const response = await pending
        t.strictSame(answer(response), unavailable('The keys of the issuer cannot be fetched'))
        t.equal(response.headers['retry-after'], '1')
        t.notOk(response.body.includes(issuer))
      }
    }
  )

t.test(
  'a token with an unknown key is accepted when the key is published, and refused when it is removed',
  async (t) => {
    const { token, responders, get, status, timer } = await setUp(t, { revocation: 'none' })
    const [old, next] = [token(), createKey()]
    t.equal(await status(old), 200)
    responders.jwks = () => Response.json({ keys: [next.jwk] })
    const accepted = status(token({}, next))
    await timer.advance(COOLDOWN_MS)
    t.equal(await accepted, 200)
    const refused = get(old)
    await timer.advance(COOLDOWN_MS)
    t.strictSame(answer(await refused), INVALID_TOKEN, 'a remembered token, too')
  }
)

t.test('another key with the same kid replaces the first one, also for remembered tokens', async (t) => {
  const { token, key, responders, get, status, timer } = await setUp(t, { revocation: 'none' })
  const old = token()
  t.equal(await status(old), 200)
  const other = { ...createKey(), kid: key.kid }
  responders.jwks = () => Response.json({ keys: [{ ...other.jwk, kid: key.kid }] })
  await timer.advance(FIVE_MINUTES)
  await get(old)
  await settle()
  t.strictSame(answer(await get(old)), INVALID_TOKEN)
  t.equal(await status(token({}, other)), 200)
})

t.test('a handler cannot change the principal of the next request', async (t) => {
  const changes: ((principal: never) => unknown)[] = [
    (principal: object) => Object.assign(principal, { more: true }),
    (principal: { sub: string }) => (principal.sub = 'user-2'),
    (principal: { scopes: string[] }) => principal.scopes.push('orders:delete'),
    (principal: { scopes: string[] }) => (principal.scopes[0] = 'orders:delete'),
    (principal: { roles: string[] }) => principal.roles.push('root'),
    (principal: { token: { sub: string } }) => (principal.token.sub = 'user-2'),
    (principal: { token: { roles: string[] } }) => principal.token.roles.push('root'),
    (principal: { token: { more: { list: string[] } } }) => principal.token.more.list.push('x'),
    (principal: { token: { more: { list: string[] } } }) => (principal.token.more.list = [])
  ]
  let refused = 0
  const { token, get } = await setUp(
    t,
    { revocation: 'none' },
    {
      declare: (app) =>
        app.get('/orders', { preHandler: app.requireUser() }, async ({ principal }) => {
          const before = structuredClone(principal)
          for (const change of changes)
            try {
              change(principal as never)
            } catch {
              refused++
            }
          return before
        })
    }
  )
  const bearer = token({ more: { list: ['a'] } })
  const first = (await get(bearer)).json()
  t.equal(refused, changes.length)
  t.strictSame((await get(bearer)).json(), first)
  t.strictSame(first.token.more, { list: ['a'] })
})

t.test('each route requires its own scopes and roles of the same token', async (t) => {
  const { token, get, status } = await setUp(t)
  const bearer = token({ scope: 'orders:write', roles: [] })
  for (let times = 0; times < 3; times++) {
    t.strictSame(answer(await get(bearer)), forbidden({ scope: 'orders:read' }))
    t.strictSame(answer(await get(bearer, '/admin-only')), forbidden({ role: 'admin' }))
    t.equal(await status(bearer, '/user-only'), 200)
  }
})
