import type { FastifyInstance } from 'fastify'
import { OPERATOR } from './domain/caller.ts'
import { DomainError, SetupError } from './domain/errors.ts'
import { createAdminPassword, createSealingKey, explainAccess, findAdminPassword, findSealingKey } from './files.ts'
import type { Config } from './settings.ts'

export interface FirstStart {
  /** Whether this start set up the database. */
  seedStored: boolean
  /** The name of the created admin; null when no admin was created. */
  admin: string | null
}

/**
 * Creates schema, keys, roles, scopes and the first admin, if they do not exist. Each is created once, also when many processes start at
 * the same time. Migrates an older schema.
 * @param mayCreateDatabase whether to create a missing database. With the sealing key in a setting, no file shows whether the database
 *   was lost or never existed
 * @throws SetupError when the file of the sealing key exists without its database, or this version cannot use the schema
 */
export async function runFirstStart(
  app: FastifyInstance,
  config: Config,
  options: { mayCreateDatabase: boolean }
): Promise<FirstStart> {
  try {
    return await setUp(app, config, options)
  } catch (error) {
    throw explainAccess(error, config)
  }
}

async function setUp(
  { auth, store }: FastifyInstance,
  config: Config,
  { mayCreateDatabase }: { mayCreateDatabase: boolean }
): Promise<FirstStart> {
  const embedded = config.databaseUrl.startsWith('sqlite:')
  const keyFile = embedded ? config.sealingKeyFile : undefined

  // A first start creates the schema before the key. This code reads the key before the schema, so it never finds the key of a
  // concurrent first start without the schema.
  const hasKey = findSealingKey(config) !== null
  const schema = await store.schema()
  if (keyFile !== undefined && hasKey && schema === null) {
    throw new SetupError(
      `the sealing key ${keyFile} exists but its database does not: restore the database, or move the key away to create a new database`
    )
  }
  if (schema === null && !mayCreateDatabase) {
    throw new SetupError('the database is missing: restore it, or run "latchkey migrate" to create a new one')
  }
  if (schema !== null) auth.assertUsable(schema)
  await store.migrate()
  if (keyFile !== undefined && !hasKey && !(await store.setupState()).seeded) createSealingKey(keyFile)

  const { adminUsername: username, adminPassword } = config
  const { seedStored, adminCreated } = await auth
    .setUp(OPERATOR, () => {
      if (adminPassword !== undefined) return { username, password: adminPassword }
      return embedded ? { username, password: createAdminPassword(config) } : null
    })
    .catch((error: unknown) => {
      if (!(error instanceof DomainError) || !['invalid', 'conflict'].includes(error.code)) throw error
      throw new SetupError(`LATCHKEY_ADMIN_USERNAME, LATCHKEY_ADMIN_PASSWORD: ${error.message}`)
    })
  return { seedStored, admin: adminCreated ? username : null }
}

/**
 * Prepares a service before it listens: makes the first start if it is needed (on the embedded database only), and checks the database.
 * Warns if another service uses the same embedded database.
 * @throws SetupError that names the repair
 */
export async function prepare(app: FastifyInstance, config: Config): Promise<{ hasAdmin: boolean }> {
  if (config.databaseUrl.startsWith('sqlite:'))
    await runFirstStart(app, config, { mayCreateDatabase: config.sealingKey === undefined })
  await app.auth.assertReady()
  await app.auth.resources.assertIssuerIsFree()
  if (!(await app.store.claimServer()))
    app.log.warn(
      `another server uses the database ${config.databaseUrl.slice('sqlite:'.length)}: both wait for each other at every write. Several servers need PostgreSQL`
    )
  const { admin } = await app.store.setupState()
  return { hasAdmin: admin }
}

/** Returns the generated password of the first admin if it was not shown yet and is still valid; else null. */
export async function unshownPassword({ auth }: FastifyInstance, config: Config): Promise<string | null> {
  const kept = findAdminPassword(config)
  const isCurrent = kept !== null && (await auth.passwordProof.isCurrent(config.adminUsername, kept))
  return isCurrent ? kept : null
}
