import type { Page } from './ports.ts'

/** One page of a list, and the cursor after which the next one starts, or null at the end. */
export interface Paged<T> {
  items: T[]
  next: string | null
}

/** Asks for one more than the page holds, to know whether there is a next one. */
export async function paged<T>(
  { after, limit }: Page,
  cursorOf: (item: T) => string,
  list: (page: Page) => Promise<T[]>
): Promise<Paged<T>> {
  const rows = await list({ after, limit: limit + 1 })
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return { items, next: rows.length > limit && last !== undefined ? cursorOf(last) : null }
}
