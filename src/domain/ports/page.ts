/** The entries after `after` in the order of the list, or from its beginning with null. */
export interface Page {
  after: string | null
  limit: number
}
