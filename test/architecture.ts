import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

/** Who may import whom: the first rule whose folder holds the file says what its imports must match. */
const RULES: { files: RegExp; may: RegExp[] }[] = [
  { files: /^src\/domain\//, may: [/^node:/, /^bidi-js$/, /^@zxcvbn-ts\/language-common$/, /^src\/domain\//] },
  {
    files: /^src\/store\//,
    may: [/^node:/, /^kysely(\/|$)/, /^pg$/, /^src\/store\//, /^src\/domain\/(model|ports|errors)\.ts$/]
  },
  { files: /^src\/(guard|client)\//, may: [/^node:/, /^fastify$/, /^fastify-plugin$/, /^src\/(guard|client)\//] },
  {
    files: /^plugins\//,
    may: [
      /^node:/,
      /^fastify$/,
      /^@fastify\//,
      /^fastify-plugin$/,
      /^fast-jwt$/,
      /^argon2$/,
      /^src\/(domain|store|guard)\//
    ]
  },
  {
    files: /^routes\//,
    may: [/^fastify$/, /^@fastify\/type-provider-typebox$/, /^@sinclair\/typebox$/, /^routes\/schemas\.ts$/]
  },
  {
    files: /^src\/app\.ts$/,
    may: [/^node:/, /^fastify$/, /^@fastify\/type-provider-typebox$/, /^plugins\//, /^routes\//, /^src\//]
  },
  { files: /^src\//, may: [/^(?!plugins\/|routes\/)/] }
]

/** What may stand in these places only. */
const ONLY_IN: { text: RegExp; files: string[] }[] = [
  { text: /\bDate\.now\b|\bnew Date\(\)|=\s*Date\b/, files: ['src/app.ts', 'src/guard/clock.ts'] },
  { text: /\bprocess\??\.env\b|\bprocess\[|['"]node:process['"]/, files: ['src/config.ts'] }
]

/** What the import table could be got around with. */
const HIDDEN_IMPORT = /\brequire\s*\(|\bcreateRequire\b|\bimport\s*\(\s*[^'"\s]/

const IMPORT = /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s+['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g

/** Public functions of the domain and methods of its ports that have no comment of their own. */
function undocumented(file: string, source: string): string[] {
  if (!file.startsWith('src/domain/')) return []
  const declared = file.endsWith('ports.ts')
    ? /^ +(\w+)\(.*(\{|\(|>|\w)$/
    : /^export (?:async )?(?:function|const) (\w+)/
  const lines = source.split('\n')
  return lines.flatMap((line, index) => {
    const [, name] = declared.exec(line) ?? []
    const before = lines[index - 1]?.trimEnd() ?? ''
    return name === undefined || before.endsWith('*/') ? [] : [`${file} says nothing about ${name}`]
  })
}

/** What the source of one file does that the table of docs/architecture.md forbids; empty when nothing. */
export function violations(file: string, source: string): string[] {
  const rule = RULES.find(({ files }) => files.test(file))
  if (rule === undefined) return []
  const imports = [...source.matchAll(IMPORT)].map(([, statement, call]) => statement ?? call ?? '')
  const targets = imports.map((name) => (name.startsWith('.') ? normalize(join(dirname(file), name)) : name))
  return [
    ...targets
      .filter((target) => !rule.may.some((pattern) => pattern.test(target)))
      .map((target) => `${file} may not import ${target}`),
    ...(HIDDEN_IMPORT.test(source) ? [`${file} imports by what cannot be read`] : []),
    ...undocumented(file, source),
    ...ONLY_IN.filter(({ text, files }) => !files.includes(file) && text.test(source)).map(
      ({ text, files }) => `${file} holds ${text.source}, which belongs in ${files.join(' and ')} only`
    )
  ]
}

export const sources = (): string[] => globSync(['src/**/*.ts', 'plugins/**/*.ts', 'routes/**/*.ts'])

if (import.meta.main) {
  const found = sources().flatMap((file) => violations(file, readFileSync(file, 'utf8')))
  for (const line of found) process.stderr.write(`${line}\n`)
  process.exitCode = found.length > 0 ? 1 : 0
}
