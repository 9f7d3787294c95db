import { InvalidArgumentError } from 'commander'

/** The end of the help text of a command with durations. */
export const DURATIONS = '\n\nA duration is a number of seconds, or a number with the unit s, m, h or d, such as 12h.'

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Parses a duration such as `90`, `15m`, `12h` or `30d`. Returns seconds. */
export function parseDuration(text: string): number {
  const [, count, unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text) ?? []
  if (count === undefined)
    throw new InvalidArgumentError(
      'It must be a number of seconds, or a number with the unit s, m, h or d, such as 12h; with at most 9 digits'
    )
  return Number(count) * (UNITS[unit] as number)
}
