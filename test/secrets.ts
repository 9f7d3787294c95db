import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The shortest secret that is searched for: a shorter one may stand in a text by chance. */
const SHORTEST = 12
const PLANTED = 'planted'
const SEARCHED = 'searched'

export type Place = 'log lines' | 'answers' | 'outputs' | 'databases'

const known = new Set<string>()
/** All forms of all secrets, by their first characters. */
const planted = new Map<string, Set<string>>()
/** The hashes of the first four characters of all forms. They rule out nearly every place of a text quickly. */
const marks = new Uint8Array(2 ** 20)
const hash = (text: string, at: number): number =>
  (((text.charCodeAt(at) * 31 + text.charCodeAt(at + 1)) * 31 + text.charCodeAt(at + 2)) * 31 +
    text.charCodeAt(at + 3)) &
  (marks.length - 1)
const searched: Record<Place, number> = { 'log lines': 0, answers: 0, outputs: 0, databases: 0 }
const found = new Set<string>()

const directory = () => process.env.TEST_READY as string

/** Returns the forms in which a secret could leak: plain, URL-encoded, base64, hex, and as an unsalted hash. */
function forms(secret: string): string[] {
  const bytes = Buffer.from(secret)
  // A random secret may be stored as a hash.
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

/** Plants secrets: from now on a search that finds one fails the run. */
export const plant = (...secrets: unknown[]): void => plantForms(secrets, forms)

/** Plants random secrets of 256 bits, which may be stored as a hash. */
export const plantRandom = (...secrets: unknown[]): void => plantForms(secrets, (secret) => [secret])

function plantForms(secrets: unknown[], formsOf: (secret: string) => string[]): void {
  for (const secret of secrets) {
    if (typeof secret !== 'string' || secret.length < SHORTEST || known.has(secret)) continue
    known.add(secret)
    for (const form of formsOf(secret)) {
      const beginning = form.slice(0, SHORTEST)
      planted.set(beginning, (planted.get(beginning) ?? new Set()).add(form))
      marks[hash(form, 0)] = 1
    }
  }
}

/** Plants secrets for the tests of all processes. */
export function plantForAll(secrets: string[]): void {
  appendFileSync(join(directory(), PLANTED), secrets.map((secret) => `${JSON.stringify(secret)}\n`).join(''))
}

/** Returns whether a planted secret is in a text. */
export function holdsSecret(text: string): boolean {
  for (let at = 0; at + SHORTEST <= text.length; at++) {
    if (marks[hash(text, at)] === 0) continue
    for (const secret of planted.get(text.slice(at, at + SHORTEST)) ?? []) if (text.startsWith(secret, at)) return true
  }
  return false
}

/** Searches a text for all planted secrets. @param what names the text in the report */
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

/** Returns what all processes of the run have searched, and where they found secrets. */
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
