import { type TSchema, Type } from '@sinclair/typebox'
import { defined } from '../defined.ts'
import { LINE_MAX, LINE_PATTERN } from '../limits.ts'

/** Returns the schema of a name or description: one line of text. */
export const Line = (options: { minLength?: number; description: string }) =>
  Type.String({ maxLength: LINE_MAX, pattern: LINE_PATTERN, ...options })

/** Returns the schema of an instant (RFC 3339). */
export const Instant = (description?: string) => Type.String({ format: 'date-time', ...defined({ description }) })

/** Returns the schema of a value or null. */
export const OrNull = <T extends TSchema>(schema: T, description?: string) =>
  Type.Union([schema, Type.Null()], defined({ description }))

/** Returns the schema of a path parameter that names an object. The path of the route has the same pattern, so no other text reaches it. */
export const PathId = (pattern: string, description: string) => Type.String({ pattern, description })

/** The query of a route without query parameters. */
export const NoQuery = Type.Object({}, { additionalProperties: false })

/** Returns the JSON form of an instant of the domain (milliseconds since the epoch). */
export const iso = (at: number): string => new Date(at).toISOString()

/** Returns the JSON form of an instant that may be missing. */
export const isoOrNull = (at: number | null): string | null => (at === null ? null : iso(at))

/** Returns the JSON form of an instant as seconds since the epoch, rounded down. */
export const seconds = (at: number): number => Math.floor(at / 1000)

/** Reads a list of names that are separated by spaces. */
export const words = (text: string): string[] => text.split(' ').filter((word) => word !== '')
