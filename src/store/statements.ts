import type { Compilable } from 'kysely'

export type Row = Record<string, unknown>

/** A query with a function that makes its result, which must depend on the rows only. */
export interface Query<Result> {
  sql: string
  toResult(rows: Row[]): Result
}

/** Runs single statements whose SQL was compiled before. */
export interface Statements {
  /** Runs a query. Other callers may get the same object as result, so nobody may change it. */
  read<Result>(query: Query<Result>, parameters: readonly unknown[]): Promise<Result>
  /** Runs a statement as a transaction of its own. Returns the rows of its `returning`. */
  write(sql: string, parameters: readonly unknown[]): Promise<Row[]>
}

/** Stands for a value in a query that is compiled once. */
class Slot {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

/** Returns what stands in a query for the value of that name. */
export type SlotOf<Values> = <Name extends string & keyof Values>(name: Name) => Values[Name]

/**
 * Returns a function that runs a query of Kysely with other values at each call. The query is compiled at the first call only, because
 * this takes longer than most queries.
 * @param build must give a slot in place of every value that differs between calls
 */
export function prepared<Values extends object, Result>(
  run: (sql: string, parameters: readonly unknown[]) => Promise<Result>,
  build: (slot: SlotOf<Values>) => Compilable
): (values: Values) => Promise<Result> {
  let compiled: { sql: string; parameters: readonly unknown[] } | undefined
  return (values) => {
    compiled ??= build((name) => new Slot(name) as never).compile()
    const { sql, parameters } = compiled
    const fill = (parameter: unknown) =>
      parameter instanceof Slot ? values[parameter.name as keyof Values] : parameter
    return run(sql, parameters.map(fill))
  }
}

/**
 * Returns a function that runs a query that only reads. See `prepared` and `Query`. A value must be a number in all calls or in none:
 * PostgreSQL gets the values of several calls as an array of one type.
 */
export function preparedRead<Values extends object, R, Result>(
  { read }: Statements,
  build: (slot: SlotOf<Values>) => Compilable<R>,
  toResult: (rows: R[]) => Result
): (values: Values) => Promise<Result> {
  let query: Query<Result> | undefined
  return prepared((sql, parameters) => {
    query ??= { sql, toResult: (rows) => toResult(rows as R[]) }
    return read(query, parameters)
  }, build)
}
