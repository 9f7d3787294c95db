import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Fetch } from '../../src/guard/http.ts'
import { createMetadata } from '../../src/guard/metadata.ts'
import { createRevocations } from '../../src/guard/revocations.ts'
import { systemTimer } from '../../src/guard/timer.ts'
import type { AccessTokenClaims } from '../../src/token/claims.ts'
import { json, type PlantedIssuer, plantIssuer, type Responder, USELESS, until } from './planted.ts'

const BOUND = 30_000
/** Longer than any entry is for. */
const ENDED = 3_720_000

/** The log of a planted issuer, followed; `jump` moves the clock that nobody sets. */
async function follow(
  t: Test,
  { issuer, log: behind }: PlantedIssuer,
  { bound = BOUND, fetch = globalThis.fetch as Fetch, patience = 5000 } = {}
) {
  let ahead = 0
  const told: string[] = []
  const errors: string[] = []
  const log = createRevocations({
    metadata: createMetadata({ issuer, fetch: globalThis.fetch }),
    fetch,
    timer: { ...systemTimer, elapsed: () => performance.now() + ahead },
    staleAfterMs: bound,
    onError: (error) => errors.push((error as Error).message.replaceAll(issuer, '')),
    onStale: () => told.push('stale'),
    onFresh: () => told.push('fresh')
  })
  t.teardown(() => log.stop())
  await log.start(patience)
  if (log.isFresh() && fetch === globalThis.fetch) await until(() => behind.waiting.size > 0)
  return {
    log,
    told,
    errors,
    jump(ms: number) {
      ahead += ms
    }
  }
}

const refuses = (
  { log }: Awaited<ReturnType<typeof follow>>,
  { claims, key }: PlantedIssuer,
  changes: Record<string, unknown> = {}
) => log.refuses(claims(changes) as unknown as AccessTokenClaims, key.kid)

/** From now on the log answers so; whoever waits for the old one is told of an entry. */
function become(planted: PlantedIssuer, responder: Responder): void {
  planted.responders.revocations = responder
  planted.revoke('token', 'the last that is heard of')
}

const entry = (seq: number, kind: unknown = 'token', id: unknown = `id-${seq}`) => ({ seq, kind, id })
const GARBAGE: [what: string, body: unknown][] = [
  ['no entries', { seq: 1, oldest: 0 }],
  ['entries that are no list', { entries: {}, seq: 1, oldest: 0 }],
  ['entries that are none', { entries: [null], seq: 9, oldest: 0 }],
  ['entries that are lists', { entries: [[9, 'token', 'x']], seq: 9, oldest: 0 }],
  ['no seq', { entries: [], oldest: 0 }],
  ['seq null', { entries: [], seq: null, oldest: 0 }],
  ['seq as a text', { entries: [], seq: '1', oldest: 0 }],
  ['seq below 0', { entries: [], seq: -1, oldest: -1 }],
  ['seq that is no whole number', { entries: [], seq: 1.5, oldest: 0 }],
  ['seq beyond exact numbers', `{"entries":[],"seq":1e300,"oldest":0}`],
  ['no oldest', { entries: [], seq: 1 }],
  ['oldest beyond seq', { entries: [], seq: 1, oldest: 2 }],
  ['an unknown kind', { entries: [entry(2, 'planet')], seq: 2, oldest: 0 }],
  ['the kind of a prototype', { entries: [entry(2, 'constructor')], seq: 2, oldest: 0 }],
  ['no kind', { entries: [{ seq: 2, id: 'x' }], seq: 2, oldest: 0 }],
  ['no id', { entries: [{ seq: 2, kind: 'token' }], seq: 2, oldest: 0 }],
  ['an empty id', { entries: [entry(2, 'token', '')], seq: 2, oldest: 0 }],
  ['an id that is a number', { entries: [entry(2, 'token', 1)], seq: 2, oldest: 0 }],
  ['an id of 1,025 characters', { entries: [entry(2, 'token', 'x'.repeat(1025))], seq: 2, oldest: 0 }],
  ['one good entry and one that is none', { entries: [entry(2), entry(3, 'planet')], seq: 3, oldest: 0 }],
  ['an entry whose seq is a text', { entries: [{ ...entry(2), seq: '2' }], seq: 2, oldest: 0 }],
  ['entries out of order', { entries: [entry(3), entry(2)], seq: 3, oldest: 0 }],
  ['one number twice', { entries: [entry(2), entry(2)], seq: 2, oldest: 0 }],
  ['an entry beyond seq', { entries: [entry(3)], seq: 2, oldest: 0 }],
  ['entries of before', { entries: [entry(1)], seq: 1, oldest: 0 }],
  ['entries of before with a newer seq', { entries: [entry(1)], seq: 7, oldest: 0 }]
]
const BAD: [what: string, responder: Responder][] = [
  ...USELESS,
  ...GARBAGE.map(([what, body]): [string, Responder] => [what, json(body)]),
  ['a redirect', (_request, response) => response.writeHead(302, { location: '/other' }).end()],
  ['too many requests', json({}, { 'retry-after': '3600' }, 429)]
]

// They wait more than they work.
t.test('a log that answers garbage', { jobs: 4 }, async (t) => {
  for (const [what, responder] of BAD)
    t.test(
      `a log that answers garbage is not heard of, and nothing is missed when it is back: ${what}`,

      async (t) => {
        const planted = await plantIssuer(t)
        planted.responders.other = json({ entries: [], seq: 1, oldest: 0 })
        const good = planted.responders.revocations as Responder
        const following = await follow(t, planted)
        const { log, jump, told, errors } = following
        t.ok(log.isFresh())
        become(planted, responder)
        const asked = planted.count('revocations')
        await until(() => errors.length > 0 && planted.count('revocations') > asked + 1)
        t.equal(log.status().seq, 1)
        t.equal(errors.length, 1, 'the same failure is told once')
        jump(BOUND + 1)
        t.notOk(log.isFresh())
        t.notOk(log.isFresh())
        planted.revoke('session', 'session-1')
        planted.responders.revocations = good
        await until(() => log.isFresh())
        t.ok(refuses(following, planted))
        t.notOk(refuses(following, planted, { sid: 'session-2' }))
        t.strictSame(told, ['fresh', 'stale', 'fresh'])
        t.equal(log.status().seq, 2)
      }
    )
})

t.test('what is revoked is known at once, and nobody is asked more often than needed', async (t) => {
  const planted = await plantIssuer(t)
  const following = await follow(t, planted)
  t.notOk(refuses(following, planted))
  const before = performance.now()
  planted.revoke('session', 'session-1')
  await until(() => refuses(following, planted))
  t.ok(performance.now() - before < 500)
  await sleep(300)
  t.strictSame(planted.requests.slice(1), [
    '/revocations?after=0&wait=0',
    '/revocations?after=0&wait=10',
    '/revocations?after=1&wait=10'
  ])
  t.strictSame(following.errors, [])
})

for (const [bound, wait] of [
  [4000, 1],
  [15_000, 5],
  [60_000, 20],
  [300_000, 20]
])
  t.test(`a call waits so long that its answer comes within the bound: ${wait} s for ${bound} ms`, async (t) => {
    const planted = await plantIssuer(t)
    await follow(t, planted, { bound })
    await until(() => planted.count('revocations') === 2)
    t.equal(planted.requests.at(-1), `/revocations?after=0&wait=${wait}`)
  })

/** How often a log is asked in a second that answers so. */
async function asked(t: Test, responder: Responder) {
  const planted = await plantIssuer(t)
  const following = await follow(t, planted)
  become(planted, responder)
  await sleep(500)
  const before = planted.count('revocations')
  await sleep(1000)
  return { ...following, planted, calls: planted.count('revocations') - before }
}

t.test('a log that does not wait is not asked without end, and is heard of', async (t) => {
  const { calls, log, errors } = await asked(t, json({ entries: [], seq: 1, oldest: 0 }))
  t.ok(calls >= 1 && calls <= 8, `${calls} calls`)
  t.ok((log.status().lag as number) < 1100)
  t.strictSame(errors, [])
})

t.test('a log that is away is not asked without end', async (t) => {
  const { calls } = await asked(t, json({}, {}, 500))
  t.ok(calls >= 1 && calls <= 8, `${calls} calls`)
})

t.test('a log that says the same entry again and again is not asked without end, and not believed', async (t) => {
  const { calls, log, planted } = await asked(t, json({ entries: [entry(1)], seq: 1, oldest: 0 }))
  t.ok(calls >= 1 && calls <= 8, `${calls} calls`)
  t.ok((log.status().lag as number) > 1000)
  t.equal(log.status().seq, 1)
  t.equal(planted.log.seq, 1)
})

t.test('a log that has always something new, which it never tells, is not heard of', async (t) => {
  const { log } = await asked(t, (request, response) => {
    const after = Number(new URL(request.url as string, 'http://x').searchParams.get('after'))
    json({ entries: [entry(after + 1)], seq: after + 2, oldest: 0 })(request, response)
  })
  t.ok((log.status().lag as number) > 1000)
})

t.test('an old answer that comes again is not believed, and nothing is forgotten', async (t) => {
  const planted = await plantIssuer(t)
  const good = planted.responders.revocations as Responder
  planted.revoke('user', 'user-1')
  planted.revoke('session', 'session-2')
  const following = await follow(t, planted)
  const { log, jump, errors } = following
  const known = () => [
    refuses(following, planted, { rev: 0 }),
    refuses(following, planted, { sid: 'session-2' }),
    refuses(following, planted)
  ]
  t.strictSame(known(), [true, true, false])
  // Whatever is asked for, except by those who ask for everything.
  become(planted, (request, response) =>
    request.url?.includes('after=0&')
      ? good(request, response)
      : json({ entries: [], seq: 1, oldest: 0 })(request, response)
  )
  await until(() => errors.length > 0)
  t.match(errors, ['the revocation log repeated an old response'])
  t.strictSame(known(), [true, true, false])
  jump(BOUND + 1)
  await sleep(300)
  t.notOk(log.isFresh())
  planted.responders.revocations = good
  await until(() => log.isFresh())
  t.strictSame(known(), [true, true, false])
  t.equal(log.status().seq, 3)
})

t.test('a log that goes back is believed when it says so twice: what was revoked outright stays so', async (t) => {
  const planted = await plantIssuer(t)
  for (const [kind, id] of [
    ['session', 'session-2'],
    ['token', 'token-2'],
    ['key', 'key-2'],
    ['user', 'user-1'],
    ['client', 'client-2'],
    ['role', 'role-2']
  ] as const)
    planted.revoke(kind, id)
  const following = await follow(t, planted)
  const { log, errors } = following
  t.equal(log.status().seq, 6)
  t.ok(refuses(following, planted, { rev: 0 }))
  // As after a restore: the first two are there, and what comes next has numbers that were there before.
  const { log: behind } = planted
  behind.entries.splice(2)
  behind.seq = 2
  planted.revoke('user', 'user-9')
  await until(() => log.status().seq === 3)
  t.strictSame(errors, ['the revocation log went back from 6 to 3'])
  t.strictSame(
    [{ sid: 'session-2' }, { jti: 'token-2' }, { sub: 'user-9', rev: 2 }].map((changes) =>
      refuses(following, planted, changes)
    ),
    [true, true, true]
  )
  t.ok(log.refuses(planted.claims() as unknown as AccessTokenClaims, 'key-2'))
  // Made after the restore, so it has a number that is lower than that of the entry of before.
  t.notOk(refuses(following, planted, { rev: 3 }))
  t.notOk(refuses(following, planted, { client_id: 'client-2', rev: 3 }))
  t.ok(log.isFresh())
  planted.revoke('user', 'user-1')
  await until(() => refuses(following, planted, { rev: 3 }))
})

t.test('a log that goes back is not known before it was read to its end', async (t) => {
  const planted = await plantIssuer(t)
  const { log: behind } = planted
  for (let n = 1; n <= 2500; n++) planted.revoke('user', `user-${n}`)
  const following = await follow(t, planted)
  const { log } = following
  const good = planted.responders.revocations as Responder
  const letIn: string[] = []
  planted.responders.revocations = (request, response) => {
    if (log.isFresh() && !refuses(following, planted, { sub: 'user-2400', rev: 0 })) letIn.push(request.url as string)
    return good(request, response)
  }
  behind.seq = 2450
  behind.entries.splice(2450)
  for (const resolve of behind.waiting) resolve()
  await until(() => log.status().seq === 2450 && log.isFresh())
  t.strictSame(letIn, [])
  t.ok(refuses(following, planted, { sub: 'user-2400', rev: 0 }))
})

t.test('a log that goes back and forth is not asked without end', async (t) => {
  let seq = 1000
  const { calls } = await asked(t, (request, response) => {
    seq = seq > 500 ? seq - 1 : 1000
    json({ entries: [entry(seq)], seq, oldest: seq - 1 })(request, response)
  })
  t.ok(calls >= 1 && calls <= 16, `${calls} calls`)
})

t.test('an answer is as old as its question, however slowly it comes', async (t) => {
  const planted = await plantIssuer(t)
  const { log } = await follow(t, planted, { bound: 2000 })
  become(planted, async (request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    for (let n = 0; n < 22; n++) {
      response.write(' ')
      await sleep(100)
    }
    response.end('{"entries":[],"seq":1,"oldest":0}')
    request.resume()
  })
  await until(() => !log.isFresh())
  for (let n = 0; n < 30; n++) {
    t.notOk(log.isFresh())
    await sleep(100)
  }
})

t.test('an answer that never ends is given up', async (t) => {
  const planted = await plantIssuer(t)
  const good = planted.responders.revocations as Responder
  const following = await follow(t, planted, { bound: 2000 })
  become(planted, async (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    while (!response.destroyed) {
      response.write(' ')
      await sleep(50)
    }
  })
  await until(() => following.errors.length > 0, 8000)
  t.match(following.errors, ['GET /revocations: no response within 6000 ms'])
  planted.revoke('session', 'session-1')
  planted.responders.revocations = good
  await until(() => following.log.isFresh() && refuses(following, planted))
})

t.test('a log of more than one answer is known when it was read to its end', async (t) => {
  const planted = await plantIssuer(t)
  for (let n = 1; n <= 2500; n++) planted.revoke('session', `old-${n}`)
  const good = planted.responders.revocations as Responder
  const seen: boolean[] = []
  const state: { following?: Awaited<ReturnType<typeof follow>> } = {}
  planted.responders.revocations = async (request, response) => {
    if (state.following !== undefined) {
      const { log } = state.following
      seen.push(log.isFresh() || log.status().lag !== null)
    }
    await sleep(200)
    return good(request, response)
  }
  planted.responders.metadata = ((metadata) => async (request, response) => {
    await sleep(600)
    return metadata(request, response)
  })(planted.responders.metadata as Responder)
  state.following = await follow(t, planted, { patience: 500 })
  await until(() => state.following?.log.isFresh() === true)
  t.strictSame(seen.slice(0, 3), [false, false, false])
  t.strictSame(planted.requests.slice(1, 4), [
    '/revocations?after=0&wait=0',
    '/revocations?after=1000&wait=10',
    '/revocations?after=2000&wait=10'
  ])
  for (const sid of ['old-1', 'old-1001', 'old-2500']) t.ok(refuses(state.following, planted, { sid }))
  t.equal(state.following.log.status().entries, 2500)
})

t.test('a log whose beginning is gone is read from there on', async (t) => {
  const planted = await plantIssuer(t)
  planted.log.seq = 5000
  const following = await follow(t, planted)
  t.ok(following.log.isFresh())
  t.equal(following.log.status().seq, 5000)
  planted.revoke('session', 'session-1')
  await until(() => refuses(following, planted))
  t.equal(following.log.status().seq, 5001)
})

t.test(
  'an entry is forgotten when no token can be left that it is for, not before, and later for one that came again',
  async (t) => {
    const planted = await plantIssuer(t)
    for (const id of ['session-1', 'session-2']) planted.revoke('session', id)
    const following = await follow(t, planted)
    const { log, jump } = following
    jump(ENDED - 5000)
    planted.revoke('session', 'session-2')
    await until(() => log.status().seq === 3)
    t.equal(log.status().entries, 2)
    jump(5001)
    planted.revoke('session', 'session-3')
    await until(() => log.status().seq === 4)
    t.strictSame(
      ['session-1', 'session-2', 'session-3'].map((sid) => refuses(following, planted, { sid })),
      [false, true, true]
    )
    t.equal(log.status().entries, 2)
  }
)

t.test(
  'a million entries are kept and no more: then the log is not heard of, and what is known is refused',
  async (t) => {
    const planted = await plantIssuer(t)
    let most = 1_000_000
    const fetch: Fetch = async (url) => {
      const after = Number(new URL(url).searchParams.get('after'))
      if (after === most) await sleep(50)
      const count = Math.min(25_000, most - after)
      const entries = Array.from({ length: count }, (_, index) =>
        entry(after + index + 1, 'token', `${after + index + 1}`)
      )
      return Response.json({ entries, seq: most, oldest: 0 })
    }
    const following = await follow(t, planted, { fetch })
    const { log, jump, errors } = following
    await until(() => log.isFresh(), 30_000)
    t.equal(log.status().entries, 1_000_000)
    most++
    await until(() => errors.length > 0)
    t.strictSame(errors, ['the revocation log has more than 1000000 entries'])
    jump(BOUND + 1)
    t.notOk(log.isFresh())
    t.ok(refuses(following, planted, { jti: '1' }))
    jump(ENDED)
    await until(() => log.isFresh())
    t.equal(log.status().entries, 1)
  }
)

const MATTERS: [kind: string, id: string, ends: Record<string, unknown>[], leaves: Record<string, unknown>[]][] = [
  [
    'session',
    'session-1',
    [{}, { rev: 99 }],
    [{ sid: 'session-2' }, { sid: undefined }, { sid: 'session-2', jti: 'session-1' }]
  ],
  ['token', 'jti-1', [{ jti: 'jti-1' }, { jti: 'jti-1', rev: 99 }], [{ jti: 'jti-2' }, { sid: 'jti-1' }]],
  ['user', 'user-1', [{}, { rev: 0 }], [{ rev: 1 }, { rev: 2 }, { sub: 'user-2' }, { sid: 'user-1', sub: 'user-3' }]],
  [
    'client',
    'docs',
    [{}, { sid: undefined, sub: 'docs' }],
    [{ rev: 1 }, { client_id: 'docs2' }, { client_id: 'DOCS' }]
  ],
  ['role', 'admin', [{}, { roles: ['user', 'admin'] }], [{ rev: 1 }, { roles: [] }, { roles: ['admin2', 'Admin'] }]]
]
for (const [kind, id, ends, leaves] of MATTERS)
  t.test(`an entry ends what it names and nothing else: ${kind}`, async (t) => {
    const planted = await plantIssuer(t)
    const following = await follow(t, planted)
    const judge = (changes: Record<string, unknown>) => refuses(following, planted, { rev: 0, ...changes })
    for (const each of [...ends, ...leaves]) t.notOk(judge(each))
    planted.revoke(kind, id)
    await until(() => following.log.status().seq === 1)
    for (const each of ends) t.ok(judge(each), JSON.stringify(each))
    for (const each of leaves) t.notOk(judge(each), JSON.stringify(each))
  })

t.test('an entry ends what it names and nothing else: key', async (t) => {
  const planted = await plantIssuer(t)
  const following = await follow(t, planted)
  planted.revoke('key', planted.key.kid)
  await until(() => following.log.status().seq === 1)
  t.ok(refuses(following, planted, { rev: 99 }))
  t.notOk(following.log.refuses(planted.claims() as unknown as AccessTokenClaims, 'another'))
})

t.test('the newest entry for a user counts', async (t) => {
  const planted = await plantIssuer(t)
  const following = await follow(t, planted)
  for (let n = 0; n < 3; n++) planted.revoke('user', 'user-1')
  await until(() => following.log.status().seq === 3)
  t.strictSame(
    [0, 1, 2, 3].map((rev) => refuses(following, planted, { rev })),
    [true, true, true, false]
  )
  t.equal(following.log.status().entries, 1)
})

t.test('ids that are names of prototypes are ids', async (t) => {
  const planted = await plantIssuer(t)
  const following = await follow(t, planted)
  t.notOk(refuses(following, planted, { sub: 'constructor', jti: '__proto__', roles: ['toString'], rev: 0 }))
  planted.revoke('role', '__proto__')
  await until(() => following.log.status().seq === 1)
  t.ok(refuses(following, planted, { roles: ['__proto__'], rev: 0 }))
})

t.test('who waits for the log is not held up by one that is away, and a stop ends every call', async (t) => {
  const planted = await plantIssuer(t)
  planted.responders.revocations = () => {}
  const before = performance.now()
  const { log } = await follow(t, planted, { patience: 500 })
  t.ok(performance.now() - before < 1500)
  t.notOk(log.isFresh())
  t.strictSame(log.status(), { seq: null, lag: null, entries: 0 })
  const stopping = performance.now()
  await log.stop()
  t.ok(performance.now() - stopping < 200)
  const { length } = planted.requests
  await sleep(300)
  t.equal(planted.requests.length, length)
})
