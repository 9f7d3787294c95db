import type { Test } from 'tap'
import { OPERATOR, SYSTEM } from '../../src/domain/caller.ts'
import type { RefreshKey } from '../../src/domain/model.ts'
import { type Opened, recording } from './open.ts'
import { addSession, addUser, NOW, newKey, outcomes, sessionOf, unique } from './rows.ts'

/** Revoking everything in one transaction. */
export function revokeEverything(t: Test, opened: Opened): void {
  const { store, others, sql } = opened

  const replacement = (canary = 'sealed canary', now = NOW) => ({
    canary,
    keys: [newKey(unique('key'), 'signing'), newKey(unique('key'), 'next')],
    refreshKey: { id: unique('refresh'), sealedKey: 'sealed new', createdAt: 0 } satisfies RefreshKey,
    clock: () => now
  })

  const openSession = async () => addSession(store, (await addUser(store)).id)

  t.test('revoking everything ends sessions, replaces all keys and raises the number of the log', async (t) => {
    await opened.seed()
    const sessions = [await openSession(), await openSession()]
    await sql("update counters set seq = 7 where name = 'revocations'")
    const given = replacement()
    const { result, recorded } = await recording(opened, store.keys.revokeEverything(OPERATOR, given))
    t.strictSame(result, { sessions: 2, keys: 3 })
    t.strictSame(recorded, [
      { outcome: 'success', type: 'everything.revoked', caller: OPERATOR, subject: {}, reason: 'sessions: 2, keys: 3' }
    ])
    for (const { id } of sessions) t.equal((await sessionOf(store, id))?.endedAt, NOW)
    const [signing, next] = given.keys
    t.strictSame(
      (await store.keys.list()).map(({ kid, state, createdAt }) => [kid, state, createdAt]).toSorted(),
      [
        [signing?.kid, 'signing', NOW],
        [next?.kid, 'next', NOW]
      ].toSorted()
    )
    const left = await sql("select kid from signing_keys where state = 'retired' and sealed_private_key != ''")
    t.strictSame(left, [], 'no retired key has a private part')
    t.strictSame(await sql('select id, state, created_at from refresh_keys'), [
      { id: given.refreshKey.id, state: 'current', created_at: NOW }
    ])
    const { entries, seq } = await store.revocations.since(7, 10)
    t.strictSame(
      entries.map(({ kind, seq, resources }) => [kind, seq - NOW, resources]),
      [
        ['all', 1, null],
        ['key', 2, null],
        ['key', 3, null],
        ['key', 4, null]
      ]
    )
    t.strictSame(entries.map(({ id }) => id).toSorted(), ['*', 'next', 'signing', 'verifying'])
    t.equal(seq, NOW + 4)

    await store.keys.revokeEverything(OPERATOR, replacement(undefined, 1))
    const again = await store.revocations.since(0, 10)
    t.equal(again.seq, NOW + 7, 'the number never goes back')
    t.equal(again.entries.filter(({ kind }) => kind === 'all').length, 1)
  })

  t.test('revoking everything changes nothing when the sealing key was replaced meanwhile', async (t) => {
    await opened.seed()
    const { id } = await openSession()
    const { result, recorded } = await recording(opened, store.keys.revokeEverything(OPERATOR, replacement('another')))
    t.equal(result, null)
    t.strictSame(recorded, [])
    t.equal((await sessionOf(store, id))?.endedAt, null)
    t.equal((await store.keys.signing())[0]?.kid, 'signing')
    t.equal(await store.revocations.seq(), 0)
  })

  t.test('concurrent calls that revoke everything leave one complete set of keys', async (t) => {
    await opened.seed()
    await openSession()
    const calls = [store, ...others].map((each) => each.keys.revokeEverything(SYSTEM, replacement()))
    t.strictSame(await outcomes(calls), { done: 5 })
    t.strictSame((await store.keys.list()).map(({ state }) => state).toSorted(), ['next', 'signing'])
    t.strictSame(await sql('select count(*) as count from refresh_keys'), [{ count: 1 }])
  })
}
