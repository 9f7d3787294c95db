import { type ChildProcess, spawn } from 'node:child_process'
import { globSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { createInterface } from 'node:readline'

/** How many files of one folder share a process at most. Starting Node.js and loading the program costs more than most files. */
const TOGETHER = 20
/** Files that change their whole process, or count what it does. */
const ALONE = ['test/store/postgres-driver.test.ts', 'test/routes/client-timing.test.ts']
/** Folders whose tests wait for processes and pages. Their files start first, so that the other files run while they wait. */
const FIRST = ['test/browser', 'test/cli', 'test']
const GROUPS = '.tap/groups'
/** How many processes run at the same time. */
const JOBS = 3
/** Seconds that a process may take. */
const TIMEOUT = 1800
/** Apps are built and dropped all the time: room for young objects saves a sixth of the CPU. */
const NODE_ARGS = ['--min-semi-space-size=64', '--max-semi-space-size=64']
const WITHOUT_COVERAGE = `--import=${new URL('./without-coverage.ts', import.meta.url)}`

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
    return isFailure || /^ok \d+ - \S+\.test\.ts /.test(line) || /^# (?!Subtest|time=|\{)/.test(text)
  }
}

interface Program {
  name: string
  file: string
  args: string[]
  isNeeded: (line: string) => boolean
  /** Seconds after which it is killed, because it did not end itself. */
  limit?: number
}

const running = new Set<ChildProcess>()
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    for (const each of running) each.kill(signal)
  })

/** Runs a program that writes TAP, and prints the needed lines of each top-level test together. */
async function runProgram({ name, file, args, isNeeded, limit = 0 }: Program, timeout: number): Promise<Outcome> {
  const child = spawn(file, args, {
    env: { ...process.env, TAP_TIMEOUT: String(timeout) },
    stdio: ['inherit', 'pipe', 'inherit'],
    timeout: limit * 1000,
    killSignal: 'SIGKILL'
  })
  running.add(child)
  const closed = new Promise<number>((resolve) => child.on('close', (status) => resolve(status ?? 1)))
  let counts = ''
  let block = ''
  const print = () => {
    process.stdout.write(block)
    block = ''
  }
  for await (const line of createInterface({ input: child.stdout })) {
    if (/^(not )?ok /.test(line)) print()
    if (isNeeded(line)) block += `${line}\n`
    counts = /^# \{ total: \d+, (.*) \}/.exec(line)?.[1] ?? counts
  }
  print()
  const status = await closed
  running.delete(child)
  // A process that was killed has no counts.
  const isCut = counts === ''
  const code = isCut ? status || 1 : status
  process.stdout.write(`${code === 0 ? 'ok' : 'not ok'} - ${name}\n`)
  const count = (kind: string) => Number(counts.match(`${kind}: (\\d+)`)?.[1] ?? 0)
  return { code, passed: count('pass'), failed: isCut ? 1 : count('fail'), skipped: count('skip') + count('todo') }
}

/**
 * Runs the files and prints what a person needs of the output. Only tap measures coverage and knows other options, but it loads hooks
 * into each process, also into those that tests start, and parses all output. So without coverage Node.js runs the files.
 */
export async function runTests(files: string[], options: string[]): Promise<Outcome> {
  rmSync(GROUPS, { recursive: true, force: true })
  mkdirSync(GROUPS, { recursive: true })
  const groups = grouped(files).map(writeGroup)
  const timeout = Number(options.findLast((option) => option.startsWith('--timeout='))?.split('=')[1] ?? TIMEOUT)
  const needsTap =
    !options.includes('--disable-coverage') || options.some((option) => !/^--(disable-coverage$|timeout=)/.test(option))
  const all: Program = {
    name: 'tap',
    file: 'tap',
    args: [
      `--jobs=${JOBS}`,
      `--timeout=${timeout}`,
      ...NODE_ARGS.map((arg) => `--node-arg=${arg}`),
      ...options,
      ...groups
    ],
    isNeeded: options.some((option) => option.startsWith('--reporter')) ? () => true : createFilter()
  }
  const each = groups.map(
    (name): Program => ({
      name,
      file: process.execPath,
      args: [...NODE_ARGS, WITHOUT_COVERAGE, name],
      isNeeded: createFilter(),
      limit: timeout + 60
    })
  )
  const open = (needsTap ? [all] : each).values()
  const outcomes: Outcome[] = []
  const work = async () => {
    for (const program of open) outcomes.push(await runProgram(program, timeout))
  }
  await Promise.all(Array.from({ length: JOBS }, work))
  const sum = (kind: keyof Outcome) => outcomes.reduce((total, outcome) => total + outcome[kind], 0)
  return {
    code: Math.max(...outcomes.map(({ code }) => code)),
    passed: sum('passed'),
    failed: sum('failed'),
    skipped: sum('skipped')
  }
}
