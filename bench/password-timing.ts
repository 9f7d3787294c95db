import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { OPERATOR } from '../src/domain/caller.ts'
import { runFirstStart } from '../src/first-start.ts'
import { timeRefusals } from './refusals.ts'

/**
 * Whether the time of a refused login tells who exists: logins of an unknown user, with a wrong password and of a
 * disabled user take turns. Prints the medians; they should lie within 5 % or 2 ms of each other.
 *
 *     node bench/password-timing.ts [logins of each kind, 60]
 */
const PASSWORD = 'correct horse battery staple'
const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const file = join(directory, 'latchkey.db')
const config = loadConfig({
  LATCHKEY_DATA_DIR: directory,
  LATCHKEY_DATABASE_URL: `sqlite:${file}`,
  LATCHKEY_ADMIN_PASSWORD: PASSWORD
})
const app = await buildApp(config, { logger: false })

try {
  await runFirstStart(app, config, { mayCreateDatabase: true })
  for (const username of ['alice', 'bob'])
    await app.auth.users.create(OPERATOR, { username, password: PASSWORD, roles: ['user'] })
  const database = new DatabaseSync(file)
  database.prepare("update users set disabled_at = 1 where username_key = 'bob'").run()
  database.close()

  const form = (username: string, password: string) => ({ grant_type: 'password', username, password })
  await timeRefusals(
    app,
    {
      unknown: form('nobody', PASSWORD),
      wrong: form('alice', 'wrong horse battery staple'),
      disabled: form('bob', PASSWORD)
    },
    { status: 400, count: Number(process.argv[2] ?? 60), warmUp: 5 }
  )
} finally {
  await app.close()
  rmSync(directory, { recursive: true, force: true })
}
