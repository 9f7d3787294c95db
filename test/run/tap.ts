import { spawn } from 'node:child_process'
import { globSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { createInterface } from 'node:readline'

/** How many files of one folder share a process at most. Starting Node.js and loading the program costs more than most files. */
const TOGETHER = 12
/** Files that change their whole process, or count what it does. */
const ALONE = ['test/store/postgres-driver.test.ts', 'test/routes/client-timing.test.ts']
/** Folders whose tests wait for processes and pages. Their files start first, so that the other files run while they wait. */
const FIRST = ['test/browser', 'test/cli', 'test']
const GROUPS = '.tap/groups'
const WITHOUT_COVERAGE = new URL('./without-coverage.ts', import.meta.url)

export interface Outcome {
  code: number
  passed: number
  failed: number
  skipped: number
}

/** Returns the test files that are named: by their path, by a pattern, or by a folder they are in. @throws Error for a name without files */
export function filesOf(names: string[]): string[] {
  const files = names.flatMap((name) => {
    const isFolder = statSync(name, { throwIfNoEntry: false })?.isDirectory() === true
    const found = globSync(isFolder ? join(name, '**/*.test.ts') : name)
    if (found.length === 0) throw new Error(`there is no test ${name}`)
    return found
  })
  return [...new Set(files)].toSorted()
}

/** Returns the files in the groups that get a process each. */
function grouped(files: string[]): string[][] {
  const folders = Map.groupBy(files, dirname)
  const place = (folder: string) => (FIRST.includes(folder) ? FIRST.indexOf(folder) : FIRST.length)
  return [...folders]
    .toSorted(([a], [b]) => place(a) - place(b))
    .flatMap(([, all]) => {
      const alone = all.filter((file) => ALONE.includes(file))
      const others = all.filter((file) => !ALONE.includes(file))
      const count = Math.ceil(others.length / TOGETHER)
      const dealt = Array.from({ length: count }, (_, index) => others.filter((_file, at) => at % count === index))
      return [...dealt, ...alone.map((file) => [file])]
    })
}

/** Writes a file that runs the files of a group, and returns its path. */
function writeGroup(files: string[], index: number): string {
  const [first = ''] = files
  if (files.length === 1) return first
  const path = join(GROUPS, `${String(index).padStart(2, '0')}-${dirname(first).replaceAll('/', '-')}.test.ts`)
  const imports = files.map((file) => `import('${relative(GROUPS, file)}')`)
  // tap ends the process's tests when it has nothing to do, so it must know that a file is still being loaded.
  const loaded = `const loaded = Promise.all([${imports.join(', ')}])`
  writeFileSync(path, `import t from 'tap'\n${loaded}\nt.waitOn(loaded)\nawait loaded\n`)
  return path
}

/**
 * Returns a function that takes the lines of a TAP stream and returns whether a person needs them: what failed with its details,
 * comments, and the files that are done.
 */
function createFilter(): (line: string) => boolean {
  let isFailure = false
  let isDetail = false
  return (line) => {
    const text = line.trimStart()
    if (isDetail || text === '---') {
      isDetail = text !== '...'
      return isFailure
    }
    isFailure = text.startsWith('not ok ')
    return isFailure || /^ok /.test(line) || /^# (?!Subtest|time=)/.test(text)
  }
}

/** Runs tap with those options on the files, and prints what a person needs of its output; all of it when a reporter is named. */
export async function runTap(files: string[], options: string[]): Promise<Outcome> {
  rmSync(GROUPS, { recursive: true, force: true })
  mkdirSync(GROUPS, { recursive: true })
  const more = options.includes('--disable-coverage') ? [`--test-env=NODE_OPTIONS=--import=${WITHOUT_COVERAGE}`] : []
  const tap = spawn('tap', [...options, ...more, ...grouped(files).map(writeGroup)], {
    stdio: ['inherit', 'pipe', 'inherit']
  })
  const isNeeded = options.some((option) => option.startsWith('--reporter')) ? () => true : createFilter()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => tap.kill(signal))
  const closed = new Promise<number>((resolve) => tap.on('close', (status) => resolve(status ?? 1)))
  let counts = ''
  for await (const line of createInterface({ input: tap.stdout })) {
    if (isNeeded(line)) process.stdout.write(`${line}\n`)
    counts = /^# \{ total: \d+, (.*) \}/.exec(line)?.[1] ?? counts
  }
  const count = (name: string) => Number(counts.match(`${name}: (\\d+)`)?.[1] ?? 0)
  return { code: await closed, passed: count('pass'), failed: count('fail'), skipped: count('skip') + count('todo') }
}
