/**
 * Returns the members that have a value. A member that is undefined is left out, so the result fits types with optional
 * members under `exactOptionalPropertyTypes`.
 */
export function defined<T extends object>(members: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never
}
