import { equal } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { normalPassword, weakness } from '../../src/domain/passwords.ts'

const ROUNDS = Number(process.env.LATCHKEY_ROUNDS ?? 300)
const seed = Number(process.env.LATCHKEY_SEED ?? 1_024_015)
t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed} LATCHKEY_ROUNDS=${ROUNDS}`)

const ABOUT = { minLength: 15, names: ['alice', 'Alice.Liddell@example.com', 'Alice Pleasance Liddell', 'latchkey'] }
const COMMON = 'The password is too common'
const OWN = 'The password consists of the name or e-mail address of the user, or of the name of the service'
const LONG = 'A password has at most 1024 bytes'
const BROKEN = 'A password holds only valid Unicode characters and no NUL'

/** Returns a text of that many bytes that is no common password. */
const unusual = (bytes: number): string => Array.from({ length: bytes }, (_, i) => i.toString(36).at(-1)).join('')

const table: [password: string, answer: string | null][] = [
  // Accepted.
  ['correct horse battery staple', null],
  ['vivid.otter.Kayak.17', null],
  ['kein Mensch weiß es', null],
  ['我的貓今天早上吃了兩條魚又睡著了', null],
  ['839204719384756', null],
  ['839204719384756x', null],
  ['my password is a secret to you', null],
  ['  spaces at the ends  ', null],
  ['🐙🦊🐢🦉🐝🦀🐳🦔🐞🦋🐌🐧🦁🐸🐼', null],
  // Common passwords, also repeated or with digits and signs around them; repetitions of a short text.
  ['q1w2e3r4t5y6u7i8', COMMON],
  ['Q1W2E3R4T5Y6U7I8', COMMON],
  ['1qaz2wsx3edc4rfv', COMMON],
  ['password1234567', COMMON],
  ['1234567password', COMMON],
  ['!!!! Password !!!!', COMMON],
  ['dragon 2026-11-22', COMMON],
  ['dragon monkey 1234', COMMON],
  ['123456-dragon-monkey', COMMON],
  ['passwordpassword', COMMON],
  ['PasswordpassworD', COMMON],
  ['baseballbaseballbaseball', COMMON],
  ['19 passwordpassword 84', COMMON],
  ['abc123abc123abc123', COMMON],
  ['aaaaaaaaaaaaaaa', COMMON],
  ['               ', COMMON],
  ['𐐀𐐀𐐀𐐀𐐀𐐀𐐀𐐀𐐀𐐀𐐀𐐀𐐀𐐀𐐀', COMMON],
  ['𐐀𐐁𐐂𐐃𐐀𐐁𐐂𐐃𐐀𐐁𐐂𐐃𐐀𐐁𐐂𐐃', COMMON],
  ['x7!kx7!kx7!kx7!k', COMMON],
  ['x7!kvx7!kvx7!kv', null],
  // Rows of keys and of the alphabet.
  ['123456789012345', COMMON],
  ['123456789123456', COMMON],
  ['901234567890123', COMMON],
  ['098765432109876', COMMON],
  ['abcdefghijklmnop', COMMON],
  ['stuvwxyzabcdefgh', COMMON],
  ['zyxwvutsrqponmlk', COMMON],
  ['ABCDEFGHIJKLMNO1', COMMON],
  ['qwertyuiopasdfgh', COMMON],
  ['mnbvcxzlkjhgfds', COMMON],
  ['qwertzuiopasdfg', COMMON],
  ['azertyuiopqsdfg', COMMON],
  ['1234567890qwert', COMMON],
  ['1qaz2wsx3edc4rfv5tgb', COMMON],
  ['abcdefghijklmnq', null],
  // Names of the user and of the service, and combinations of common words.
  ['alice alice alice', OWN],
  ['ALICE-1865-07-04-', COMMON],
  ['xyz alice 1865 !', null],
  ['password password', COMMON],
  ['Passw0rd-Passw0rd', COMMON],
  ['letmein letmein letmein', COMMON],
  ['adminpassword123', COMMON],
  ['passwordqwerty123', COMMON],
  ['aaaaaaaaaaaaaab', COMMON],
  ['1q2w3e4r5t6y7u8i9o0p', COMMON],
  ['trustno1trustno1!', COMMON],
  ['73920-48811-dragonfly', null],
  ['8472918422101937 alice', null],
  ['dragon monkey sunshine', null],
  ['alice 1865 wxyz', null],
  ['Alice.Liddell@example.com', OWN],
  ['liddell, pleasance', OWN],
  ['Latchkey 2026 $+<=>', OWN],
  ['latchkeylatchkey1', OWN],
  ['alice in wonderland', null],
  ['pleasance 🐙🦊🐢🦉🐝', null],
  // Length comes first.
  ['password', 'A password has at least 15 characters'],
  ['', 'A password has at least 15 characters'],
  ['alice', 'A password has at least 15 characters'],
  // Texts that cannot be passwords.
  ['a password \0 with NUL', BROKEN],
  ['a password \ud800 with half', BROKEN]
]

for (const [password, answer] of table) {
  t.test(`${JSON.stringify(password)}: ${answer ?? 'accepted'}`, async (t) => {
    t.equal((await weakness(password, ABOUT))?.message ?? null, answer)
    t.equal((await weakness(password.normalize('NFD'), ABOUT))?.message ?? null, answer)
  })
}

t.test('the own e-mail address is refused as password, its domain alone is not', async (t) => {
  const about = { minLength: 8, names: ['bob', 'alice.liddell'], email: 'Alice.Liddell@mail.example' }
  for (const password of [
    'Alice.Liddell@mail.example',
    'ALICE.LIDDELL@MAIL.EXAMPLE',
    'alice.liddell@mail.example12',
    'alice.liddell',
    'liddell1'
  ])
    t.equal((await weakness(password, about))?.message ?? null, OWN, password)
  for (const password of ['otter.17@mail.example'])
    t.equal((await weakness(password, about))?.message ?? null, null, password)
  t.equal(
    (await weakness('x@mail.example', { ...about, names: [], email: 'x@mail.example' }))?.message ?? null,
    OWN,
    'a short local part'
  )
})

t.test('a password must have the minimum length, in code points after NFC', async (t) => {
  const least = { minLength: 8, names: [] }
  const lengths: [password: string, about: { minLength: number; names: string[] }, isLongEnough: boolean][] = [
    ['k7!mQz2', least, false],
    ['k7!mQz2w', least, true],
    ['k7!mQz2wR5&tYb', ABOUT, false],
    ['k7!mQz2wR5&tYbn', ABOUT, true],
    ['🐙🦊🐢🦉🐝🦀🐳', least, false],
    ['🐙🦊🐢🦉🐝🦀🐳🦔', least, true],
    ['zoë12é!'.normalize('NFD'), least, false],
    ['zoë12é!x'.normalize('NFD'), least, true]
  ]
  for (const [password, about, isLongEnough] of lengths) {
    const answer = isLongEnough ? null : `A password has at least ${about.minLength} characters`
    t.equal((await weakness(password, about))?.message ?? null, answer, password)
    t.equal((await weakness(password.normalize('NFC'), about))?.message ?? null, answer, password)
  }
})

t.test('a password of 1,024 bytes as sent and in NFC is accepted, one of 1,025 is refused', async (t) => {
  const most = unusual(1024)
  const umlauts = `${unusual(1000)}${'ë'.repeat(12)}`
  const decomposed = `${unusual(1000)}${'ë'.repeat(8)}`.normalize('NFD')
  for (const password of [most, umlauts, decomposed]) {
    t.equal(normalPassword(password), password.normalize('NFC'))
    t.equal((await weakness(password, ABOUT))?.message ?? null, null)
  }
  // U+0344 has two bytes, and four in NFC.
  const growing = `${unusual(1000)}${'\u{344}'.repeat(7)}`
  for (const password of [`${most}x`, `${umlauts}x`, `${decomposed}x`, growing, 'x'.repeat(1_000_000)]) {
    t.equal(normalPassword(password), null)
    t.equal((await weakness(password, ABOUT))?.message ?? null, LONG)
  }
  t.equal(normalPassword('a\0b'), null)
  t.equal(normalPassword('a\ud800b'), null)
  t.equal(normalPassword(' Zoe\u{308} \t²'), ' Zo\u{eb} \t²')
})

t.test('names of at least three characters are removed before the rest is counted, longest first', async (t) => {
  for (const names of [[], [''], ['7'], ['ab'], ['k']]) {
    t.equal((await weakness('73951846207395184', { minLength: 15, names }))?.message ?? null, null)
    t.equal((await weakness('ab 7 k 39 51 846-20', { minLength: 15, names }))?.message ?? null, null)
  }
  t.equal((await weakness('wei.li7395wei.li', { minLength: 15, names: ['wei.li'] }))?.message ?? null, OWN)
  t.equal(
    (await weakness('bertolt-bertolt-bertolt', { minLength: 15, names: ['bert', 'Bertolt'] }))?.message ?? null,
    OWN
  )
  t.equal((await weakness('ab.7ab.7ab.7x39ab.7', { minLength: 15, names: ['ab.7'] }))?.message ?? null, OWN)
})

t.test('every reason for a refusal is ASCII', async (t) => {
  for (const reason of [COMMON, OWN, LONG, BROKEN]) t.match(reason, /^[A-Z][ -~]+$/)
})

t.test('a random text is never refused', async () => {
  // The bytes are hashed from a number, because fast-check prefers extreme bytes: fifteen zero bytes are one repeated letter in base64.
  const random = fc.nat().map((key) => createHash('sha256').update(`${seed} ${key}`).digest('base64').slice(0, 20))
  await fc.assert(
    fc.asyncProperty(random, async (password) => equal(await weakness(password, ABOUT), null)),
    { seed, numRuns: ROUNDS }
  )
})

t.test('a long repetition is refused, also one that makes regular expressions backtrack', async (t) => {
  for (const [head, tail, answer] of [
    ['a', 'b', COMMON],
    ['ab', '!', COMMON],
    ['1', 'x', COMMON],
    ['alice', 'x', OWN],
    ['!a', 'b', COMMON]
  ] as const) {
    const password = `${head.repeat(Math.floor(1000 / head.length))}${tail}`
    t.equal((await weakness(password, ABOUT))?.message ?? null, answer, head)
  }
})
