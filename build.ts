import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, normalize, relative } from 'node:path'
import { build } from 'esbuild'
import { defined } from './src/defined.ts'

/** A published package. It contains the files that its entries import, and depends on the packages that these files import. */
interface Package {
  name: string
  description: string
  /** The oldest Node.js. */
  node: string
  bin?: Record<string, string>
  /** The module of each name that can be imported. A module that does not exist yet is left out. */
  exports: Record<string, string>
  /** If given, the code becomes a few files, which include these dependencies: each file that Node.js loads costs time and memory. */
  bundled?: string[]
}

const root = JSON.parse(readFileSync('package.json', 'utf8'))

const PACKAGES: Package[] = [
  {
    name: 'latchkey',
    description: root.description,
    node: root.engines.node,
    bin: { latchkey: 'src/latchkey.cjs' },
    exports: { '.': 'src/mount.js', './testing': 'src/testing/index.js' },
    bundled: ['kysely', '@sinclair/typebox']
  },
  {
    name: 'latchkey-guard',
    description:
      'Guards for Fastify services that accept tokens of Latchkey, and clients for programs that call such services, in their own name or for a user',
    node: '>=22.12',
    exports: { '.': 'src/guard/index.js', './client': 'src/client/index.js' }
  }
]

/** `from('x')` is a call of a query builder, and no import. */
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)['"]([^'"]+)['"]/g
/** A file that a module reads at run time. */
const BESIDE = /new URL\('(\.{1,2}\/[^']+)', import\.meta\.url\)/g

const typesOf = (file: string) => file.replace(/\.js$/, '.d.ts')
/** Replaces the name of a source file, which tsc leaves in declarations, by the name of the published file. */
const asPublished = (specifier: string) => specifier.replace(/^(\.{1,2}\/.*)\.ts$/, '$1.js')

/** The files of a package, and the packages that they import. */
interface Collected {
  files: Map<string, string>
  packages: Set<string>
}

/** Returns the packages of imports: `kysely` for `kysely/migration`. */
const packagesOf = (specifiers: string[]): Set<string> =>
  new Set(
    specifiers
      .filter((specifier) => !isBuiltin(specifier))
      .map((specifier) => /^(@[^/]+\/)?[^/]+/.exec(specifier)?.[0] as string)
      .sort()
  )

/** Returns the files and packages that the entries import, directly or through other files. */
function collectImports(compiled: string, entries: string[]): Collected {
  const files = new Map<string, string>()
  const specifiers: string[] = []
  const open = [...entries]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (files.has(file)) continue
    const text = readFileSync(file.endsWith('.cjs') ? file : join(compiled, file), 'utf8')
    const types = file.endsWith('.d.ts')
    const content = types ? text.replaceAll(IMPORT, (all, name) => all.replace(name, asPublished(name))) : text
    files.set(file, content)
    for (const [, specifier] of content.matchAll(IMPORT) as Iterable<[string, string]>) {
      const beside = normalize(join(dirname(file), specifier))
      if (!specifier.startsWith('.')) specifiers.push(specifier)
      else if (beside !== 'package.json') open.push(types ? typesOf(beside) : beside)
    }
    for (const [, path] of content.matchAll(BESIDE) as Iterable<[string, string]>) {
      const beside = normalize(join(dirname(file), path))
      if (beside !== 'package.json') files.set(beside, readFileSync(beside, 'utf8'))
    }
  }
  return { files, packages: packagesOf(specifiers) }
}

/** Bundles the entries from source into a few files of the folder `src`. */
async function bundle(entries: string[], bundled: string[]): Promise<Collected> {
  const files = new Map<string, string>()
  const { outputFiles, metafile } = await build({
    entryPoints: Object.fromEntries(
      entries.map((entry) => [entry.replace(/\.js$/, ''), entry.replace(/\.js$/, '.ts')])
    ),
    outdir: '.',
    chunkNames: 'src/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'es2024',
    external: Object.keys(root.dependencies).filter((name) => !bundled.includes(name)),
    write: false,
    metafile: true,
    logLevel: 'warning',
    plugins: [
      {
        // A module moves, and the files that it reads at run time do not.
        name: 'beside',
        setup: ({ onLoad }) =>
          onLoad({ filter: /\.ts$/ }, ({ path }) => ({
            loader: 'ts',
            contents: readFileSync(path, 'utf8').replaceAll(BESIDE, (_all, name) => {
              const beside = relative('.', join(dirname(path), name))
              if (beside !== 'package.json') files.set(beside, readFileSync(beside, 'utf8'))
              return `new URL('./${relative('src', beside)}', import.meta.url)`
            })
          }))
      }
    ]
  })
  for (const { path, text } of outputFiles) files.set(relative('.', path), text)
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports)
  return { files, packages: packagesOf(imports.filter(({ external }) => external).map(({ path }) => path)) }
}

/** Returns the licences of packages, which require that every copy of their code includes them. */
function licencesOf(names: string[]): string {
  const texts = names.map((name) => {
    const [file = ''] = globSync('{LICENSE,license}*', { cwd: join('node_modules', name) })
    return `${name}\n\n${readFileSync(join('node_modules', name, file), 'utf8').trim()}\n`
  })
  return texts.join('\n---\n\n')
}

/** Returns the versions of packages in `package.json`. @throws Error when it does not have one of the packages */
function versions(packages: Set<string>): Record<string, string> {
  const known = root.dependencies as Record<string, string>
  const unknown = [...packages].filter((name) => known[name] === undefined)
  if (unknown.length > 0) throw new Error(`package.json has no dependency ${unknown.join(', ')}`)
  return Object.fromEntries([...packages].map((name) => [name, known[name] as string]))
}

async function write(
  compiled: string,
  directory: string,
  { name, description, node, bin, exports, bundled }: Package
): Promise<void> {
  const entries = Object.entries(exports).filter(([, module]) => existsSync(join(compiled, module)))
  const modules = entries.map(([, module]) => module)
  const code =
    bundled === undefined ? collectImports(compiled, modules) : await bundle(['src/cli.js', ...modules], bundled)
  for (const file of Object.values(bin ?? {})) code.files.set(file, readFileSync(file, 'utf8'))
  const types = collectImports(compiled, modules.map(typesOf))
  // A package that only declarations import is a peer dependency, because the declarations mean the types of the host's version.
  const dependencies = new Set([...code.packages, ...(bundled ?? []).filter((each) => types.packages.has(each))].sort())
  const typesOnly = new Set([...types.packages].filter((each) => !dependencies.has(each)))
  const peers = Object.entries(versions(typesOnly)).map(([peer, version]) => [peer, `^${version.split('.')[0]}.0.0`])

  const published = {
    name,
    version: root.version,
    description,
    license: root.license,
    type: 'module',
    engines: { node },
    ...defined({ bin }),
    exports: {
      ...Object.fromEntries(
        entries.map(([path, module]) => [path, { types: `./${typesOf(module)}`, default: `./${module}` }])
      ),
      './package.json': './package.json'
    },
    dependencies: versions(dependencies),
    ...(peers.length === 0
      ? {}
      : {
          peerDependencies: Object.fromEntries(peers),
          // Optional, because a user of another entry of the package does not need them.
          peerDependenciesMeta: Object.fromEntries(peers.map(([peer]) => [peer, { optional: true }]))
        })
  }
  for (const [file, content] of [...code.files, ...types.files]) {
    mkdirSync(join(directory, dirname(file)), { recursive: true })
    writeFileSync(join(directory, file), content)
  }
  writeFileSync(join(directory, 'package.json'), `${JSON.stringify(published, null, 2)}\n`)
  if (bundled !== undefined) writeFileSync(join(directory, 'LICENSES-OF-DEPENDENCIES'), licencesOf(bundled))
  copyFileSync('LICENSE', join(directory, 'LICENSE'))
  copyFileSync(`docs/packages/${name}.md`, join(directory, 'README.md'))
}

/** Writes each package into its own subdirectory: `node build.ts [directory]`, by default `dist`. */
const out = process.argv[2] ?? 'dist'
const compiled = mkdtempSync(join(tmpdir(), 'latchkey-build-'))
try {
  const tsc = join(import.meta.dirname, 'node_modules/typescript/bin/tsc')
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', compiled], { stdio: 'inherit' })
  for (const each of PACKAGES) {
    const directory = join(out, each.name)
    rmSync(directory, { recursive: true, force: true })
    await write(compiled, directory, each)
  }
} finally {
  rmSync(compiled, { recursive: true, force: true })
}
