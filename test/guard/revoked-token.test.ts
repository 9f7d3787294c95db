import { deepStrictEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { createKey, type FakeIssuer } from '../fake-issuer.ts'
import { settle } from '../fake-timer.ts'
import { answer } from '../forge.ts'
import { INVALID_TOKEN } from './refusals.ts'
import { setUp } from './service.ts'

const ROUNDS = Math.ceil(2 * Number(process.env.LATCHKEY_ROUNDS ?? 10))
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed}`)

const ENTRIES: [kind: string, id: (issuer: FakeIssuer) => string, laterToken: number][] = [
  ['session', () => 'session-1', 401],
  ['token', () => 'jti-1', 200],
  ['key', ({ key }) => key.kid, 401],
  ['user', () => 'user-1', 200],
  ['client', () => 'docs', 200],
  ['role', () => 'admin', 200]
]
for (const [kind, id, laterToken] of ENTRIES)
  t.test(`a revoked token is refused at its next request, other tokens are accepted: ${kind}`, async (t) => {
    const issuer = await setUp(t)
    const { token, key, responders, revoke, status, get } = issuer
    const otherKey = createKey()
    responders.jwks = () => Response.json({ keys: [key.jwk, otherKey.jwk] })
    const revoked = token({ jti: 'jti-1' })
    const changes = { sid: 'session-2', jti: 'jti-2', sub: 'user-2', client_id: 'app', roles: [] }
    const others = [token(changes, otherKey), token({ ...changes, sid: undefined, sub: 'app' }, otherKey)]
    for (const each of [revoked, ...others, revoked]) t.equal(await status(each), 200)
    revoke(kind, id(issuer))
    await settle()
    t.strictSame(answer(await get(revoked)), INVALID_TOKEN)
    for (const each of others) t.equal(await status(each), 200)
    t.equal(await status(token()), laterToken, 'a token that is issued after the entry')
  })

t.test('`status` returns the state of the revocation log and the number of remembered tokens', async (t) => {
  const { app, token, status, revoke, timer } = await setUp(t)
  const accepted = token()
  for (let times = 0; times < 2; times++) await status(accepted)
  await status('x')
  t.strictSame(app.guard.status(), { revocation: 'log', seq: 0, lag: 0, entries: 0, tokens: 1 })
  for (const [kind, id] of [
    ['session', 'another'],
    ['user', 'another'],
    ['user', 'another']
  ] as const)
    revoke(kind, id)
  await settle()
  await timer.advance(2500)
  t.strictSame(app.guard.status(), { revocation: 'log', seq: 3, lag: 2500, entries: 2, tokens: 1 })
})

t.test('without a revocation log `status` returns null for its state', async (t) => {
  const { app } = await setUp(t, { revocation: 'none' })
  t.strictSame(app.guard.status(), { revocation: 'none', seq: null, lag: null, entries: 0, tokens: 0 })
})

t.test('the log is requested with a token of the client, and a refused token is renewed', async (t) => {
  let tokens = 0
  const { app, requests } = await setUp(
    t,
    {},
    {
      prepare({ responders, readLog }) {
        responders.token = () =>
          Response.json({ access_token: `token-${++tokens}`, token_type: 'Bearer', expires_in: 300 })
        responders.revocations = (request) =>
          request.headers.get('authorization') === 'Bearer token-2'
            ? readLog(request)
            : Response.json({}, { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } })
      }
    }
  )
  await settle()
  t.equal(app.guard.status().seq, 0)
  const form = 'grant_type=client_credentials&scope=revocations%3Aread'
  t.strictSame(
    requests.filter(({ path }) => path === '/token').map(({ body }) => body),
    [form, form]
  )
})

t.test('the rules of the revocation log hold in every order of tokens and entries', async (t) => {
  const NAMES = ['a', 'b', 'c']
  const name = fc.constantFrom(...NAMES)
  const step = fc.oneof(
    fc.record({
      issue: fc.record({ sub: name, sid: name, client_id: name, jti: name, roles: fc.subarray(NAMES) })
    }),
    fc.record({ revoke: fc.tuple(fc.constantFrom('session', 'token', 'user', 'client', 'role'), name) }),
    fc.constant({ request: true as const })
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const { published, token, status, revoke, app } = await setUp(t)
      const issued: { bearer: string; rev: number; ids: [kind: string, id: string][] }[] = []
      const isRevoked = ({ rev, ids }: (typeof issued)[number]) =>
        published.entries.some(
          (entry) =>
            ids.some(([kind, id]) => kind === entry.kind && id === entry.id) &&
            (['session', 'token'].includes(entry.kind) || rev < entry.seq)
        )
      for (const each of [...steps, { request: true as const }]) {
        if ('issue' in each) {
          const { sub, sid, client_id, jti, roles } = each.issue
          issued.push({
            bearer: token({ ...each.issue, more: issued.length }),
            rev: published.seq,
            ids: [
              ['user', sub],
              ['session', sid],
              ['client', client_id],
              ['token', jti],
              ...roles.map((role): [string, string] => ['role', role])
            ]
          })
        } else if ('revoke' in each) {
          revoke(...each.revoke)
          await settle()
        } else {
          deepStrictEqual(
            await Promise.all(issued.map(({ bearer }) => status(bearer))),
            issued.map((one) => (isRevoked(one) ? 401 : 200))
          )
        }
      }
      await app.close()
    }),
    { numRuns: ROUNDS, seed }
  )
})
