import { type TSchema, Type } from '@sinclair/typebox'
import type { Paged } from '../domain/pages.ts'
import type { Page } from '../domain/ports/page.ts'
import { CURSOR_PATTERN, PAGE_DEFAULT, PAGE_MAX } from '../limits.ts'

/** Returns the schema of one page of a list, with the cursor of the next page. */
export const pageSchema = <T extends TSchema>(
  item: T,
  { $id, description, example }: { $id: string; description: string; example: object }
) =>
  Type.Object(
    {
      items: Type.Array(item),
      next_cursor: Type.Union([Type.String(), Type.Null()], {
        description: '`cursor` of the next page; null on the last page'
      })
    },
    { $id, description, examples: [{ items: [example], next_cursor: null }] }
  )

/** Returns the schema of the parameter `cursor`. @param pattern the form of the cursors */
export const Cursor = (pattern: string) =>
  Type.Optional(Type.String({ pattern, description: '`next_cursor` of the previous page' }))

export const PageQuery = Type.Object(
  {
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: PAGE_MAX, default: PAGE_DEFAULT, description: 'Maximum number of items' })
    ),
    cursor: Cursor(CURSOR_PATTERN)
  },
  { additionalProperties: false }
)

/** Reads `limit` and `cursor`. */
export const fromWire = ({ limit = PAGE_DEFAULT, cursor }: { limit?: number; cursor?: string }): Page => ({
  after: cursor ?? null,
  limit
})

/** Returns the JSON of a page. @param itemToWire returns the JSON of one item */
export const toWire = <T, W>(
  { items, next }: Paged<T>,
  itemToWire: (item: T) => W
): { items: W[]; next_cursor: string | null } => ({
  items: items.map((item) => itemToWire(item)),
  next_cursor: next
})
