/** Controls (C0 without the line feed, DEL, C1), characters that change the order of a line, and the line separators of Unicode. */
const UNSAFE = /[^\P{Cc}\n]|[\p{Bidi_Control}\u2028\u2029]/gu
/** Finds most texts that need no change, faster than `UNSAFE`. */
const PLAIN = /^[\n\x20-\x7e]*$/

/**
 * Replaces the characters that a terminal executes or reorders by `\uXXXX`. Keeps line feeds. In JSON the result has the same meaning.
 */
export const printable = (text: string): string =>
  PLAIN.test(text)
    ? text
    : text.replace(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Replaces line feeds too, so that the text stays on its line. */
export const printableLine = (text: string): string => printable(text).replaceAll('\n', '\\n')
