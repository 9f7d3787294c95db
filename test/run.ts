import { existsSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { resolve } from 'node:path'
import { makeReady } from './helper.ts'
import { startServices } from './run/services.ts'
import { filesOf, type Outcome, runTests } from './run/tap.ts'
import { report } from './secrets.ts'

/** Folders whose tests need no PostgreSQL, no browser and no child process. */
const FAST = ['domain', 'guard', 'token', 'wire', 'routes', 'plugins'].map((name) => `test/${name}`)
const IN_BROWSER = /^test\/(browser\/|packages\.)/

/** Prints what the search for secrets found, then `N passed, N failed`. Returns the exit code. */
function conclude({ code, passed, failed, skipped }: Outcome, isWhole: boolean): number {
  if (code !== 0 && failed === 0)
    process.stdout.write('\nno test failed: the coverage is below .taprc, or tap ended early\n')
  const { searched, found } = report()
  for (const where of found) process.stdout.write(`\na secret was found in ${where}`)
  if (isWhole && Object.values(searched).includes(0)) throw new Error('nothing was searched for secrets')
  const places = Object.entries(searched).map(([place, times]) => `${times} ${place}`)
  process.stdout.write(`\nsearched ${places.join(', ')}: ${found.length} secrets found\n`)
  const also = skipped > 0 ? `, ${skipped} skipped` : ''
  process.stdout.write(`\n${passed} passed, ${failed + found.length} failed${also}\n`)
  return found.length > 0 ? 1 : code
}

/**
 * Runs all tests, those that are named (by file, pattern or folder), or with `--fast` those of `FAST`, on SQLite only.
 * With other options than `--disable-coverage` and `--timeout`, and for coverage, tap runs them.
 */
const args = process.argv.slice(2)
const isFast = args.includes('--fast')
const options = args.filter((arg) => arg.startsWith('-') && arg !== '--fast')
const named = args.filter((arg) => !arg.startsWith('-'))
if (isFast && named.length > 0) {
  process.stderr.write(`--fast selects its own tests: leave it out to run ${named.join(' ')}\n`)
  process.exit(2)
}
const isWhole = !isFast && named.length === 0
const files = filesOf(isFast ? FAST.filter((folder) => existsSync(folder)) : isWhole ? ['test'] : named)

// Programs that the tests start in other directories share the cache too.
const { NODE_COMPILE_CACHE: cache } = process.env
if (cache !== undefined) process.env.NODE_COMPILE_CACHE = resolve(cache)

const services = await startServices({ postgres: !isFast, browser: files.some((file) => IN_BROWSER.test(file)) })
let code = 1
try {
  await makeReady()
  flushCompileCache()
  code = conclude(await runTests(files, options), isWhole)
} finally {
  await services.stop()
}
process.exit(code)
