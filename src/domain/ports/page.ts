/** Selects at most `limit` entries of a list: those after the entry `after`, or the first entries when `after` is null. */
export interface Page {
  after: string | null
  limit: number
}
