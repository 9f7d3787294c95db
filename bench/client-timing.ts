import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildApp } from '../src/app.ts'
import { loadConfig } from '../src/config.ts'
import { OPERATOR } from '../src/domain/caller.ts'
import { runFirstStart } from '../src/first-start.ts'
import { timeRefusals } from './refusals.ts'

/**
 * Whether the time of a refused client tells which clients exist: an unknown client, a wrong secret and a disabled client
 * with its right secret take turns. Prints the medians; they should lie within 5 % or 0.3 ms of each other.
 *
 *     node bench/client-timing.ts [tries of each kind, 2000]
 */
const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
const config = loadConfig({
  LATCHKEY_DATA_DIR: directory,
  LATCHKEY_DATABASE_URL: `sqlite:${join(directory, 'latchkey.db')}`,
  LATCHKEY_ADMIN_PASSWORD: 'correct horse battery staple'
})
const app = await buildApp(config, { logger: false })

try {
  await runFirstStart(app, config, { mayCreateDatabase: true })
  const { clients } = app.auth
  const add = async (id: string) =>
    (await clients.create(OPERATOR, { id, name: id, grantTypes: ['client_credentials'] })).secret as string
  await add('enabled')
  const secret = await add('stopped')
  await clients.change(OPERATOR, 'stopped', { disabled: true })

  const wrong = `lks_${'A'.repeat(43)}`
  const form = (client_id: string, client_secret: string) => ({
    grant_type: 'client_credentials',
    client_id,
    client_secret
  })
  await timeRefusals(
    app,
    { unknown: form('unknown', wrong), wrong: form('enabled', wrong), disabled: form('stopped', secret) },
    { status: 401, count: Number(process.argv[2] ?? 2000), warmUp: 300 }
  )
} finally {
  await app.close()
  rmSync(directory, { recursive: true, force: true })
}
