interface ListChange {
  before?: string[]
  after: string[]
}

/** Describes which items a list gained and which it lost. Returns the name alone when only the order changed. */
function describeList(name: string, { before = [], after }: ListChange): string[] {
  const added = after.filter((item) => !before.includes(item))
  const removed = before.filter((item) => !after.includes(item))
  const texts = [
    ...(added.length > 0 ? [`${name} added: ${added.join(', ')}`] : []),
    ...(removed.length > 0 ? [`${name} removed: ${removed.join(', ')}`] : [])
  ]
  return texts.length === 0 && before.join() !== after.join() ? [name] : texts
}

/**
 * Returns the reason of an event that changes something: the names of the members that differ, without their values; empty when none
 * differs. For a list of names it adds the added and removed names. For `disabledAt` it is `disabled` or `enabled`.
 */
export function describeChanges<T extends object>(before: T, after: T): string {
  const texts = Object.entries(after).flatMap(([name, value]) => {
    const previous = before[name as keyof T]
    if (JSON.stringify(previous) === JSON.stringify(value)) return []
    if (name === 'disabledAt') return [value === null ? 'enabled' : 'disabled']
    return isNames(previous) && isNames(value) ? describeList(name, { before: previous, after: value }) : [name]
  })
  return texts.join('; ')
}

/** Returns the reason of an event that creates something: the names in its lists. Leaves out empty lists. */
export const describeGiven = (lists: Record<string, string[]>): string =>
  Object.entries(lists)
    .flatMap(([name, after]) => describeList(name, { after }))
    .join('; ')

const isNames = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string')
