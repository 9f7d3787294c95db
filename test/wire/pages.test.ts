import t from 'tap'
import { fromWire, PageQuery, toWire } from '../../src/wire/pages.ts'
import * as revocations from '../../src/wire/revocations.ts'
import { accepts } from './schema.ts'

t.test('a page is read with the documented default', async (t) => {
  const query: { limit?: number } = {}
  t.strictSame(fromWire(query), { after: null, limit: 50 })
  t.ok(accepts(PageQuery, query))
  t.equal(query.limit, 50)
  t.strictSame(fromWire({ limit: 7, cursor: 'x' }), { after: 'x', limit: 7 })
})

t.test('a page is written with the cursor of the next page', async (t) => {
  t.strictSame(toWire({ items: [1, 2], next: '2' }, String), { items: ['1', '2'], next_cursor: '2' })
  t.strictSame(toWire({ items: [], next: null }, String), { items: [], next_cursor: null })
})

t.test('a page holds 1 to 100 items, and a cursor at most 255 characters', async (t) => {
  for (const query of [{ limit: 1 }, { limit: 100 }, { cursor: '~'.repeat(255) }]) t.ok(accepts(PageQuery, query))
  for (const query of [
    { limit: 0 },
    { limit: 101 },
    { cursor: '~'.repeat(256) },
    { cursor: '' },
    { cursor: 'é' },
    { page: 2 }
  ])
    t.notOk(accepts(PageQuery, query), JSON.stringify(query))
})

t.test('a page of the revocation log is written with its entries and numbers, and its query is limited', async (t) => {
  const ends = { next: 3, seq: 3, oldest: 1 }
  const part = { entries: [{ seq: 2, kind: 'user' as const, id: 'x', expires_in: 60 }], ...ends }
  t.strictSame(revocations.toWire({ entries: [{ seq: 2, kind: 'user', id: 'x', expiresIn: 60 }], ...ends }), part)
  t.ok(accepts(revocations.RevocationView, part))
  t.strictSame(revocations.fromWire({}), { after: 0, wait: 0, audiences: null })
  t.strictSame(revocations.fromWire({ after: 2, wait: 30, audience: 'a b a' }), {
    after: 2,
    wait: 30,
    audiences: ['a', 'b']
  })
  for (const query of [{ wait: 30 }, { after: 999_999_999_999_999 }]) t.ok(accepts(revocations.RevocationQuery, query))
  for (const query of [
    { wait: 31 },
    { wait: -1 },
    { after: 1e15 },
    { after: -1 },
    { since: 1 },
    { audience: '' },
    { audience: ' ' },
    { audience: Array.from({ length: 11 }, () => 'a').join(' ') },
    { audience: 'x'.repeat(2561) }
  ])
    t.notOk(accepts(revocations.RevocationQuery, query), JSON.stringify(query))
})
