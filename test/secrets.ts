import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Shorter ones stand in a text by chance. */
const SHORTEST = 12
const PLANTED = 'planted'
const SEARCHED = 'searched'

export type Place = 'log lines' | 'answers' | 'outputs' | 'databases'

/** Every form of every secret, by its beginning. */
const planted = new Map<string, Set<string>>()
const searched: Record<Place, number> = { 'log lines': 0, answers: 0, outputs: 0, databases: 0 }
const found = new Set<string>()

const directory = () => process.env.TEST_READY as string

/** How a secret could be written somewhere: as it is, for a URL, encoded, or as a hash that anybody can try words on. */
function forms(secret: string): string[] {
  const bytes = Buffer.from(secret)
  // What is random may be kept as a hash.
  const hashes = (secret.startsWith('lks_') ? [] : ['sha1', 'sha256', 'sha512']).map((name) =>
    createHash(name).update(bytes).digest()
  )
  return [
    secret,
    encodeURIComponent(secret),
    new URLSearchParams({ secret }).toString().slice('secret='.length),
    JSON.stringify(secret).slice(1, -1),
    bytes.toJSON().data.join(),
    ...[bytes, ...hashes].flatMap((each) =>
      (['base64', 'base64url', 'hex'] as const).map((encoding) => each.toString(encoding).replace(/=+$/, ''))
    )
  ]
}

/** From now on nobody may find these anywhere. */
export function plant(...secrets: unknown[]): void {
  for (const secret of secrets) {
    if (typeof secret !== 'string' || secret.length < SHORTEST) continue
    for (const form of forms(secret)) {
      const beginning = form.slice(0, SHORTEST)
      planted.set(beginning, (planted.get(beginning) ?? new Set()).add(form))
    }
  }
}

/** Plants them for every test, in whatever process. */
export function plantForAll(secrets: string[]): void {
  appendFileSync(join(directory(), PLANTED), secrets.map((secret) => `${JSON.stringify(secret)}\n`).join(''))
}

/** Whether anything that was planted is in a text. */
export function holdsSecret(text: string): boolean {
  for (let at = 0; at + SHORTEST <= text.length; at++)
    for (const secret of planted.get(text.slice(at, at + SHORTEST)) ?? []) if (text.startsWith(secret, at)) return true
  return false
}

/** Looks for everything that was planted. @param what where a secret was found, for whoever has to mend it */
export function search(place: Place, what: string, text: string): void {
  searched[place]++
  if (holdsSecret(text)) found.add(`${place}: ${what}`)
}

const lines = (file: string): string[] =>
  existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    : []

/** What all processes of a run searched and found. */
export function report(): { searched: Record<Place, number>; found: string[] } {
  const all = lines(join(directory(), SEARCHED)).map((line) => JSON.parse(line))
  const sum = { ...searched }
  for (const each of all) for (const place of Object.keys(sum) as Place[]) sum[place] += each.searched[place]
  return { searched: sum, found: [...new Set<string>(all.flatMap((each) => each.found))] }
}

if (process.env.TEST_READY !== undefined) {
  plant(...lines(join(directory(), PLANTED)).map((line) => JSON.parse(line)))
  process.once('exit', () => {
    const test = process.argv[1]
    const line = JSON.stringify({ searched, found: [...found].map((what) => `${test}: ${what}`) })
    if (existsSync(directory())) appendFileSync(join(directory(), SEARCHED), `${line}\n`)
  })
}
