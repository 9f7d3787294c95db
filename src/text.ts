/**
 * Returns whether a text has at most this number of bytes in UTF-8. Every text from outside is checked before another function reads
 * it, because the work of a function may grow faster than the text.
 */
export const fits = (text: string, maxBytes: number): boolean =>
  text.length <= maxBytes && Buffer.byteLength(text) <= maxBytes

/**
 * Returns a normal form of a text; null for a text that is longer than the limit. The work of `normalize` grows with the square of the
 * number of combining marks in a row: 16 KB take 41 ms, 1 KB take less than 0.2 ms. So `normalize` may be called here only
 * (and for usernames, which have their own limit), and nobody can forget the limit.
 */
export const normalForm = (form: 'NFC' | 'NFKC', text: string, maxBytes: number): string | null =>
  fits(text, maxBytes) ? text.normalize(form) : null

/**
 * Returns the full case folding of a text in NFC (Unicode §3.13): two texts that differ only in case have the same. JavaScript has no
 * function for it. Folds letter by letter, so that the place of a sigma in its word does not matter. Leaves the dotless i as it is:
 * `toUpperCase` would make it an i.
 * @param text must have a limited length, as a username has
 */
export const caseFold = (text: string): string =>
  [...text]
    .map((letter) => (letter === '\u{131}' ? letter : letter.toLowerCase().toUpperCase().toLowerCase()))
    .join('')
    .normalize('NFC')
