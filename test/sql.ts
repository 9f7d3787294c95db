import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import pg from 'pg'
import type { TestApp } from './helper.ts'

/**
 * Runs SQL directly on the database of an app, for states that no method of the store makes. Returns the rows of one
 * statement, where `$1` stands for the first of `values`; or runs several statements without values.
 */
export async function sql<Row = Record<string, unknown>>(
  { env }: Pick<TestApp, 'env'>,
  text: string,
  ...values: SQLInputValue[]
): Promise<Row[]> {
  const url = env.LATCHKEY_DATABASE_URL as string
  if (url.startsWith('sqlite:')) {
    const database = new DatabaseSync(url.slice('sqlite:'.length), { timeout: 2000 })
    try {
      if (text.trim().includes(';')) {
        database.exec(text)
        return []
      }
      return database
        .prepare(text.replaceAll('$', '?'))
        .all(...values)
        .map((row) => ({ ...row }) as Row)
    } finally {
      database.close()
    }
  }
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text, values)).rows as Row[]
  } finally {
    await client.end()
  }
}
