import { readFileSync } from 'node:fs'
import t from 'tap'
import { sources, violations } from './architecture.ts'

t.test('every file imports only what its folder may', async (t) => {
  t.ok(sources().length > 30)
  t.strictSame(
    sources().flatMap((file) => violations(file, readFileSync(file, 'utf8'))),
    []
  )
})

const planted: [file: string, source: string][] = [
  ['src/domain/users.ts', "import fastify from 'fastify'"],
  ['src/domain/users.ts', "import { openStore } from '../store/index.ts'"],
  ['src/domain/users.ts', "import type { Kysely } from 'kysely'"],
  ['src/domain/users.ts', 'const now = Date.now()'],
  ['src/store/users.ts', "import { createUsers } from '../domain/users.ts'"],
  ['src/store/users.ts', "import plugin from '../../plugins/auth.ts'"],
  ['plugins/guard.ts', "import auth from './auth.ts'"],
  ['plugins/guard.ts', "import { loadConfig } from '../src/config.ts'"],
  ['plugins/guard.ts', 'const port = process.env.PORT'],
  ['routes/users.ts', "import { DomainError } from '../src/domain/errors.ts'"],
  ['routes/users.ts', "import type { Store } from '../src/domain/ports.ts'"],
  ['routes/users.ts', "import { randomUUID } from 'node:crypto'"],
  ['src/guard/index.ts', "import type { Principal } from '../domain/model.ts'"],
  ['src/guard/index.ts', "const { openStore } = await import('../store/index.ts')"],
  ['src/guard/index.ts', 'const now = Date.now()'],
  ['src/client/index.ts', "import { createAuth } from '../domain/index.ts'"],
  ['src/domain/users.ts', 'const time = new Date()'],
  ['src/domain/users.ts', 'const { now } = Date'],
  ['src/domain/users.ts', "const fastify = require('fastify')"],
  ['src/domain/users.ts', 'const fastify = await import(`fastify`)'],
  ['src/domain/users.ts', 'export function createUsers() {}'],
  ['src/domain/ports.ts', 'interface Store {\n  close(): Promise<void>\n}'],
  ['plugins/guard.ts', "import { env } from 'node:process'"],
  ['plugins/guard.ts', "const port = process['env'].PORT"],
  ['src/server.ts', "import users from '../routes/users.ts'"],
  ['src/server.ts', "export { default } from '../plugins/auth.ts'"]
]

for (const [file, source] of planted) {
  t.test(`a planted violation is found: ${file} with ${source}`, async (t) => {
    t.equal(violations(file, source).length, 1)
  })
}
