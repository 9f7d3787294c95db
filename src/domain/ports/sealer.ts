/** Encrypts values for storage, with a key that is not in the database. */
export interface Sealer {
  /** Encrypts a text. @param context names the table, row and column; `open` needs the same context */
  seal(text: string, context: string): string
  /** Decrypts a value. @throws SetupError when it was sealed with another key or another context, or was altered */
  open(sealed: string, context: string): string
  /** Returns whether a value was sealed with the current key. */
  isCurrent(sealed: string): boolean
}
