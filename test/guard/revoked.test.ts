import t from 'tap'
import { createRevoked, type Entry } from '../../src/guard/revoked.ts'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import { createFakeTimer } from '../fake-timer.ts'
import type { Members } from '../jws.ts'

/** One hour, the longest lifetime of a token, and two minutes for clock differences. */
const KEPT_MS = (60 + 2) * 60_000

type AddedEntry = Omit<Entry, 'expiresIn'> & { expiresIn?: number }

/** Creates the list of revocations. `isRevoked` returns whether it refuses a token with these changes of its claims. */
function setUp(options: { maxEntries?: number } = {}) {
  const timer = createFakeTimer()
  const { judge, add, ...revoked } = createRevoked({ timer, ...options })
  const claims = { jti: 'jti-1', sid: 'session-1', sub: 'user-1', client_id: 'docs', roles: ['admin'], rev: 0 }
  return {
    ...revoked,
    /** Adds entries that are kept for the longest time unless they say otherwise. */
    add: (entries: AddedEntry[]) => add(entries.map((each) => ({ expiresIn: 3660, ...each }))),
    timer,
    isRevoked: (changes: Members = {}, kid = 'key-1') =>
      judge({ ...claims, ...changes } as unknown as AccessTokenClaims, kid) === 'revoked',
    /** Returns the verdict about a token that no entry names. */
    judgeOther: (rev: number) =>
      judge({ ...claims, jti: 'other', sid: 'other', sub: 'other', rev } as unknown as AccessTokenClaims, 'key-1')
  }
}

const RULES: [kind: Entry['kind'], id: string, revoked: Members[], others: Members[]][] = [
  [
    'session',
    'session-1',
    [{}, { rev: 99 }],
    [{ sid: 'session-2' }, { sid: undefined }, { sid: 'session-2', jti: 'session-1' }]
  ],
  ['token', 'jti-1', [{}, { rev: 99 }], [{ jti: 'jti-2' }, { jti: 'jti-2', sid: 'jti-1' }]],
  [
    'session_tokens',
    'session-1',
    [{}],
    [{ rev: 1 }, { sid: 'session-2' }, { sid: undefined }, { jti: 'session-1', rev: 1 }]
  ],
  ['user', 'user-1', [{}], [{ rev: 1 }, { rev: 2 }, { sub: 'user-2' }, { sid: 'user-1', sub: 'user-3' }]],
  [
    'client',
    'docs',
    [{}, { sid: undefined, sub: 'docs' }],
    [{ rev: 1 }, { client_id: 'docs2' }, { client_id: 'DOCS' }]
  ],
  ['role', 'admin', [{}, { roles: ['user', 'admin'] }], [{ rev: 1 }, { roles: [] }, { roles: ['admin2', 'Admin'] }]]
]
for (const [kind, id, revoked, others] of RULES)
  t.test(`an entry revokes the tokens that it names, and no others: ${kind}`, async (t) => {
    const { add, isRevoked } = setUp()
    for (const claims of [...revoked, ...others]) t.notOk(isRevoked(claims), JSON.stringify(claims))
    add([{ seq: 1, kind, id }])
    for (const claims of revoked) t.ok(isRevoked(claims), JSON.stringify(claims))
    for (const claims of others) t.notOk(isRevoked(claims), JSON.stringify(claims))
  })

t.test('an entry revokes the tokens that it names, and no others: key', async (t) => {
  const { add, isRevoked } = setUp()
  add([{ seq: 1, kind: 'key', id: 'key-1' }])
  t.ok(isRevoked({ rev: 99 }, 'key-1'))
  t.notOk(isRevoked({}, 'key-2'))
})

t.test('the newest entry of a user is compared, and only one is kept', async (t) => {
  const { add, isRevoked, size } = setUp()
  add([1, 2, 3].map((seq) => ({ seq, kind: 'user', id: 'user-1' })))
  t.strictSame(
    [0, 1, 2, 3].map((rev) => isRevoked({ rev })),
    [true, true, true, false]
  )
  t.equal(size(), 1)
})

t.test('an id may be a name that every object has, such as __proto__', async (t) => {
  const { add, isRevoked } = setUp()
  t.notOk(isRevoked({ sub: 'constructor', jti: '__proto__', roles: ['toString'] }))
  add([{ seq: 1, kind: 'role', id: '__proto__' }])
  t.ok(isRevoked({ roles: ['__proto__'] }))
})

t.test('the version changes with every entry', async (t) => {
  const { add, version } = setUp()
  const versions = new Set([version()])
  for (const seq of [1, 2, 3]) {
    add([{ seq, kind: 'user', id: 'user-1' }])
    versions.add(version())
  }
  t.equal(versions.size, 4)
})

t.test(
  'an entry is kept until every token that it revokes has expired, counted from its last occurrence',
  async (t) => {
    const { add, isRevoked, size, timer } = setUp()
    const session = (seq: number, id: string): AddedEntry => ({ seq, kind: 'session', id })
    add([session(1, 'session-1'), session(2, 'session-2')])
    await timer.advance(KEPT_MS - 1)
    add([session(3, 'session-1')])
    t.equal(size(), 2)
    await timer.advance(1)
    add([session(4, 'session-3')])
    t.strictSame(
      ['session-1', 'session-2', 'session-3'].map((sid) => isRevoked({ sid })),
      [true, false, true]
    )
    t.equal(size(), 2)
  }
)

const token = (seq: number, more: Partial<AddedEntry> = {}): AddedEntry => ({
  seq,
  kind: 'token',
  id: `jti-${seq}`,
  ...more
})

t.test(
  'the entry of a token is kept until the token has expired, on a clock that is a minute behind too',
  async (t) => {
    const { add, isRevoked, timer, size } = setUp()
    add([token(1, { expiresIn: 300 })])
    await timer.advance(359_999)
    t.ok(isRevoked({ jti: 'jti-1' }))
    await timer.advance(1)
    add([token(2)])
    t.strictSame([isRevoked({ jti: 'jti-1' }), size()], [false, 1])
  }
)

t.test(
  'when there are too many entries, those of expired tokens are dropped first, then the oldest; an entry of a key is never dropped [UA4]',
  async (t) => {
    const { add, isRevoked, judgeOther, size, timer, version } = setUp({ maxEntries: 4 })
    add([
      { seq: 1, kind: 'key', id: 'key-2' },
      token(2),
      token(3, { expiresIn: 10 }),
      { seq: 4, kind: 'session', id: 's' }
    ])
    await timer.advance(70_000)
    add([token(5)])
    t.strictSame([size(), isRevoked({ jti: 'jti-2' }), judgeOther(0)], [4, true, 'valid'], 'nothing is lost')
    const before = version()
    add([token(6)])
    t.strictSame(
      [
        size(),
        isRevoked({}, 'key-2'),
        isRevoked({ jti: 'jti-2' }),
        isRevoked({ sid: 's' }),
        isRevoked({ jti: 'jti-6' })
      ],
      [4, true, false, true, true]
    )
    t.strictSame([judgeOther(1), judgeOther(2)], ['unknown', 'valid'], 'tokens from before the dropped entry')
    t.not(version(), before)
    add(Array.from({ length: 100 }, (_, index) => token(7 + index)))
    t.strictSame([size(), judgeOther(102), judgeOther(103)], [4, 'unknown', 'valid'], 'never all tokens')
  }
)

t.test('a log that has started to count from an earlier number makes no new token unknown', async (t) => {
  const { add, judgeOther, forgetNumbered } = setUp({ maxEntries: 2 })
  add([token(100), token(101), token(102)])
  t.equal(judgeOther(50), 'unknown')
  forgetNumbered()
  t.equal(judgeOther(50), 'valid')
  add([token(51), token(52)])
  t.strictSame(
    [judgeOther(50), judgeOther(51)],
    ['valid', 'valid'],
    'dropping an entry from before forgetNumbered makes no token unknown'
  )
})
