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
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm',
  '1q2w3e4r5t6y7u8i9o0p'
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

/** The common words that a run of letters and digits is made of, if it is one or two and at most four digits or a row of them. */
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

/** Whether it is one or two common words, however often, with whatever between them. */
async function isCommonWords(text: string): Promise<boolean> {
  const words = new Set<string>()
  for (const run of text.split(/[^\p{L}\p{M}\p{N}]+/u).filter(Boolean)) {
    const found = await commonWordsOf(run)
    if (found === null) return false
    for (const word of found) words.add(word)
  }
  return words.size === 1 || words.size === 2
}

/** How little is as good as nothing beside a name. */
const REST = 4

/** Whether hardly anything is left of the text without the names and their parts. */
function isOwn(text: string, names: string[]): boolean {
  const known = names
    .map((name) => name.normalize('NFC').toLowerCase())
    .flatMap((name) => [name, ...name.split(/[^\p{L}\p{M}]+/u)])
    .filter((name) => [...name].length >= 3)
    .sort((a, b) => b.length - a.length)
  const rest = known.reduce((left, name) => left.replaceAll(name, ' '), text)
  return rest !== text && [...rest.replace(/[\s!-/:-@[-`{-~]+/gu, '')].length <= REST
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
  const core = words.length * 3 >= lower.length * 2 ? words : lower
  if (new Set(lower).size <= FEW || (await isCommon(lower)) || (await isCommon(core)) || (await isCommonWords(lower)))
    return 'The password is too common'
  return null
}
