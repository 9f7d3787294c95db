import type { Test } from 'tap'

/** Adds one result and its expected value. Two rows must not have the same name. */
export type Row = (name: string, actual: unknown, expected: unknown) => void

/** Compares all results that `fill` adds, in one assertion. One assertion for each result would cost more than the requests. */
export async function compareAll(t: Test, fill: (row: Row) => Promise<void>): Promise<void> {
  const actual: Record<string, unknown> = {}
  const expected: Record<string, unknown> = {}
  await fill((name, is, mustBe) => {
    if (name in actual) throw new Error(`two rows have the name ${name}`)
    actual[name] = is
    expected[name] = mustBe
  })
  const count = Object.keys(actual).length
  if (count === 0) throw new Error('there are no rows')
  t.strictSame(actual, expected, `${count} rows`)
}
