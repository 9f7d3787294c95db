import type { Test } from 'tap'
import type { GuessCount } from '../../src/domain/ports/guesses.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import type { Opened } from './open.ts'
import { NOW, outcomes, ROUNDS, refusedAs, unique } from './rows.ts'

export function guesses(t: Test, { kind, store, others, sql, hold }: Opened): void {
  const tries = (key: string, count: number, expiresAt = NOW + 1000) => ({ key, count, lastAt: NOW, expiresAt })
  const count = (keys: string[], next: (before: Map<string, GuessCount>) => GuessCount[], at = store) =>
    at.guesses.count(keys, (before) => ({ next: next(before), result: before }))
  const rowsOf = (prefix: string) =>
    sql(`select key, count, last_at, expires_at from guesses where key like '${prefix}%' order by key`)

  t.test('counts that a decision returns are stored, other keys stay, and a count of 0 removes its key', async (t) => {
    const prefix = unique('guesses ')
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => `${prefix} ${name}`) as [string, string, string, string]
    const before = await count([b, a], () => [tries(a, 3), tries(b, 1)])
    t.strictSame([before.get(a)?.count, before.get(b)?.count], [0, 0])
    const late = { ...tries(d, 2 ** 31 - 1), expiresAt: NOW * 2 }
    const second = await count([c, b, a, d], () => [tries(c, 0), tries(b, 0), late])
    t.strictSame([second.get(a), second.get(b), second.get(c)?.count], [tries(a, 3), tries(b, 1), 0])
    t.strictSame(await rowsOf(prefix), [
      { key: a, count: 3, last_at: NOW, expires_at: NOW + 1000 },
      { key: d, count: 2 ** 31 - 1, last_at: NOW, expires_at: NOW * 2 }
    ])
    t.strictSame(await store.guesses.read([a, b]), new Map([[a, tries(a, 3)]]))
    const failing = store.guesses.count([a, b], () => {
      throw new Error('undecided')
    })
    await t.rejects(failing, { message: 'undecided' })
    t.equal(await store.guesses.count([a], () => ({ next: [], result: 'result' })), 'result')
    t.equal((await rowsOf(prefix)).length, 2)
  })

  t.test('concurrent counts lose nothing and do not deadlock', async (t) => {
    const prefix = unique('guesses ')
    const keys = ['a', 'b', 'c', 'd'].map((name) => `${prefix} ${name}`)
    const expected = new Map<string, number>()
    const calls: Promise<unknown>[] = []
    for (let round = 0; round < ROUNDS * 4; round++) {
      // Some of the keys in any order. The first one is not counted.
      const chosen = keys.filter((_, index) => (round >> index) % 2 === 0 || index === round % 4)
      if (round % 3 === 0) chosen.reverse()
      for (const key of chosen.slice(1)) expected.set(key, (expected.get(key) ?? 0) + 1)
      const at = others[round % 2] as Store
      const next = (before: Map<string, GuessCount>) =>
        chosen.slice(1).map((key) => tries(key, (before.get(key)?.count ?? 0) + 1))
      calls.push(count(chosen, next, at))
      if (round % 5 === 0) calls.push(at.expiry.prune(NOW))
      if (round % 10 === 9) await Promise.all(calls.slice(-12))
    }
    t.strictSame(await outcomes(calls), { done: calls.length })
    t.strictSame(
      (await rowsOf(prefix)).map(({ key, count }) => [key, count]),
      [...expected].sort()
    )
  })

  t.test('expired tries are removed, and no others', async (t) => {
    const prefix = unique('guesses ')
    const rows = [tries(`${prefix} a`, 1, NOW), tries(`${prefix} b`, 1, NOW + 1), tries(`${prefix} c`, 9, NOW - 1)]
    await count(
      rows.map(({ key }) => key),
      () => rows
    )
    await store.expiry.prune(NOW + 60_000)
    t.strictSame(
      (await rowsOf(prefix)).map(({ key }) => key),
      [`${prefix} b`]
    )
  })

  t.test('at most three counts wait in the database, the others are refused in time', async (t) => {
    if (kind === 'sqlite') return t.pass('a SQLite database has one writer')
    const release = await hold(t, 'lock table guesses in access exclusive mode')
    const calls = Array.from({ length: 12 }, () => count([unique('guesses ')], () => []))
    const inside = outcomes(calls.slice(0, 3))
    t.equal(await store.users.get('x'), null, 'a read gets a connection')
    for (const call of calls.slice(3))
      await t.rejects(call, { ...refusedAs('unavailable'), message: 'Too many logins at once', retryAfter: 1 })
    await release()
    await inside
    t.equal(await store.guesses.count([unique('guesses ')], () => ({ next: [], result: 'works again' })), 'works again')
  })
}
