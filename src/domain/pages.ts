import type { Page } from './ports/page.ts'

/** One page of a list. `next` is the cursor of the next page, or null at the end. */
export interface Paged<T> {
  items: T[]
  next: string | null
}

/** Reads one page. Requests one more item from `list` than the page holds, to find out whether there is a next page. */
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
