const MAX_BYTES = 1024

/**
 * The text that is hashed: NFC, so that one password typed on two systems is one (RFC 8265 §4.2). Null for what cannot be
 * a password: over 1,024 bytes in UTF-8, not well-formed, or with a NUL.
 */
export function normalPassword(password: string): string | null {
  const normal = password.normalize('NFC')
  return normal.isWellFormed() && !normal.includes('\0') && Buffer.byteLength(normal) <= MAX_BYTES ? normal : null
}

/** What people type key by key; a password that goes along one of them, round and round, either way, is no secret. */
const ROWS = [
  '1234567890',
  '123456789',
  'abcdefghijklmnopqrstuvwxyz',
  'qwertyuiopasdfghjklzxcvbnm',
  'qwertzuiopasdfghjklyxcvbnm',
  'azertyuiopqsdfghjklmwxcvbn',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm'
]

/** So few characters, repeated, are too common whatever they are; and so few beside digits are no run. */
const FEW = 4

let common: Promise<Set<string>> | undefined

/** The list takes 20 MB, so it is loaded by the first who needs it. */
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

/** Whether hardly anything is left of the text without the names and their parts. */
function isOwn(text: string, names: string[]): boolean {
  const known = names
    .map((name) => name.normalize('NFC').toLowerCase())
    .flatMap((name) => [name, ...name.split(/[^\p{L}\p{M}]+/u)])
    .filter((name) => [...name].length >= 3)
    .sort((a, b) => b.length - a.length)
  const rest = known.reduce((left, name) => left.replaceAll(name, ' '), text)
  return rest !== text && (rest.match(/[^\p{N}\p{P}\s$+<=>^`|~]/gu) ?? []).length <= 3
}

/**
 * Why this cannot be a new password, in one sentence for the person, or null when it can (NIST SP 800-63B-4 §3.1.1.2):
 * length and a list of common passwords decide, nothing else is asked of its characters.
 * @param minLength code points
 * @param names     what an attacker tries first: the user's names and the service's
 */
export async function weakness(
  password: string,
  { minLength, names }: { minLength: number; names: string[] }
): Promise<string | null> {
  const normal = normalPassword(password)
  if (normal === null) {
    return Buffer.byteLength(password.normalize('NFC')) > MAX_BYTES
      ? `A password has at most ${MAX_BYTES} bytes`
      : 'A password holds only whole characters and no NUL'
  }
  if ([...normal].length < minLength) return `A password has at least ${minLength} characters`
  const lower = normal.toLowerCase()
  if (isOwn(lower, names)) return "The password is made of the user's own name"
  const words = lower.replace(/^\P{L}+|\P{L}+$/gu, '')
  const decorated = words.length * 3 >= lower.length
  if ((await isCommon(lower)) || (decorated && (await isCommon(words))))
    return 'The password is among the most common ones'
  return null
}
