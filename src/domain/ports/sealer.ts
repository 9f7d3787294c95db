/** Encrypts values that must be read again, with a key that is not in the database. */
export interface Sealer {
  /** @param context what the text is and where it is stored; it opens only in the same context */
  seal(text: string, context: string): string
  /** @throws SetupError when it was sealed with another key or for another context, or was altered */
  open(sealed: string, context: string): string
  /** Returns whether it was sealed with the current key, and not with the previous one. */
  isCurrent(sealed: string): boolean
}
