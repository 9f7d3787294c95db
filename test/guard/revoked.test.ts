import t from 'tap'
import { createRevoked, type Entry } from '../../src/guard/revoked.ts'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import { createFakeTimer } from '../fake-timer.ts'
import type { Members } from '../jws.ts'

/** One hour, the longest lifetime of a token, and two minutes for clock differences. */
const KEPT_MS = 3_660_000 + 60_000

/** Creates the list of revocations. `isRevoked` returns whether it refuses a token with these changes of its claims. */
function setUp(options: { maxEntries?: number } = {}) {
  const timer = createFakeTimer()
  const { refuses, ...revoked } = createRevoked({ timer, ...options })
  const claims = { jti: 'jti-1', sid: 'session-1', sub: 'user-1', client_id: 'docs', roles: ['admin'], rev: 0 }
  return {
    ...revoked,
    timer,
    isRevoked: (changes: Members = {}, kid = 'key-1') =>
      refuses({ ...claims, ...changes } as unknown as AccessTokenClaims, kid)
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
    const session = (seq: number, id: string): Entry => ({ seq, kind: 'session', id })
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

t.test('too many entries throw, and none of them is added', async (t) => {
  const { add, isRevoked, size, timer } = setUp({ maxEntries: 3 })
  const token = (seq: number): Entry => ({ seq, kind: 'token', id: `jti-${seq}` })
  add([token(1), token(2)])
  t.throws(() => add([token(3), token(4)]), { message: 'the revocation log has more than 3 entries' })
  t.strictSame([size(), isRevoked({ jti: 'jti-1' }), isRevoked({ jti: 'jti-3' })], [2, true, false])
  await timer.advance(KEPT_MS)
  add([token(3), token(4), token(5)])
  t.equal(size(), 3)
})
