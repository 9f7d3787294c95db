import bidiFactory from 'bidi-js'
import { USERNAME_CODE_POINTS_MAX } from '../limits.ts'
import { caseFold } from '../text.ts'

/** UTF-16 units. A longer text cannot be a username: one code point decomposes into at most four, of at most two units each. */
const MAX_UNITS = USERNAME_CODE_POINTS_MAX * 8

// The types of the package declare a module with a default export; Node.js imports the function itself.
const { getBidiCharTypeName } = (bidiFactory as unknown as typeof bidiFactory.default)()

/**
 * The characters of an IdentifierClass string (RFC 8264 §4.2, §8) and of the contextual rules (RFC 5892 §2.6). Excludes ignorable
 * code points, old Hangul jamo and the disallowed exceptions. Does not exclude HasCompat: `parseUsername` does, by NFKC.
 */
const IDENTIFIER =
  /^[\x21-\x7e\u{6fd}\u{6fe}\u{f0b}\u{3007}\u{b7}\u{375}\u{5f3}\u{5f4}\u{30fb}\u{200c}\u{200d}[[\p{Ll}\p{Lu}\p{Lo}\p{Lm}\p{Mn}\p{Mc}\p{Nd}]--[\p{Default_Ignorable_Code_Point}\u{1100}-\u{11ff}\u{a960}-\u{a97f}\u{d7b0}-\u{d7ff}\u{640}\u{7fa}\u{302e}\u{302f}\u{3031}-\u{3035}\u{303b}]]]+$/v

/** Matches where a contextual rule of RFC 5892 A.3 to A.7 fails. The Bidi Rule covers the rules for digits, A.8 and A.9. */
const OUT_OF_CONTEXT = [
  /(?<!l)\u{b7}|\u{b7}(?!l)/v,
  /\u{375}(?!\p{Script=Greek})/v,
  /(?<!\p{Script=Hebrew})[\u{5f3}\u{5f4}]/v,
  /^[^\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]*\u{30fb}[^\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]*$/v
]

/**
 * Returns whether each joiner follows a virama (RFC 5892 A.1, A.2; without the joining types of A.1). JavaScript has no function for
 * combining classes, but its normalization sorts by them: a virama has class 9, U+3099 has 8 and U+05B0 has 10.
 */
const joinersFollowViramas = (text: string): boolean =>
  [...text.matchAll(/([^\u{5b0}\u{3099}]?)[\u{200c}\u{200d}]/gv)].every(
    ([, mark = '']) =>
      mark !== '' &&
      `${mark}\u{3099}`.normalize('NFD') === `\u{3099}${mark}` &&
      `\u{5b0}${mark}`.normalize('NFD') === `${mark}\u{5b0}`
  )

/**
 * Returns whether the text satisfies the Bidi Rule (RFC 5893 §2). Of the types that the rule forbids in text from right to left, only
 * L passes `IDENTIFIER`.
 */
function keepsBidiRule(text: string): boolean {
  // The table of the package is wrong for newer marks: it returns the type of their block.
  const types = [...text].map((character) => (/\p{Mn}/v.test(character) ? 'NSM' : getBidiCharTypeName(character)))
  if (!types.some((type) => ['R', 'AL', 'AN'].includes(type))) return true
  return (
    /^(?=(R|AL)\b)(?!.*\bL\b).*\b(R|AL|EN|AN)( NSM)*$/.test(types.join(' ')) &&
    !(types.includes('EN') && types.includes('AN'))
  )
}

const isAllowed = (name: string): boolean =>
  IDENTIFIER.test(name) &&
  name.normalize('NFKC') === name &&
  !OUT_OF_CONTEXT.some((pattern) => pattern.test(name)) &&
  joinersFollowViramas(name) &&
  keepsBidiRule(name)

/**
 * Returns the two forms of a valid username, or null. `username` is shown and keeps its case (UsernameCasePreserved, RFC 8265 §3.4).
 * `key` is unique and finds the user: UsernameCaseMapped (RFC 8265 §3.3) with full case folding, so that "ß" equals "ss". The name is
 * valid if its lower-case form (RFC 8264 §7) and its key are valid. Parsing `username` again returns the
 * same forms.
 */
export function parseUsername(text: string): { username: string; key: string } | null {
  if (text.length > MAX_UNITS) return null
  // The width mapping. Halfwidth Hangul is not mapped: the result of its mapping is not allowed, and NFKC returns another character.
  const username = text
    .replace(/[\u{ff01}-\u{ff9f}\u{ffe0}-\u{ffee}]/gv, (wide) => wide.normalize('NFKC'))
    .normalize('NFC')
  const key = caseFold(username)
  const lower = username.toLowerCase().normalize('NFC')
  // The key may be longer: "ß" is one character of the name and two of the key.
  if ([username, lower].some((form) => [...form].length > USERNAME_CODE_POINTS_MAX)) return null
  if (!isAllowed(lower) || !isAllowed(key)) return null
  return { username, key }
}

/**
 * Returns the key of any text that was typed as a name, for look-ups and counters. The key of an invalid name has at most 65 code
 * points and never equals the key of a valid name. Most spellings of an invalid name have the same key.
 */
export function usernameKey(text: string): string {
  const name = parseUsername(text)
  if (name !== null) return name.key
  const other = caseFold(text.slice(0, MAX_UNITS).toWellFormed().normalize('NFKC')).normalize('NFKC')
  return ` ${[...other].slice(0, USERNAME_CODE_POINTS_MAX).join('')}`
}
