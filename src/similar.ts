/** Longer texts are not compared, so the work for one name is bounded. */
const LENGTH_MAX = 64

/** Returns the number of inserted, deleted, replaced and swapped characters between two texts, at most one more than `most`. */
function distance(one: string, other: string, most: number): number {
  if (Math.abs(one.length - other.length) > most) return most + 1
  let beforePrevious: number[] = []
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let row = 1; row <= one.length; row++) {
    const current = [row]
    for (let column = 1; column <= other.length; column++) {
      const isEqual = one[row - 1] === other[column - 1]
      const isSwapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      current.push(
        Math.min(
          (previous[column] as number) + 1,
          (current[column - 1] as number) + 1,
          (previous[column - 1] as number) + (isEqual ? 0 : 1),
          isSwapped ? (beforePrevious[column - 2] as number) + 1 : Number.POSITIVE_INFINITY
        )
      )
    }
    beforePrevious = previous
    previous = current
  }
  return Math.min(previous[other.length] as number, most + 1)
}

/** Returns the name that is most similar to a text; null when every name differs in more than 2 characters or a third of the text. */
function mostSimilar(text: string, names: readonly string[]): string | null {
  if (text.length > LENGTH_MAX) return null
  let best: string | null = null
  let most = Math.min(2, Math.floor(text.length / 3))
  for (const name of names) {
    const steps = distance(text, name, most)
    if (steps > most) continue
    best = name
    most = steps - 1
  }
  return best
}

/** Returns the end of an error message about an unknown name: `, did you mean "orders:read"?`, or nothing without a similar name. */
export function didYouMean(text: string, names: readonly string[]): string {
  const name = mostSimilar(text, names)
  return name === null ? '' : `, did you mean ${JSON.stringify(name)}?`
}
