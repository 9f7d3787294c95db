import { randomUUIDv7 } from 'node:crypto'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { Session } from '../../src/domain/model.ts'
import type { Opened } from './open.ts'
import { addSession, addUser, CLIENT, entriesAfter, NOW, ROUNDS, sessionOf } from './rows.ts'

const LEEWAY = 10_000
const OFF = { ...CLIENT, id: 'off' }

/** The renewal of sessions by refresh tokens. */
export function renewal(t: Test, { store, others }: Opened): void {
  async function withSession(more: Partial<Session> = {}) {
    const alice = await addUser(store)
    const session = await addSession(store, alice.id, more)
    const rotate = (counter: number, { now = NOW, leeway = LEEWAY, client = CLIENT, at = store } = {}) =>
      at.sessions.rotate(OPERATOR, { id: session.id, client, counter, leeway, now })
    const read = () => sessionOf(store, session.id)
    return { alice, session, rotate, read, before: await store.revocations.seq() }
  }

  t.test('rotate with the current counter renews the session', async (t) => {
    const { session, rotate, read, before } = await withSession()
    t.equal(await rotate(0, { now: NOW + 5 }), 'rotated')
    t.strictSame(await read(), {
      ...session,
      counter: 1,
      endedAt: null,
      lastUsedAt: NOW + 5,
      idleExpiresAt: NOW + 5 + 3_600_000
    })
    t.equal(await rotate(1, { now: NOW + 6, leeway: 0 }), 'rotated', 'without a leeway too')
    t.equal((await read())?.counter, 2)
    t.strictSame(await entriesAfter(store, before), [])
  })

  t.test('rotate with the previous counter is retried within the leeway, and changes nothing', async (t) => {
    const { rotate, read, before } = await withSession()
    await rotate(0)
    const renewed = await read()
    for (const now of [NOW, NOW - 1, NOW + LEEWAY - 1]) t.equal(await rotate(0, { now }), 'retried')
    t.strictSame(await read(), renewed)
    t.equal(await rotate(1, { now: NOW + LEEWAY - 1 }), 'rotated')
    t.equal(await rotate(1, { now: NOW + 2 * LEEWAY - 2 }), 'retried', 'the leeway begins with each renewal')
    t.equal((await read())?.counter, 2)
    t.strictSame(await entriesAfter(store, before), [])
  })

  for (const [name, { renewals, after, leeway }] of Object.entries({
    'the previous counter after the leeway': { renewals: 1, after: LEEWAY, leeway: LEEWAY },
    'the previous counter without a leeway': { renewals: 1, after: 0, leeway: 0 },
    'the previous counter without a leeway, by a clock that is behind': { renewals: 1, after: -5, leeway: 0 },
    'an older counter within the leeway': { renewals: 2, after: 0, leeway: LEEWAY },
    'a counter from twenty renewals ago': { renewals: 20, after: 1, leeway: LEEWAY }
  })) {
    t.test(`rotate with ${name} is reused: it ends that session and no other`, async (t) => {
      const { alice, session, rotate, read, before } = await withSession()
      const other = await addSession(store, alice.id)
      for (let counter = 0; counter < renewals; counter++) await rotate(counter)
      const renewed = await read()
      const now = NOW + after
      t.equal(await rotate(0, { now, leeway }), 'reused')
      t.strictSame(await read(), { ...renewed, endedAt: now, idleExpiresAt: now })
      t.strictSame(await entriesAfter(store, before), [{ kind: 'session', id: session.id }])
      t.strictSame(await sessionOf(store, other.id), { ...other, counter: 0, endedAt: null })

      t.equal(await rotate(0, { now, leeway }), 'unknown', 'it ends once')
      t.equal(await rotate(renewals, { now, leeway }), 'unknown', 'and cannot be renewed')
      t.equal((await entriesAfter(store, before)).length, 1)
    })
  }

  t.test('rotate is unknown, and changes nothing, for a session that must not be renewed', async (t) => {
    const { session, rotate, read, before } = await withSession({ expiresAt: NOW + 4_000_000 })
    await rotate(0)
    await rotate(1)
    const current = await read()
    const isUnknown = async (reason: string, counters: number[], more = {}) => {
      for (const counter of counters) t.equal(await rotate(counter, more), 'unknown', reason)
    }
    await isUnknown('another client', [0, 1, 2, 3], { client: OFF })
    await isUnknown('a later counter', [3, 4, 2 ** 31 - 1])
    await isUnknown('idle for too long', [0, 1, 2], { now: NOW + 3_600_000 })
    const none = { id: randomUUIDv7(), client: CLIENT, counter: 0, leeway: LEEWAY, now: NOW }
    t.equal(await store.sessions.rotate(OPERATOR, none), 'unknown', 'an unknown session')
    t.strictSame(await read(), current)

    t.equal(await rotate(2, { now: NOW + 3_599_999 }), 'rotated')
    t.equal((await read())?.idleExpiresAt, NOW + 4_000_000, 'the idle time ends with the absolute one')
    await isUnknown('the absolute time is over', [3], { now: NOW + 4_000_000 })
    t.equal(await rotate(3, { now: NOW + 3_999_999 }), 'rotated')
    await store.sessions.end(OPERATOR, { id: session.id, now: NOW })
    const ended = await read()
    await isUnknown('ended', [0, 3, 4, 5])
    t.strictSame(await read(), ended)
    t.strictSame(await entriesAfter(store, before), [{ kind: 'session', id: session.id }])
  })

  t.test(
    'of eight concurrent renewals one is rotated; the others are retried, or without a leeway one of them ends the session',
    async (t) => {
      for (let round = 0; round < ROUNDS; round++) {
        const leeway = round % 2 === 0 ? LEEWAY : 0
        const { rotate, read } = await withSession()
        const counts: Record<string, number> = {}
        const renewals = [...others, ...others].map((at) => rotate(0, { leeway, at }))
        for (const rotation of await Promise.all(renewals)) counts[rotation] = (counts[rotation] ?? 0) + 1
        const { counter, endedAt } = (await read()) ?? {}
        const expected =
          leeway === 0
            ? { counts: { rotated: 1, reused: 1, unknown: 6 }, counter: 1, endedAt: NOW }
            : { counts: { rotated: 1, retried: 7 }, counter: 1, endedAt: null }
        t.same({ counts, counter, endedAt }, expected, `round ${round}`)
      }
    }
  )
}
