import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readEnvironment } from '../src/config.ts'
import { SetupError } from '../src/domain/errors.ts'
import { parseDotEnv } from '../src/dotenv.ts'

/** Compares the values of a file in which everything is understood. */
function run(t: Test, text: string, expected: Record<string, string>): void {
  const { variables, problems } = parseDotEnv(text)
  const values = Object.fromEntries([...variables].map(([name, { value }]) => [name, value]))
  t.strictSame({ values, problems }, { values: expected, problems: [] }, text)
}

t.test('a file .env holds names, values in any quotes, comments and "export"', async (t) => {
  run(t, '', {})
  run(t, '\n# comment\n  # another\n\t\n', {})
  run(t, 'A=1\nB = 2 \n\tC=3', { A: '1', B: '2', C: '3' })
  run(t, 'export A=1\n  export  B=2', { A: '1', B: '2' })
  run(t, `A="1 2"\nB='# "no" comment'\nC=\`it's\``, { A: '1 2', B: '# "no" comment', C: "it's" })
  run(t, 'A=1 # comment\nB="2" # "comment"\nC=\'3\'# comment\nD= # comment', { A: '1', B: '2', C: '3', D: '' })
  run(t, 'A=a=b==\nB=$A\nC=a"b', { A: 'a=b==', B: '$A', C: 'a"b' })
  run(t, 'A=\nB=""', { A: '', B: '' })
  run(t, 'A="x\\ny"\nB=\'x\\ny\'', { A: 'x\ny', B: 'x\\ny' })
  run(t, 'A="x\ny"\nB=1', { A: 'x\ny', B: '1' })
  run(t, 'with.dots-and_more=1', { 'with.dots-and_more': '1' })
})

t.test('a byte order mark and the line endings of Windows are no part of a name or a value', async (t) => {
  run(t, '\ufeffA=1\r\nB="2"\r\n\r\n# x\r\n', { A: '1', B: '2' })
})

t.test('everything that is not understood is named with its line, and no value is repeated', async (t) => {
  for (const [text, problems] of [
    ['A=1\nhunter2\n', ['line 2: there is no "="; expected NAME=value']],
    [
      'export\nexport A',
      ['line 1: there is no "="; expected NAME=value', 'line 2: there is no "="; expected NAME=value']
    ],
    ['=hunter2', ['line 1: the text before "=" is not a name']],
    ['my password=hunter2', ['line 1: the text before "=" is not a name']],
    ['1A=hunter2', ['line 1: the text before "=" is not a name']],
    ['set A=hunter2', ['line 1: the text before "=" is not a name']],
    ['# x\nA="hunter2\nB=1', ['line 2: the quote " of A is not closed']],
    ["A='hunter2", ["line 1: the quote ' of A is not closed"]],
    ['A="hunter\nB="2"', ['line 1: text follows the closing quote of A; a quote may be missing']],
    ['A="hunter" 2', ['line 1: text follows the closing quote of A; a quote may be missing']],
    ['A=hunter#2', ['line 1: the value of A holds "#"; put the value in quotes, or a space before a comment']],
    ['A=#hunter2', ['line 1: the value of A holds "#"; put the value in quotes, or a space before a comment']],
    ['A=1\nB=2\n\nA=hunter2', ['line 4: A is already set in line 1']],
    ['A="1\n2"\nhunter2\nA=3', ['line 3: there is no "="; expected NAME=value', 'line 4: A is already set in line 1']]
  ] as const) {
    const found = parseDotEnv(text).problems
    t.strictSame(
      found,
      problems.map((problem) => `.env, ${problem}`),
      text
    )
    t.notMatch(found.join(), /hunter/)
  }
})

/** Returns the variables that a process with this file `.env` and these variables reads. */
function readWith(t: Test, file: string | Buffer, variables: Record<string, string> = {}) {
  const [cwd, directory] = [process.cwd(), mkdtempSync(join(tmpdir(), 'latchkey-'))]
  t.teardown(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, '.env'), file)
  try {
    process.chdir(directory)
    Object.assign(process.env, variables)
    return readEnvironment()
  } finally {
    process.chdir(cwd)
    for (const name of Object.keys(variables)) delete process.env[name]
  }
}

t.test('a mistyped setting in a file .env stops the command and is named with its line', async (t) => {
  t.throws(() => readWith(t, 'LATCHKEY_PORT=80\nlatchkey_issuer=x\nOTHER\nOTHER_PORT=1\n\n\n\n\n\nLATCHKEY_DOC=x'), {
    name: 'SetupError',
    message: [
      '.env, line 2: latchkey_issuer is not a setting, did you mean "LATCHKEY_ISSUER"?',
      '.env, line 3: there is no "="; expected NAME=value',
      '.env, line 10: LATCHKEY_DOC is not a setting, did you mean "LATCHKEY_DOCS"?'
    ].join('\n')
  })
})

t.test('a variable of the process wins over the file, but one that Kubernetes wrote does not', async (t) => {
  const file = 'LATCHKEY_PORT=8080\r\nLATCHKEY_HOST=::\r\n'
  t.match(readWith(t, file), { LATCHKEY_PORT: '8080', LATCHKEY_HOST: '::' })
  t.match(readWith(t, file, { LATCHKEY_PORT: '80' }), { LATCHKEY_PORT: '80', LATCHKEY_HOST: '::' })
  t.match(readWith(t, file, { LATCHKEY_PORT: 'tcp://10.0.0.1:3000' }), { LATCHKEY_PORT: '8080' })
})

t.test('a file .env that cannot be read as text is an error of one line', async (t) => {
  const utf16 = Buffer.from('\ufeffLATCHKEY_PORT=80', 'utf16le')
  t.throws(() => readWith(t, utf16), new SetupError('the file .env is not UTF-8: save it as UTF-8'))
  const [cwd, directory] = [process.cwd(), mkdtempSync(join(tmpdir(), 'latchkey-'))]
  t.teardown(() => rmSync(directory, { recursive: true }))
  mkdirSync(join(directory, '.env'))
  process.chdir(directory)
  try {
    t.throws(() => readEnvironment(), new SetupError('the file .env cannot be read (EISDIR)'))
  } finally {
    process.chdir(cwd)
  }
})
