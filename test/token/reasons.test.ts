import t from 'tap'
import { quoted } from '../../src/token/refusal.ts'
import { createTokenVerifier } from '../../src/token/verifier.ts'
import { createIssuer, ISSUER, NOW, nodeSignatures, type TestKey } from './issuer.ts'

const ORDERS = 'https://orders.example.com'
const { forge, valid, findKey, nextKid, key } = createIssuer()
const { token } = forge
const EVIL = 'x"\u001b[2J\n\u202e\u2028\ud800'
const SHOWN = '"x\\"\\u001b[2J\\n\\u202e\\u2028\\ud800"'

const REASONS: [name: string, token: string, code: string, message: string | RegExp, options?: object][] = [
  [
    'another audience',
    valid,
    'wrong_audience',
    `The audience of the token is "${ISSUER}", this service is "${ORDERS}"`,
    { audiences: [ORDERS] }
  ],
  [
    'none of two audiences',
    valid,
    'wrong_audience',
    `The audience of the token is "${ISSUER}", this service is "${ORDERS}" or "urn:orders"`,
    { audiences: [ORDERS, 'urn:orders'] }
  ],
  [
    'its time is over',
    valid,
    'expired',
    'The token expired at 2026-01-01T12:05:00Z, it is 2026-01-01T12:05:00Z',
    { seconds: 300 }
  ],
  [
    'its time has not come',
    valid,
    'clock',
    'The token was issued at 2026-01-01T12:00:00Z, it is 2026-01-01T11:59:50Z: the clock of this service or of the issuer is wrong',
    { seconds: -10 }
  ],
  [
    'a time that is no date',
    token({}, { iat: 9e15, exp: 9e15 + 1 }),
    'clock',
    /^The token was issued at 9000000000000000 s after 1970, /
  ],
  [
    'another issuer',
    token({}, { iss: 'http://localhost:3000' }),
    'wrong_issuer',
    `The issuer of the token is "http://localhost:3000", this service expects "${ISSUER}"`
  ],
  ['an unknown key', token({ kid: 'k'.repeat(43) }), 'unknown_key', `The issuer has no key "${'k'.repeat(43)}"`],
  [
    'another algorithm',
    token({ alg: 'RS256' }),
    'wrong_signature',
    'The token is signed with "RS256", its key is for ES256'
  ],
  [
    'the signature of another key',
    token({ kid: nextKid }),
    'wrong_signature',
    /^The signature of the token is not valid/
  ],
  [
    'no access token',
    token({ typ: 'JWT' }),
    'malformed',
    'The token does not have the form of an access token of Latchkey'
  ],
  ['text', 'x', 'malformed', 'The token does not have the form of an access token of Latchkey'],
  [
    'a missing claim',
    token({}, { jti: undefined }),
    'malformed',
    /^The claims of the token are not those of an access/
  ],
  [
    'an audience with control characters',
    token({}, { aud: EVIL.replace('\ud800', '') }),
    'wrong_audience',
    `The audience of the token is ${SHOWN.replace('\\ud800', '')}, this service is "${ORDERS}"`,
    { audiences: [ORDERS] }
  ],
  ['a long issuer', token({}, { iss: 'i'.repeat(5000) }), 'wrong_issuer', new RegExp(`is "${'i'.repeat(100)}"…, this`)]
]
for (const [name, refused, code, message, options = {}] of REASONS)
  t.test(
    `the verifier says why it refuses a token, also one it remembers, in one line without the token: ${name}`,
    async (t) => {
      const { audiences = null, seconds = 0 } = options as { audiences?: string[]; seconds?: number }
      let now = NOW
      const verifier = createTokenVerifier<TestKey>({
        issuer: ISSUER,
        clock: { now: () => now },
        findKey,
        hasValidSignature: nodeSignatures,
        remembered: 5
      })
      const verify = (jwt: string, allowed: string[] | null) =>
        verifier.verify(jwt, { audiences: allowed, ahead: 0, behind: 0 }) as { kind: string; message: string }
      t.equal(verify(valid, null).kind, 'verified')
      now += seconds * 1000
      const verdict = verify(refused, audiences)
      t.match(verdict, { kind: 'refused', code, message })
      t.match(verdict.message, /^[\x20-\x7e…]{1,400}$/)
      for (const part of refused.split('.')) t.notOk(part.length > 20 && verdict.message.includes(part))
    }
  )

t.test('the claims of a token are compared before its key is searched', async (t) => {
  const searched: string[] = []
  const verifier = createTokenVerifier<TestKey>({
    issuer: ISSUER,
    clock: { now: () => NOW },
    findKey: (kid) => {
      searched.push(kid)
      return findKey(kid)
    },
    hasValidSignature: nodeSignatures,
    remembered: 5
  })
  const verify = (jwt: string) => verifier.verify(jwt, { audiences: [ISSUER], ahead: 0, behind: 0 })
  for (const changed of [
    { iss: ORDERS },
    { aud: ORDERS },
    { exp: NOW / 1000, iat: 1 },
    { iat: NOW, exp: NOW + 1 },
    { jti: '' }
  ])
    t.match(verify(token({}, changed)), { kind: 'refused' })
  t.strictSame(searched, [])
  t.match(verify(valid), { kind: 'verified' })
  t.strictSame(searched, [key.kid])
})

t.test('a text of a stranger is quoted, escaped and cut', async (t) => {
  t.equal(quoted(EVIL), SHOWN)
  t.equal(quoted('a\u0000\u0085\u2066\u007fb'), '"a\\u0000\\u0085\\u2066\\u007fb"')
  t.equal(quoted('x'.repeat(101)), `"${'x'.repeat(100)}"…`)
  t.equal(quoted(`${'x'.repeat(99)}😀`), `"${'x'.repeat(99)}\\ud83d"…`, 'half of a pair is escaped')
})
