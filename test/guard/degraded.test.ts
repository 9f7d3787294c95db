import t, { type Test } from 'tap'
import { createVerification } from '../../src/guard/verification.ts'
import type { Refusal } from '../../src/token/refusal.ts'
import { createFakeIssuer, type Responder } from '../fake-issuer.ts'
import { createFakeTimer } from '../fake-timer.ts'

const MAX_ENTRIES = 10

/** A guard with little memory, whose log gets many more entries than it can keep. The old token is from before all of them. */
async function flooded(t: Test, introspect: Responder) {
  const timer = createFakeTimer()
  const issuer = createFakeIssuer(timer)
  issuer.responders.introspect = introspect
  const [old, revoked] = [issuer.token({ jti: 'old' }), issuer.token({ jti: 'revoked' })]
  const logged: string[] = []
  const log = { error: (line: string) => logged.push(line), warn: (line: string) => logged.push(line), info: () => {} }
  const guard = createVerification(issuer.options, { log, timer, maxEntries: MAX_ENTRIES })
  t.teardown(() => guard.stop())
  guard.start(new Map())
  await timer.advance(0)
  issuer.revoke('token', 'revoked')
  for (let index = 0; index < 50 * MAX_ENTRIES; index++) issuer.revoke('token', `jti-${index}`)
  await timer.advance(1000)
  const verify = async (token: string) => {
    const verdict = await guard.verify(token)
    return verdict.kind === 'refused' ? (verdict as Refusal).code : verdict.kind
  }
  return { ...issuer, old, revoked, verify, guard, logged }
}

t.test(
  'a guard whose memory is full asks the issuer about old tokens only, and refuses no valid token [UA4]',
  async (t) => {
    const active: Responder = ({ body }) => {
      const { jti } = JSON.parse(
        Buffer.from((new URLSearchParams(body).get('token') as string).split('.')[1] as string, 'base64url').toString()
      )
      return Response.json(
        jti === 'old' ? { active: true, sub: 'user-1', scope: 'orders:read', roles: ['admin'] } : { active: false }
      )
    }
    const { token, old, revoked, verify, count, guard, logged } = await flooded(t, active)
    t.equal(await verify(old), 'user')
    t.equal(await verify(revoked), 'revoked', 'its entry is no longer in memory')
    t.equal(count('introspect'), 2)
    t.equal(await verify(token()), 'user')
    t.equal(await verify(token({ jti: 'jti-499' })), 'revoked', 'its entry is in memory')
    t.equal(count('introspect'), 2, 'newer tokens need no question')
    t.ok(guard.status().entries <= MAX_ENTRIES)
    t.strictSame(logged, [
      `the revocation log has more than ${MAX_ENTRIES} entries: tokens that are older than the dropped entries are introspected, or refused until they are renewed`
    ])
  }
)

for (const [name, introspect] of [
  ['refuses', () => Response.json({ error: 'unauthorized_client' }, { status: 400 })],
  ['does not respond to', () => Response.json({}, { status: 503 })]
] as [string, Responder][])
  t.test(
    `a guard whose memory is full refuses old tokens only, when the issuer ${name} the question [UA4]`,
    async (t) => {
      const { token, old, verify } = await flooded(t, introspect)
      t.equal(await verify(old), 'revoked')
      t.equal(await verify(token()), 'user', 'a newer token is accepted')
    }
  )
