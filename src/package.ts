import { readFileSync } from 'node:fs'

/** The name and the version of this package. */
export const { name, version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  name: string
  version: string
}
