import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

/** An import of a file: the package, or the path of a file from the root. */
interface Import {
  target: string
  isType: boolean
}

interface Rule {
  files: RegExp
  /** What the files may import. */
  may: RegExp[]
  /** What they may import as types only. */
  mayAsType?: RegExp[]
}

const LEAVES =
  /^src\/(absolute-uri|deep-freeze|defined|limits|look-alikes|loopback|node-http|outgoing|printable|request-target|similar|text|queue|admission|deadline)\.ts$/

/** What each folder may import: the first rule that matches a file applies. docs/architecture.md has the same table. */
const RULES: Rule[] = [
  { files: LEAVES, may: [/^node:(async_hooks|dns|http|net)$/, LEAVES] },
  { files: /^src\/settings\.ts$/, may: [/^@sinclair\/typebox$/, LEAVES] },
  { files: /^src\/token\//, may: [/^node:/, /^src\/token\//, LEAVES] },
  {
    files: /^src\/domain\//,
    may: [/^node:/, /^bidi-js$/, /^@zxcvbn-ts\/language-common$/, /^src\/(domain|token)\//, LEAVES],
    mayAsType: [/^src\/settings\.ts$/]
  },
  {
    files: /^src\/store\//,
    may: [
      /^node:/,
      /^kysely(\/|$)/,
      /^pg$/,
      /^src\/store\//,
      /^src\/domain\/(ports\/[\w-]+|model|errors|caller|events)\.ts$/,
      LEAVES
    ]
  },
  {
    files: /^src\/wire\//,
    may: [/^@sinclair\/typebox$/, /^src\/wire\//, LEAVES],
    mayAsType: [/^src\/domain\//]
  },
  {
    files: /^src\/(guard|client)\//,
    may: [/^node:/, /^fastify$/, /^fastify-plugin$/, /^src\/(guard|client|token)\//, LEAVES]
  },
  {
    files: /^plugins\//,
    may: [
      /^node:/,
      /^fastify$/,
      /^@fastify\//,
      /^fastify-plugin$/,
      /^helmet$/,
      /^openid-client$/,
      /^argon2$/,
      /^eta$/,
      /^src\/(domain|store|guard|token)\//,
      LEAVES
    ],
    mayAsType: [/^src\/settings\.ts$/]
  },
  {
    files: /^routes\//,
    may: [/^fastify$/, /^@fastify\/type-provider-typebox$/, /^@sinclair\/typebox$/, /^src\/wire\//]
  },
  {
    files: /^src\/app\.ts$/,
    may: [/^node:/, /^fastify$/, /^@fastify\/type-provider-typebox$/, /^plugins\//, /^routes\//, /^src\//]
  },
  {
    files: /^src\/core\.ts$/,
    may: [/^node:/, /^fastify$/, /^plugins\/(auth|events|hashing|jwt|store)\.ts$/, /^src\//]
  },
  { files: /^src\//, may: [/^(?!plugins\/|routes\/)/] }
]

/** Text that may stand in these files only. */
const ONLY_IN: { text: RegExp; files: string[] }[] = [
  {
    text: /\bDate\.now\b|\bnew Date\(\)|=\s*Date\b/,
    files: ['src/core.ts', 'src/token/clock.ts']
  },
  { text: /\.normalize\(/, files: ['src/text.ts', 'src/domain/usernames.ts'] },
  { text: /\bprocess\??\.env\b|\bprocess\[|['"]node:process['"]/, files: ['src/config.ts'] }
]

/** Text that must not stand in these files. */
const FORBIDDEN: { files: RegExp; text: RegExp; why: string }[] = [
  {
    files: /^src\/(domain|store)\//,
    text: /\bcaller\?\s*:|(?<!const |let )\bcaller(: [\w&| ]+)? = |\bCaller \| (null|undefined)\b/,
    why: 'has an optional caller'
  },
  {
    files: /^src\/domain\//,
    text: /\((?!\s*caller\b)[^()]*,\s*caller: Caller\b/,
    why: 'has a caller that is not the first argument'
  },
  {
    files: /^(plugins|routes)\//,
    text: /\b(OPERATOR|SYSTEM)\b|['"](operator|system)['"]/,
    why: 'makes a caller that may do more than the sender of a request'
  },
  {
    files: /^src\/domain\//,
    text: /(?<![\w`'"$.-])[a-z]+(_[a-z]+)+\??: |\.[a-z]+(_[a-z]+)+\b(?!['"`])|[{,]\s*[a-z]+(_[a-z]+)+(?=\s*[,}])/,
    why: 'uses a name of the wire (snake_case)'
  }
]

/** Imports that the rules cannot read. */
const HIDDEN_IMPORT = /\brequire\s*\(|\bcreateRequire\b|\bimport\s*\(\s*[^'"\s]/

const IMPORT =
  /(?:^|\n)\s*(import|export)\s(\s*type\s)?([^'"]*?)from\s+['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g

const LINES_MAX = 300

/** Lists the imports of a file. */
function importsOf(file: string, source: string): Import[] {
  return [...source.matchAll(IMPORT)].map(([, , type, names = '', from, call]) => {
    const name = from ?? call ?? ''
    const braces = /^\s*\{([^}]*)\}\s*$/.exec(names)?.[1]
    const allTypes = braces?.split(',').every((each) => /^\s*(type\s|$)/.test(each))
    return {
      target: name.startsWith('.') ? normalize(join(dirname(file), name)) : name,
      isType: type !== undefined || allTypes === true
    }
  })
}

/** Lists the public functions of the domain and the methods of its ports that have no doc comment. */
function undocumented(file: string, source: string): string[] {
  if (!file.startsWith('src/domain/')) return []
  const declared = file.startsWith('src/domain/ports/')
    ? /^ +(\w+)\(.*(\{|\(|>|\w)$/
    : /^export (?:async )?(?:function|const) (\w+)/
  const lines = source.split('\n')
  return lines.flatMap((line, index) => {
    const [, name] = declared.exec(line) ?? []
    const before = lines[index - 1]?.trimEnd() ?? ''
    return name === undefined || before.endsWith('*/') ? [] : [`${file} has no doc comment for ${name}`]
  })
}

/** Returns the folder that only this plugin may import: `plugins/errors/` for plugins/errors.ts and for the files in it. */
function folderOfPlugin(file: string): string | null {
  const [, name] = /^plugins\/([^/]+?)(?:\.ts$|\/)/.exec(file) ?? []
  return name === undefined ? null : `plugins/${name}/`
}

/** Lists what the source of one file does against the rules. */
export function violations(file: string, source: string): string[] {
  const rule = RULES.find(({ files }) => files.test(file))
  if (rule === undefined) return []
  const code = source.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, '')
  const ownFolder = folderOfPlugin(file)
  const isAllowed = ({ target, isType }: Import) =>
    (ownFolder !== null && target.startsWith(ownFolder)) ||
    rule.may.some((pattern) => pattern.test(target)) ||
    (isType && (rule.mayAsType ?? []).some((pattern) => pattern.test(target)))
  return [
    ...importsOf(file, source)
      .filter((each) => !isAllowed(each))
      .map(({ target }) => `${file} may not import ${target}`),
    ...(HIDDEN_IMPORT.test(source) ? [`${file} has an import that cannot be read`] : []),
    ...undocumented(file, source),
    ...ONLY_IN.filter(({ text, files }) => !files.includes(file) && text.test(source)).map(
      ({ text, files }) => `${file} holds ${text.source}, which belongs in ${files.join(' and ')} only`
    ),
    ...FORBIDDEN.filter(({ files, text }) => files.test(file) && text.test(code)).map(
      ({ text, why }) => `${file} ${why}: ${text.exec(code)?.[0].trim()}`
    ),
    ...(source.split('\n').length > LINES_MAX + 1 ? [`${file} has more than ${LINES_MAX} lines`] : [])
  ]
}

/** Lists the import cycles among the files, each once. Imports of types count too. */
export function cycles(sources: Map<string, string>): string[] {
  const edges = new Map(
    [...sources].map(([file, source]) => [file, importsOf(file, source).map(({ target }) => target)])
  )
  const done = new Set<string>()
  const found: string[] = []

  function visit(file: string, path: string[]): void {
    const at = path.indexOf(file)
    if (at !== -1) found.push(`import cycle: ${[...path.slice(at), file].join(' → ')}`)
    if (at !== -1 || done.has(file)) return
    for (const target of edges.get(file) ?? []) if (edges.has(target)) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of sources.keys()) visit(file, [])
  return found
}

/** Reads every source file. */
export const readSources = (): Map<string, string> =>
  new Map(
    globSync(['src/**/*.ts', 'plugins/**/*.ts', 'routes/**/*.ts']).map((file) => [file, readFileSync(file, 'utf8')])
  )

if (import.meta.main) {
  const sources = readSources()
  const found = [...sources].flatMap(([file, source]) => violations(file, source)).concat(cycles(sources))
  for (const line of found) process.stderr.write(`${line}\n`)
  process.exitCode = found.length > 0 ? 1 : 0
}
