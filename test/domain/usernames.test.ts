import { deepStrictEqual, equal, notEqual, ok } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { parseUsername, usernameKey } from '../../src/domain/usernames.ts'
import { codePoint } from '../mutations.ts'

const ROUNDS = Number(process.env.LATCHKEY_ROUNDS ?? 300)
const seed = Number(process.env.LATCHKEY_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed}, ${ROUNDS} rounds: repeat it with LATCHKEY_SEED=${seed} LATCHKEY_ROUNDS=${ROUNDS}`)

const PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~'
const LONGEST = 64

const allowed: [what: string, text: string, username: string, key: string][] = [
  ['ASCII', 'alice', 'alice', 'alice'],
  ['one character', 'a', 'a', 'a'],
  ['digits', '0123456789', '0123456789', '0123456789'],
  ['all punctuation of ASCII', PUNCTUATION, PUNCTUATION, PUNCTUATION],
  ['an e-mail address', 'Alice@Example.com', 'Alice@Example.com', 'alice@example.com'],
  ['upper case', 'ALICE', 'ALICE', 'alice'],
  ['fullwidth', 'Ａｌｉｃｅ＿１～', 'Alice_1~', 'alice_1~'],
  ['halfwidth katakana and a voiced mark', 'ｱﾘｶﾞ', 'アリガ', 'アリガ'],
  ['NFC', 'Zo\u{eb}', 'Zo\u{eb}', 'zo\u{eb}'],
  ['NFD', 'Zoe\u{308}', 'Zo\u{eb}', 'zo\u{eb}'],
  ['marks in any order', 'a\u{307}\u{323}', '\u{1ea1}\u{307}', '\u{1ea1}\u{307}'],
  ['a letter that is composed in lower case only', 'J\u{30c}', 'J\u{30c}', '\u{1f0}'],
  ['the sign of ohm', '\u{2126}', '\u{3a9}', '\u{3c9}'],
  ['the sign of kelvin', '\u{212a}', 'K', 'k'],
  ['sharp s', 'Stra\u{df}e', 'Stra\u{df}e', 'strasse'],
  ['capital sharp s', '\u{1e9e}', '\u{1e9e}', 'ss'],
  ['sigma at the end of a word', 'ΟΔΟΣ', 'ΟΔΟΣ', 'οδοσ'],
  ['sigma inside of a word', 'ΣΑΣΑ', 'ΣΑΣΑ', 'σασα'],
  ['final sigma', 'ας', 'ας', 'ασ'],
  ['another sigma at the end', 'ασ', 'ασ', 'ασ'],
  ['dotted I', '\u{130}', '\u{130}', 'i\u{307}'],
  ['dotless i', '\u{131}', '\u{131}', '\u{131}'],
  ['a titlecase letter of Greek', '\u{1fbc}', '\u{1fbc}', '\u{3b1}\u{3b9}'],
  ['Cherokee', '\u{13a0}', '\u{13a0}', '\u{ab70}'],
  ['Cyrillic', 'Иван', 'Иван', 'иван'],
  ['Han', '李小龍', '李小龍', '李小龍'],
  ['ideographic zero', '二〇', '二〇', '二〇'],
  ['Hangul', '각하', '각하', '각하'],
  ['Hangul in NFD', '각하'.normalize('NFD'), '각하', '각하'],
  ['Devanagari', 'नमस्ते', 'नमस्ते', 'नमस्ते'],
  ['Tibetan exception', 'ཀ\u{f0b}', 'ཀ\u{f0b}', 'ཀ\u{f0b}'],
  ['one letter of Hebrew', 'ד', 'ד', 'ד'],
  ['Hebrew', 'דוד', 'דוד', 'דוד'],
  ['Hebrew, a digit, a mark', 'דוד1\u{5b0}', 'דוד1\u{5b0}', 'דוד1\u{5b0}'],
  ['Hebrew and punctuation inside', 'דוד.1', 'דוד.1', 'דוד.1'],
  ['Arabic', 'محمد', 'محمد', 'محمد'],
  ['Arabic, a mark of Unicode 14 at the end', 'ب\u{898}', 'ب\u{898}', 'ب\u{898}'],
  ['Sindhi exception', 'ب\u{6fd}ب', 'ب\u{6fd}ب', 'ب\u{6fd}ب'],
  ['Arabic-Indic digits', 'ب١٢', 'ب١٢', 'ب١٢'],
  ['extended Arabic-Indic digits', 'ب۱۲', 'ب۱۲', 'ب۱۲'],
  ['Catalan', 'gal·la', 'gal·la', 'gal·la'],
  ['Catalan in upper case', 'GAL·LA', 'GAL·LA', 'gal·la'],
  ['Greek keraia', '\u{375}α', '\u{375}α', '\u{375}α'],
  ['Hebrew geresh', 'ד\u{5f3}', 'ד\u{5f3}', 'ד\u{5f3}'],
  ['Hebrew gershayim', 'ד\u{5f4}ד', 'ד\u{5f4}ד', 'ד\u{5f4}ד'],
  ['katakana middle dot', 'ア・ア', 'ア・ア', 'ア・ア'],
  ['katakana middle dot after Han', '李・', '李・', '李・'],
  ['katakana middle dot, halfwidth', 'ｱ･ｱ', 'ア・ア', 'ア・ア'],
  ['ZWJ after a virama', 'क्\u{200d}ष', 'क्\u{200d}ष', 'क्\u{200d}ष'],
  ['ZWNJ after a virama', 'क्\u{200c}ष', 'क्\u{200c}ष', 'क्\u{200c}ष'],
  ['64 characters', 'a'.repeat(LONGEST), 'a'.repeat(LONGEST), 'a'.repeat(LONGEST)],
  ['64 astral characters', '\u{10400}'.repeat(LONGEST), '\u{10400}'.repeat(LONGEST), '\u{10428}'.repeat(LONGEST)],
  [
    '64 characters of four parts',
    '\u{1f82}'.repeat(LONGEST).normalize('NFD'),
    '\u{1f82}'.repeat(LONGEST),
    '\u{1f02}\u{3b9}'.repeat(LONGEST)
  ]
]

for (const [what, text, username, key] of allowed) {
  t.test(`allowed: ${what}`, async (t) => {
    t.strictSame(parseUsername(text), { username, key })
    t.strictSame(parseUsername(username), { username, key })
    if ([...key].length <= LONGEST) t.equal(parseUsername(key)?.key, key)
    t.equal(usernameKey(text), key)
  })
}

t.test('names that differ only in case have one key, by full case folding [PW8]', async (t) => {
  const groups = [
    ['Straße', 'STRASSE', 'strasse', 'STRAẞE', 'straSSe'],
    ['ΟΔΟΣ', 'οδος', 'οδοσ', 'Οδος'],
    ['İda', 'i\u{307}da'],
    ['ﬀ'.normalize('NFKC'), 'FF'],
    ['ΰλη', 'ΫΛΗ'.replace('Ϋ', 'Ϋ\u{301}')],
    ['ᾳ', 'ᾼ', 'ΑΙ', 'αι'],
    ['Kelvin', '\u{212a}elvin', 'kelvin']
  ]
  for (const names of groups) t.equal(new Set(names.map((name) => parseUsername(name)?.key)).size, 1, names.join(' '))
  t.notSame(parseUsername('ıda')?.key, parseUsername('ida')?.key, 'the dotless i is another letter')
  t.notSame(parseUsername('İda')?.key, parseUsername('ida')?.key)
})

const refused: [what: string, text: string][] = [
  ['empty', ''],
  ['space', 'a b'],
  ['space before', ' a'],
  ['space after', 'a '],
  ['no-break space', 'a\u{a0}b'],
  ['ideographic space', 'a\u{3000}b'],
  ['NUL', 'a\0'],
  ['line feed', 'a\n'],
  ['DEL', 'a\u{7f}'],
  ['C1 control', 'a\u{85}'],
  ['unassigned', 'a\u{378}'],
  ['private use', 'a\u{e000}'],
  ['noncharacter', 'a\u{ffff}'],
  ['lone high surrogate', 'a\u{d800}'],
  ['lone low surrogate', '\u{dc00}a'],
  ['ligature', '\u{fb01}'],
  ['superscript', 'a²'],
  ['letterlike', '\u{2102}'],
  ['mathematical letter', '\u{1d41a}'],
  ['roman numeral', '\u{2167}'],
  ['Latin titlecase', '\u{1c5}'],
  ['circled', 'ⓐ'],
  ['Arabic presentation form', '\u{fe8d}'],
  ['halfwidth Hangul', '\u{ffa1}\u{ffc2}'],
  ['old Hangul jamo', '\u{1100}'],
  ['old Hangul jamo, extended', '\u{a960}'],
  ['old Hangul jamo, extended B', '\u{d7b0}'],
  ['Hangul filler', '\u{3164}'],
  ['tatweel', 'ب\u{640}ب'],
  ['lajanyalan', '\u{7ca}\u{7fa}\u{7ca}'],
  ['Hangul tone mark', '각\u{302e}'],
  ['vertical kana repeat mark', 'か\u{3031}'],
  ['vertical ideographic iteration mark', '李\u{303b}'],
  ['emoji', 'a😀'],
  ['symbol', 'a€'],
  ['fullwidth currency', 'a￠'],
  ['punctuation beyond ASCII', 'a“b”'],
  ['dash beyond ASCII', 'a–b'],
  ['enclosing mark', 'a\u{20dd}'],
  ['zero-width space', 'a\u{200b}b'],
  ['BOM', '\u{feff}a'],
  ['soft hyphen', 'a\u{ad}b'],
  ['word joiner', 'a\u{2060}b'],
  ['variation selector', 'a\u{fe0f}'],
  ['combining grapheme joiner', 'a\u{34f}b'],
  ['right-to-left override', 'a\u{202e}b'],
  ['right-to-left mark', 'a\u{200f}b'],
  ['tag', 'a\u{e0061}'],
  ['middle dot', 'a·b'],
  ['middle dot before l', 'a·l'],
  ['middle dot after l', 'l·a'],
  ['middle dot at the end', 'l·'],
  ['keraia before Latin', '\u{375}a'],
  ['keraia at the end', 'α\u{375}'],
  ['geresh after Latin', 'a\u{5f3}'],
  ['geresh at the start', '\u{5f3}ד'],
  ['gershayim at the start', '\u{5f4}ד'],
  ['katakana middle dot alone', '・'],
  ['katakana middle dot in Latin', 'a・b'],
  ['mixed Arabic digits', 'ب١۱'],
  ['mixed Arabic digits, the other way', 'ب۱ب١'],
  ['ZWJ at the start', '\u{200d}क'],
  ['ZWJ in Latin', 'a\u{200d}b'],
  ['ZWJ after a letter with a mark', 'é\u{200d}b'],
  ['ZWJ after another mark', 'क\u{93c}\u{200d}ष'],
  ['ZWJ after a mark of class 8', 'か\u{3099}\u{309a}\u{200d}'],
  ['ZWJ after a mark of class 8, twice', 'か\u{3099}\u{3099}\u{200d}'],
  ['ZWJ after a mark of class 10', 'ד\u{5b0}\u{200d}ד'],
  ['ZWNJ in Latin', 'a\u{200c}b'],
  ['ZWNJ in Persian', 'می\u{200c}خواهم'],
  ['two ZWNJ after a virama', 'क्\u{200c}\u{200c}ष'],
  ['Latin, then Hebrew', 'aד'],
  ['Hebrew, then Latin', 'דa'],
  ['Latin between Hebrew', 'דaד'],
  ['a digit before Hebrew', '1ד'],
  ['punctuation before Hebrew', '.ד'],
  ['punctuation after Hebrew', 'ד.'],
  ['a mark before Hebrew', '\u{5b0}ד'],
  ['a mark of Unicode 14 before Arabic', '\u{898}ب'],
  ['mixed Arabic digits only', '١۱'],
  ['Arabic digits only', '١٢'],
  ['an Arabic digit in Latin', 'a١'],
  ['European and Arabic digits', 'ب1١'],
  ['65 characters', 'a'.repeat(LONGEST + 1)],
  ['65 astral characters', '\u{10400}'.repeat(LONGEST + 1)],
  ['65 characters in lower case', `${'a'.repeat(LONGEST - 1)}\u{130}`],
  ['65 characters in upper case', `${'a'.repeat(LONGEST - 1)}J\u{30c}`],
  ['a megabyte', 'a'.repeat(1_000_000)]
]

for (const [what, text] of refused) {
  t.test(`refused: ${what}`, async (t) => {
    t.equal(parseUsername(text), null)
    t.ok(usernameKey(text).startsWith(' '))
  })
}

t.test('each allowed code point of the first two planes is stable, and a joiner may follow only a virama', async () => {
  const viramas: number[] = []
  for (let code = 0; code < 0x20000; code += 1) {
    const character = String.fromCodePoint(code)
    const name = parseUsername(character)
    if (name !== null) {
      deepStrictEqual(parseUsername(name.username), name, code.toString(16))
      equal(parseUsername(name.key)?.key, name.key, code.toString(16))
      equal(name.key.normalize('NFKC').toLowerCase().normalize('NFKC'), name.key, code.toString(16))
      ok(!/[\p{C}\p{Z}]/v.test(name.key), code.toString(16))
    }
    if (parseUsername(`a${character}\u{200d}`) !== null) viramas.push(code)
  }
  // Some code points with Canonical_Combining_Class=Virama. Newer versions of Unicode have more.
  for (const virama of [0x94d, 0x9cd, 0xb4d, 0xd4d, 0xdca, 0xe3a, 0xf84, 0x1039, 0x17d2, 0xa806, 0x11046, 0x11f42]) {
    ok(viramas.includes(virama), virama.toString(16))
  }
  ok(viramas.every((virama) => /[\p{Mn}\p{Mc}]/v.test(String.fromCodePoint(virama))))
  ok(viramas.length > 60 && viramas.length < 100, `${viramas.length}`)
})

const letter = fc.oneof(
  fc.constantFrom(
    ...'abcxyzABCXYZ019._-@~éÉäÖßёЁλΛςΣǰｱＡ１가अ्アｶﾞ李דبـ·ㆍ',
    'e\u{301}',
    'i\u{307}',
    '\u{130}',
    '\u{1f82}'
  ),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 })
)
const text = fc.oneof(
  fc.string({ unit: letter, maxLength: 12 }),
  fc.string({ unit: codePoint, maxLength: 100 }),
  fc.array(fc.nat(0xffff), { maxLength: 30 }).map((units) => String.fromCharCode(...units))
)

const check = (arbitrary: fc.Arbitrary<string>, property: (text: string) => void) =>
  fc.assert(fc.property(arbitrary, property), { seed, numRuns: ROUNDS })

t.test('both forms of a name are stable, and contain nothing that normalises to something else', async () => {
  let valid = 0
  check(text, (text) => {
    const name = parseUsername(text)
    if (name === null) return
    valid += 1
    deepStrictEqual(parseUsername(name.username), name)
    deepStrictEqual(parseUsername(name.key)?.key, name.key)
    equal(usernameKey(text), name.key)
    for (const form of ['NFC', 'NFKC']) equal(name.key.toLowerCase().normalize(form), name.key)
    ok([...name.key].length <= LONGEST && [...name.username].length <= LONGEST)
  })
  ok(valid > ROUNDS / 20, `${valid} valid`)
})

/**
 * Writes each letter in upper case if its upper case has the same letter as lower case; for example `ß` and `ı` stay. Every sigma stays,
 * because the lower case of a sigma depends on its place.
 */
const upper = (key: string): string =>
  key.replace(/[^σς]/gv, (letter) => (letter.toUpperCase().toLowerCase() === letter ? letter.toUpperCase() : letter))
const fullwidth = (key: string): string =>
  key.replace(/[!-~]/gv, (letter) => String.fromCharCode(letter.charCodeAt(0) + 0xfee0))

t.test('all spellings of a name have one key', async () => {
  let valid = 0
  check(fc.string({ unit: letter, maxLength: 12 }), (text) => {
    const name = parseUsername(text)
    if (name === null) return
    valid += 1
    for (const change of [upper, fullwidth, (key: string) => upper(fullwidth(key))]) {
      for (const form of ['NFC', 'NFD']) {
        const variant: string = change(name.key.normalize(form)).normalize(form)
        equal(parseUsername(variant)?.key, name.key, JSON.stringify(variant))
      }
    }
  })
  ok(valid > ROUNDS / 20, `${valid} valid`)
})

t.test('any text has a key of bounded length, and a text that is no name never has the key of a name', async () => {
  check(text, (text) => {
    const key = usernameKey(text)
    ok([...key].length <= LONGEST + 1 && key.isWellFormed())
    equal(usernameKey(text), key)
    if (parseUsername(text) !== null) return
    equal(parseUsername(key), null)
    notEqual(key.trimStart(), key)
  })
})

t.test('spellings of a text that is no name share one key', async (t) => {
  for (const other of ['ALICE SMITH', 'Alice Smith', 'ａｌｉｃｅ smith', 'alice\u{a0}smith', 'alice\u{3000}smith']) {
    t.equal(usernameKey(other), ' alice smith')
  }
  t.equal(usernameKey('Zoe\u{308} 1'), usernameKey('ZO\u{cb} 1'))
  t.equal(usernameKey('\u{1d400} B'), ' a b')
  t.equal(usernameKey(''), ' ')
  t.equal(usernameKey('\u{d800}'), ' \u{fffd}')
  t.equal(usernameKey('x'.repeat(1_000_000)), ` ${'x'.repeat(LONGEST)}`)
  t.equal(usernameKey('\u{fdfa}'.repeat(1_000_000)).length, LONGEST + 1)
  t.equal(usernameKey('\u{d83d}\u{de00}'.repeat(100_000)), ` ${'😀'.repeat(LONGEST)}`)
})
