import t from 'tap'
import { cycles, readSources, violations } from './architecture.ts'

t.test('every source file follows the rules of the architecture', async (t) => {
  const sources = readSources()
  t.ok(sources.size > 100)
  t.strictSame(
    [...sources].flatMap(([file, source]) => violations(file, source)),
    []
  )
  t.strictSame(cycles(sources), [])
})

const planted: [file: string, source: string][] = [
  ['src/domain/users.ts', "import fastify from 'fastify'"],
  ['src/domain/users.ts', "import { openStore } from '../store/index.ts'"],
  ['src/domain/users.ts', "import type { Kysely } from 'kysely'"],
  ['src/domain/users.ts', "import { Settings } from '../settings.ts'"],
  ['src/domain/users.ts', "import { UserView } from '../wire/users.ts'"],
  ['src/domain/users.ts', 'const now = Date.now()'],
  ['src/domain/users.ts', 'const time = new Date()'],
  ['src/domain/users.ts', 'const { now } = Date'],
  ['src/domain/users.ts', "const name = text.normalize('NFC')"],
  ['src/domain/users.ts', "const fastify = require('fastify')"],
  ['src/domain/users.ts', 'const fastify = await import(`fastify`)'],
  ['src/domain/users.ts', 'export function createUsers() {}'],
  ['src/domain/users.ts', 'const create = async (caller?: Caller) => {}'],
  ['src/domain/users.ts', 'const create = async (caller: Caller = OPERATOR) => {}'],
  ['src/domain/users.ts', 'const create = async (caller: Caller | null) => {}'],
  ['src/domain/users.ts', 'const remove = async (id: string, caller: Caller) => {}'],
  ['src/domain/users.ts', 'const view = { full_name: user.fullName }'],
  ['src/domain/users.ts', 'interface View { full_name?: string }'],
  ['src/domain/users.ts', 'const name = body.full_name'],
  ['src/domain/users.ts', 'const view = { id, full_name }'],
  ['src/domain/users.ts', 'let a\n'.repeat(302)],
  ['src/domain/ports/store.ts', 'interface Store {\n  close(): Promise<void>\n}'],
  ['src/store/users.ts', "import { createUsers } from '../domain/users.ts'"],
  ['src/store/users.ts', "import plugin from '../../plugins/auth.ts'"],
  ['src/store/users.ts', 'const create = async (caller?: Caller) => {}'],
  ['src/wire/users.ts', "import { createUsers } from '../domain/users.ts'"],
  ['src/wire/users.ts', "import type { FastifyRequest } from 'fastify'"],
  ['src/token/claims.ts', "import type { User } from '../domain/model.ts'"],
  ['src/queue.ts', "import { setTimeout } from 'node:timers'"],
  ['plugins/guard.ts', "import auth from './auth.ts'"],
  ['plugins/guard.ts', "import { failureOf } from './errors/table.ts'"],
  ['plugins/errors/table.ts', "import errors from '../errors.ts'"],
  ['plugins/errors/table.ts', "import guard from '../guard.ts'"],
  ['plugins/guard.ts', "import { loadConfig } from '../src/config.ts'"],
  ['plugins/sweep.ts', "import { OPERATOR } from '../src/domain/caller.ts'"],
  ['plugins/request-caller.ts', "const caller = { kind: 'system', ...origin }"],
  ['plugins/guard.ts', "import { Settings } from '../src/settings.ts'"],
  ['plugins/guard.ts', 'const port = process.env.PORT'],
  ['plugins/guard.ts', "import { env } from 'node:process'"],
  ['plugins/guard.ts', "const port = process['env'].PORT"],
  ['routes/users.ts', "import { DomainError } from '../src/domain/errors.ts'"],
  ['routes/users.ts', "import type { Store } from '../src/domain/ports/store.ts'"],
  ['routes/users.ts', "import { randomUUID } from 'node:crypto'"],
  ['src/guard/index.ts', "import type { Principal } from '../domain/model.ts'"],
  ['src/guard/index.ts', "const { openStore } = await import('../store/index.ts')"],
  ['src/guard/index.ts', 'const now = Date.now()'],
  ['src/client/index.ts', "import { createAuth } from '../domain/index.ts'"],
  ['src/server.ts', "import users from '../routes/users.ts'"],
  ['src/server.ts', "export { default } from '../plugins/auth.ts'"]
]

for (const [file, source] of planted) {
  t.test(`a planted violation is found: ${file} with ${source.slice(0, 80).trim()}`, async (t) => {
    t.equal(violations(file, source).length, 1)
  })
}

t.test('a planted import cycle is found, also a cycle of types', async (t) => {
  const sources = new Map([
    ['src/domain/a.ts', "import { b } from './b.ts'"],
    ['src/domain/b.ts', "import { c } from './deep/c.ts'"],
    ['src/domain/deep/c.ts', "import type { A } from '../a.ts'"]
  ])
  t.strictSame(cycles(sources), [
    'import cycle: src/domain/a.ts → src/domain/b.ts → src/domain/deep/c.ts → src/domain/a.ts'
  ])
})
