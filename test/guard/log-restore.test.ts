import t from 'tap'
import type { Responder } from '../fake-issuer.ts'
import { settle } from '../fake-timer.ts'
import { follow, MAX_PAUSE_MS, STALE_AFTER_MS } from './log.ts'

t.test('an old response is refused, and every entry stays', async (t) => {
  const { respondWith, readLog, responders, revoke, isRevoked, errors, log, timer } = await follow(t)
  revoke('user', 'user-1')
  revoke('session', 'session-2')
  await settle()
  const revoked = () => [isRevoked({ rev: 0 }), isRevoked({ sid: 'session-2' }), isRevoked()]
  t.strictSame(revoked(), [true, true, false])
  // The second request, from the beginning of the log, gets the current state.
  respondWith((request) =>
    request.path.includes('after=0&') ? readLog(request) : Response.json({ entries: [], next: 1, seq: 1, oldest: 0 })
  )
  await timer.advance(STALE_AFTER_MS + 1)
  t.strictSame(errors, ['the revocation log repeated an old response'])
  t.notOk(log.isFresh())
  t.strictSame(revoked(), [true, true, false])
  responders.revocations = readLog
  await timer.advance(MAX_PAUSE_MS)
  t.ok(log.isFresh())
  t.strictSame(revoked(), [true, true, false])
  t.equal(log.status().seq, 3)
})

t.test('after a restore the outright revocations stay, and the others are forgotten', async (t) => {
  const { log, revoke, published, isRevoked, errors, timer } = await follow(t)
  for (const [kind, id] of [
    ['session', 'session-2'],
    ['token', 'token-2'],
    ['key', 'key-2'],
    ['user', 'user-1'],
    ['client', 'client-2'],
    ['role', 'role-2']
  ] as const)
    revoke(kind, id)
  await settle()
  t.equal(log.status().seq, 6)
  t.ok(isRevoked({ rev: 0 }))

  // The restored database has the first two entries, and gives the next entry a number that was used before.
  published.entries.splice(2)
  published.seq = 2
  revoke('user', 'user-9')
  await timer.advance(MAX_PAUSE_MS)
  t.strictSame(errors, ['the revocation log went back from 6 to 3'])
  t.equal(log.status().seq, 3)
  t.ok(log.isFresh())
  t.strictSame(
    [isRevoked({ sid: 'session-2' }), isRevoked({ jti: 'token-2' }), isRevoked({}, 'key-2')],
    [true, true, true]
  )
  t.ok(isRevoked({ sub: 'user-9', rev: 2 }))
  // A token that is issued after the restore has a smaller `rev` than the forgotten entries.
  t.notOk(isRevoked({ rev: 3 }))
  t.notOk(isRevoked({ client_id: 'client-2', rev: 3 }))
  t.notOk(isRevoked({ roles: ['role-2'], rev: 3 }))
  revoke('user', 'user-1')
  await settle()
  t.ok(isRevoked({ rev: 3 }))
})

t.test('after a restore the log is stale until it was read to its end', async (t) => {
  const { log, revoke, published, wake, readLog, responders, isRevoked, timer } = await follow(t, { maxEntries: 5000 })
  for (let n = 1; n <= 2500; n++) revoke('user', `user-${n}`)
  await timer.advance(0)
  const states: [seq: number | null, isFresh: boolean][] = []
  const note: Responder = (request) => {
    states.push([log.status().seq, log.isFresh()])
    return readLog(request)
  }
  responders.revocations = note
  published.entries.splice(2450)
  published.seq = 2450
  wake()
  await timer.advance(MAX_PAUSE_MS)
  t.strictSame(states, [
    [2500, true],
    [1000, false],
    [2000, false],
    [2450, true]
  ])
  t.ok(isRevoked({ sub: 'user-2400', rev: 0 }))
})
