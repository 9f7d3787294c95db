import bidiFactory from 'bidi-js'

const MAX_CODE_POINTS = 64
/** No text with more UTF-16 units than this has a form of so few code points: one decomposes into at most four. */
const MAX_UNITS = MAX_CODE_POINTS * 8

// The package's types speak of a module with a default export; what Node.js imports is the function itself.
const { getBidiCharTypeName } = (bidiFactory as unknown as typeof bidiFactory.default)()

/**
 * What RFC 8264 §4.2 and §8 let into an IdentifierClass string, but for HasCompat, and RFC 5892 §2.6 with the characters
 * of the contextual rules. Of the code points in LetterDigits it leaves out ignorable ones, old Hangul jamo, and exceptions.
 */
const IDENTIFIER =
  /^[\x21-\x7e\u{6fd}\u{6fe}\u{f0b}\u{3007}\u{b7}\u{375}\u{5f3}\u{5f4}\u{30fb}\u{200c}\u{200d}[[\p{Ll}\p{Lu}\p{Lo}\p{Lm}\p{Mn}\p{Mc}\p{Nd}]--[\p{Default_Ignorable_Code_Point}\u{1100}-\u{11ff}\u{a960}-\u{a97f}\u{d7b0}-\u{d7ff}\u{640}\u{7fa}\u{302e}\u{302f}\u{3031}-\u{3035}\u{303b}]]]+$/v

/** Where the contextual rules of RFC 5892 A.3 to A.7 fail. Digits that A.8 and A.9 keep apart, the Bidi Rule does too. */
const OUT_OF_CONTEXT = [
  /(?<!l)\u{b7}|\u{b7}(?!l)/v,
  /\u{375}(?!\p{Script=Greek})/v,
  /(?<!\p{Script=Hebrew})[\u{5f3}\u{5f4}]/v,
  /^[^\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]*\u{30fb}[^\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]*$/v
]

/**
 * Whether each joiner stands after a virama (RFC 5892 A.1 and A.2; the joining types of A.1 are not looked at). JavaScript
 * knows no combining classes, but sorts by them: a virama has 9, U+3099 has 8 and U+05B0 has 10.
 */
const joinersFollowViramas = (text: string): boolean =>
  [...text.matchAll(/([^\u{5b0}\u{3099}]?)[\u{200c}\u{200d}]/gv)].every(
    ([, mark = '']) =>
      mark !== '' &&
      `${mark}\u{3099}`.normalize('NFD') === `\u{3099}${mark}` &&
      `\u{5b0}${mark}`.normalize('NFD') === `${mark}\u{5b0}`
  )

/** The Bidi Rule, RFC 5893 §2. Of what it forbids from right to left, an identifier can only hold L. */
function keepsBidiRule(text: string): boolean {
  // Marks that are newer than the package's table have the type of their block there.
  const types = [...text].map((character) => (/\p{Mn}/v.test(character) ? 'NSM' : getBidiCharTypeName(character)))
  if (!types.some((type) => ['R', 'AL', 'AN'].includes(type))) return true
  return (
    /^(?=(R|AL)\b)(?!.*\bL\b).*\b(R|AL|EN|AN)( NSM)*$/.test(types.join(' ')) &&
    !(types.includes('EN') && types.includes('AN'))
  )
}

/**
 * The two forms of a name that is allowed: `username` to be shown, in the case it was typed in (UsernameCasePreserved,
 * RFC 8265 §3.4), and `key` by which it is found and unique (UsernameCaseMapped, RFC 8265 §3.3). What is allowed is
 * decided on the key (RFC 8264 §7). Either form is its own form again. Null for any other text.
 */
export function parseUsername(text: string): { username: string; key: string } | null {
  if (text.length > MAX_UNITS) return null
  // The width mapping. Halfwidth Hangul stays: its own mapping is not allowed, and NFKC would make another of it.
  const username = text
    .replace(/[\u{ff01}-\u{ff9f}\u{ffe0}-\u{ffee}]/gv, (wide) => wide.normalize('NFKC'))
    .normalize('NFC')
  const key = username.toLowerCase().normalize('NFC')
  const allowed =
    [...username].length <= MAX_CODE_POINTS &&
    [...key].length <= MAX_CODE_POINTS &&
    IDENTIFIER.test(key) &&
    key.normalize('NFKC') === key &&
    !OUT_OF_CONTEXT.some((pattern) => pattern.test(key)) &&
    joinersFollowViramas(key) &&
    keepsBidiRule(key)
  return allowed ? { username, key } : null
}

/**
 * The key of any text that was typed as a name, to look it up and to count by. For one that is not allowed it is a text of
 * at most 65 code points that no name has as its key, and that most ways to write it share.
 */
export function usernameKey(text: string): string {
  const name = parseUsername(text)
  if (name !== null) return name.key
  const other = text.slice(0, MAX_UNITS).toWellFormed().normalize('NFKC').toLowerCase().normalize('NFKC')
  return ` ${[...other].slice(0, MAX_CODE_POINTS).join('')}`
}
