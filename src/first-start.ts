import type { FastifyInstance } from 'fastify'
import { OPERATOR } from './domain/caller.ts'
import { DomainError, SetupError } from './domain/errors.ts'
import { createAdminPassword, createSealingKey, findAdminPassword, findSealingKey } from './files.ts'
import type { Config } from './settings.ts'

export interface FirstStart {
  seeded: boolean
  /** The name of the admin that was created now; null when none was. */
  admin: string | null
}

/**
 * Creates schema, keys, roles, scopes and the first admin, each once however many processes start at the same time. Changes
 * nothing that exists, and nothing in a schema that this version does not understand.
 * @param mayBeginAnew whether to create a missing database. Where the sealing key is a setting, nothing else tells a first start
 *   from a lost database
 * @throws SetupError when only one of the sealing key file and its database exists
 */
export async function bootstrap(
  { auth, store }: FastifyInstance,
  config: Config,
  { mayBeginAnew }: { mayBeginAnew: boolean }
): Promise<FirstStart> {
  const embedded = config.databaseUrl.startsWith('sqlite:')
  const keyFile = embedded ? config.sealingKeyFile : undefined

  // A first start creates the schema before the key. Read in the opposite order: where the key exists, the schema exists too.
  const hasKey = findSealingKey(config) !== null
  const schema = await store.schema()
  if (keyFile !== undefined && hasKey && schema === null) {
    throw new SetupError(
      `the sealing key ${keyFile} exists but its database does not: restore the database, or move the key away to begin anew`
    )
  }
  if (schema === null && !mayBeginAnew) {
    throw new SetupError('the database is missing: restore it, or run "latchkey migrate" to create a new one')
  }
  if (schema !== null) auth.assertUnderstood(schema)
  await store.migrate()
  if (keyFile !== undefined && !hasKey && !(await store.bootstrapped()).seeded) createSealingKey(keyFile)

  const { adminUsername: username, adminPassword } = config
  const { seeded, adminCreated } = await auth
    .bootstrap(OPERATOR, () => {
      if (adminPassword !== undefined) return { username, password: adminPassword }
      return embedded ? { username, password: createAdminPassword(config) } : null
    })
    .catch((error: unknown) => {
      if (!(error instanceof DomainError) || !['invalid', 'conflict'].includes(error.code)) throw error
      throw new SetupError(`LATCHKEY_ADMIN_USERNAME, LATCHKEY_ADMIN_PASSWORD: ${error.message}`)
    })
  return { seeded, admin: adminCreated ? username : null }
}

/**
 * Prepares a service to listen: makes the first start on the embedded database, and checks that everything exists.
 * @throws SetupError that names the repair
 */
export async function prepare(app: FastifyInstance, config: Config): Promise<{ hasAdmin: boolean }> {
  if (config.databaseUrl.startsWith('sqlite:'))
    await bootstrap(app, config, { mayBeginAnew: config.sealingKey === undefined })
  await app.auth.assertReady()
  const { admin } = await app.store.bootstrapped()
  return { hasAdmin: admin }
}

/** Returns the generated password of the first admin until it was shown; null when there is none or it was changed since. */
export async function unshownPassword({ auth }: FastifyInstance, config: Config): Promise<string | null> {
  const kept = findAdminPassword(config)
  const isCurrent = kept !== null && (await auth.passwordProof.isCurrent(config.adminUsername, kept))
  return isCurrent ? kept : null
}
