import { PASSWORD_BYTES_MAX, TEXT_BYTES_MAX } from '../limits.ts'
import { fits, normalForm } from '../text.ts'
import type { InvalidReason } from './errors.ts'

/**
 * Returns the text that is hashed: NFC, so that a password typed on two systems is the same (RFC 8265 §4.2). Returns null for a text
 * that cannot be a password: longer than 1,024 bytes in UTF-8 (as it was sent or in NFC), not well-formed, or with a NUL.
 */
export function normalPassword(password: string): string | null {
  const normal = normalForm('NFC', password, PASSWORD_BYTES_MAX)
  if (normal === null || !fits(normal, PASSWORD_BYTES_MAX)) return null
  return normal.isWellFormed() && !normal.includes('\0') ? normal : null
}

/** Rows of keys. A password that follows one of them, forwards or backwards, once or repeatedly, is too common. */
const ROWS = [
  '1234567890',
  '123456789',
  'abcdefghijklmnopqrstuvwxyz',
  'qwertyuiopasdfghjklzxcvbnm',
  'qwertzuiopasdfghjklyxcvbnm',
  'azertyuiopqsdfghjklmwxcvbn',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm',
  '1q2w3e4r5t6y7u8i9o0p'
]

/** A password with at most this number of different characters, or that only repeats a part of at most this length, is too common. */
const FEW = 4

let common: Promise<Set<string>> | undefined

/** Loads the list of common passwords. The list takes 20 MB of memory, so it is loaded at the first use. */
const loadCommon = async () => new Set((await import('@zxcvbn-ts/language-common')).dictionary['passwords-common'])

async function isCommon(text: string): Promise<boolean> {
  const list = await (common ??= loadCommon())
  const [, unit] = /^(.+?)\1+$/su.exec(text) ?? []
  if (list.has(text) || (unit !== undefined && ([...unit].length <= FEW || list.has(unit)))) return true
  const backwards = [...text].reverse().join('')
  return (
    text.length > FEW &&
    ROWS.map((row) => row.repeat(text.length / row.length + 2)).some(
      (row) => row.includes(text) || row.includes(backwards)
    )
  )
}

/**
 * Returns the one or two common words that a run of letters and digits consists of. A number in the list of common passwords is a word
 * too. At most four digits, or a common number, may follow the words. Returns an empty list for such digits alone if they are not in the
 * list, and null for any other run.
 */
async function commonWordsOf(run: string): Promise<string[] | null> {
  const list = await (common ??= loadCommon())
  const [, stem = '', digits = ''] = /^(.*?)(\d*)$/su.exec(run) ?? []
  const few = digits.length <= FEW || (await isCommon(digits))
  for (const word of few && stem !== '' ? [run, stem] : [run]) {
    if (list.has(word)) return [word]
    for (let end = 3; end <= word.length - 3; end++)
      if (list.has(word.slice(0, end)) && list.has(word.slice(end))) return [word.slice(0, end), word.slice(end)]
  }
  return stem === '' && few ? [] : null
}

/** Returns whether the text consists of one or two common words, repeated or not, with any separators, and of common numbers. */
async function isCommonWords(text: string): Promise<boolean> {
  const words = new Set<string>()
  for (const run of text.split(/[^\p{L}\p{M}\p{N}]+/u).filter(Boolean)) {
    const found = await commonWordsOf(run)
    if (found === null) return false
    for (const word of found) words.add(word)
  }
  return words.size > 0 && [...words].filter((word) => !/^\d+$/.test(word)).length <= 2
}

/** A password that consists of names and at most this number of other characters is refused. */
const REST = 4

const lowerNormal = (name: string): string => normalForm('NFC', name, TEXT_BYTES_MAX)?.toLowerCase() ?? ''

/** Returns whether at most `REST` characters, except spaces and ASCII signs, remain of the text without the names and their parts. */
function consistsOfNames(text: string, names: string[], email: string | null): boolean {
  const known = names
    .map(lowerNormal)
    .flatMap((name) => [name, ...name.split(/[^\p{L}\p{M}]+/u)])
    .concat(lowerNormal(email ?? ''))
    .filter((name) => [...name].length >= 3)
    .sort((a, b) => b.length - a.length)
  const rest = known.reduce((left, name) => left.replaceAll(name, ' '), text)
  return rest !== text && [...rest.replace(/[\s!-/:-@[-`{-~]+/gu, '')].length <= REST
}

/** Why a text cannot be a new password. `message` is a sentence for the user. */
export interface Weakness {
  reason: InvalidReason
  message: string
}

/**
 * Returns the reason why a text cannot be a new password; null for an acceptable password (NIST SP
 * 800-63B-4 §3.1.1.2). Checks the length, common passwords and names. There are no rules about kinds of characters.
 * @param minLength code points
 * @param names     the names that an attacker tries first: those of the user and of the service
 * @param email     the e-mail address of the user. Its domain alone is not a name of the user
 */
export async function weakness(
  password: string,
  { minLength, names, email = null }: { minLength: number; names: string[]; email?: string | null }
): Promise<Weakness | null> {
  const normal = normalPassword(password)
  if (normal === null) {
    return fits(password, PASSWORD_BYTES_MAX) && (!password.isWellFormed() || password.includes('\0'))
      ? { reason: 'password_malformed', message: 'A password holds only valid Unicode characters and no NUL' }
      : { reason: 'password_long', message: `A password has at most ${PASSWORD_BYTES_MAX} bytes` }
  }
  if ([...normal].length < minLength)
    return { reason: 'password_short', message: `A password has at least ${minLength} characters` }
  const lower = normal.toLowerCase()
  if (consistsOfNames(lower, names, email))
    return {
      reason: 'password_names',
      message: 'The password consists of the name or e-mail address of the user, or of the name of the service'
    }
  // Digits and signs around the words do not make a common password acceptable, unless they are more than a third of it.
  const words = lower.replace(/^\P{L}+|\P{L}+$/gu, '')
  const core = words.length * 3 >= lower.length * 2 ? words : lower
  if (new Set(lower).size <= FEW || (await isCommon(lower)) || (await isCommon(core)) || (await isCommonWords(lower)))
    return { reason: 'password_common', message: 'The password is too common' }
  return null
}
