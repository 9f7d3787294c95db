import { Type } from '@sinclair/typebox'

/** Texts that people read: no control characters. */
const LINE = '^[^\\p{Cc}]*$'

const ALICE = {
  id: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10',
  username: 'alice',
  email: 'alice@example.com',
  full_name: 'Alice Liddell',
  disabled: false,
  roles: ['user'],
  created_at: '2026-11-22T09:00:00.000Z',
  updated_at: '2026-11-22T09:00:00.000Z'
}

export const UserView = Type.Object(
  {
    id: Type.String({ format: 'uuid', description: 'The `sub` of the user’s tokens' }),
    username: Type.String(),
    email: Type.Union([Type.String(), Type.Null()]),
    full_name: Type.Union([Type.String(), Type.Null()]),
    disabled: Type.Boolean({ description: 'Whether the user is kept from logging in' }),
    roles: Type.Array(Type.String()),
    created_at: Type.String({ format: 'date-time' }),
    updated_at: Type.String({ format: 'date-time' })
  },
  {
    $id: 'User',
    description: 'A person',
    examples: [ALICE]
  }
)

export const UserPage = Type.Object(
  {
    items: Type.Array(Type.Ref(UserView)),
    next_cursor: Type.Union([Type.String(), Type.Null()], { description: '`cursor` of the next page; null at the end' })
  },
  { $id: 'UserPage', description: 'Some users, oldest first', examples: [{ items: [ALICE], next_cursor: null }] }
)

export const UserChanges = Type.Object(
  {
    email: Type.Optional(
      Type.Union([Type.String({ maxLength: 254, pattern: '^[^\\s@\\p{Cc}]+@[^\\s@\\p{Cc}]+$' }), Type.Null()], {
        description: 'Unique; null removes it'
      })
    ),
    full_name: Type.Optional(
      Type.Union([Type.String({ minLength: 1, maxLength: 200, pattern: LINE }), Type.Null()], {
        description: 'null removes it'
      })
    )
  },
  {
    $id: 'UserChanges',
    additionalProperties: false,
    description: 'What is left out stays as it is',
    examples: [{ full_name: 'Alice Liddell' }]
  }
)

export const PageQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 50, description: 'How many at most' })),
    cursor: Type.Optional(Type.String({ pattern: '^[0-9a-f-]{36}$', description: '`next_cursor` of the page before' }))
  },
  { additionalProperties: false }
)

/** For routes that take nothing in the query. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

/** An error that only this route can give; those that every route can give are added to it by the errors plugin. */
export const problem = (status: number, title: string, detail: string) => ({
  description: title,
  content: {
    'application/problem+json': { schema: Type.Ref('Problem'), example: { type: 'about:blank', title, status, detail } }
  }
})
