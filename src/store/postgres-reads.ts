import { createBatches } from './postgres-batches.ts'
import type { Query, Row, Statements } from './statements.ts'

type Values = readonly unknown[]

/** The column of a row with the place of its call in the batch, from 1. */
const PLACE = 'batch_place'

/**
 * Returns a statement that runs a query once for each row of the arrays that are its parameters. PostgreSQL plans the inner query as it
 * plans the query alone, because of `offset 0`, and keeps the plan, because `select` hides how long the arrays are.
 */
function combined(sql: string, values: Values): string {
  const arrays = values.map(
    (value, index) => `(select $${index + 1}::${typeof value === 'number' ? 'int8' : 'text'}[])`
  )
  const names = values.map((_, index) => `p${index + 1}`)
  return `select result.*, ${PLACE} from unnest(${arrays}) with ordinality as batch(${names}, ${PLACE})
    cross join lateral (${sql.replaceAll(/\$(\d+)/g, 'batch.p$1')} offset 0) as result`
}

/**
 * Returns a function that runs the calls of one query that wait at the same time in one statement, so in one snapshot. Calls with the
 * same values share a result.
 */
export function createReads(run: (sql: string, values: Values) => Promise<Row[]>): Statements['read'] {
  const batches = new Map<Query<unknown>, (values: Values) => Promise<unknown>>()

  function batchesOf<Result>({ sql, toResult }: Query<Result>) {
    let statement: string | undefined
    const readOne = async (values: Values) => toResult(await run(sql, values))

    async function readAll(calls: Values[]): Promise<(Result | Promise<Result>)[]> {
      const [first] = calls as [Values]
      if (calls.length === 1) return [await readOne(first)]
      statement ??= combined(sql, first)
      const columns = first.map((_, index) => calls.map((values) => values[index]))
      const rows: Row[][] = calls.map(() => [])
      try {
        for (const row of await run(statement, columns)) rows[(row[PLACE] as number) - 1]?.push(row)
      } catch (error) {
        // A value that PostgreSQL refuses must not refuse the other calls.
        if (!/^22/.test((error as { code?: string }).code ?? '')) throw error
        return calls.map(readOne)
      }
      return rows.map(async (own) => toResult(own))
    }

    return createBatches<Values, Result>(async (calls) => {
      const keys = calls.map((values) => JSON.stringify(values))
      const distinct = new Map(keys.map((key, index) => [key, calls[index] as Values]))
      const results = await readAll([...distinct.values()])
      const byKey = new Map([...distinct.keys()].map((key, index) => [key, results[index] as Result | Promise<Result>]))
      return keys.map((key) => byKey.get(key) as Result | Promise<Result>)
    })
  }

  return <Result>(query: Query<Result>, values: Values) => {
    let read = batches.get(query)
    if (read === undefined) batches.set(query, (read = batchesOf(query)))
    return read(values) as Promise<Result>
  }
}
