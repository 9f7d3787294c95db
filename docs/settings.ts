import { readFileSync, writeFileSync } from 'node:fs'
import { settingsTable } from '../src/config.ts'

const FILE = new URL('reference/settings.md', import.meta.url)

/** Returns the page with the table of this code between its markers. */
export const withSettings = (page: string): string =>
  page.replace(
    /(<!-- settings -->\n)[\s\S]*?(<!-- \/settings -->)/,
    (_all, start, end) => `${start}\n${settingsTable()}\n\n${end}`
  )

if (import.meta.main) writeFileSync(FILE, withSettings(readFileSync(FILE, 'utf8')))
