import { InvalidArgumentError } from 'commander'

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Parses a span of time: `90`, `15m`, `12h` or `30d`. Returns seconds. */
export function parseSpan(text: string): number {
  const [, count, unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text) ?? []
  if (count === undefined)
    throw new InvalidArgumentError('It must be a number of seconds, or a number with s, m, h or d: 12h')
  return Number(count) * (UNITS[unit] as number)
}
