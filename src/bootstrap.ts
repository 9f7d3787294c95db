import type { FastifyInstance } from 'fastify'
import type { Config } from './config.ts'
import { DomainError, SetupError } from './domain/errors.ts'
import { createAdminPassword, createSealingKey, findAdminPassword, findSealingKey } from './files.ts'

export interface FirstStart {
  seeded: boolean
  /** The name of the admin that was made now; null when none was. */
  admin: string | null
}

/**
 * Schema, keys, roles, scopes, first admin: all that a first start puts in, each once however many start at the same
 * time. Changes nothing where all is there, and nothing in a schema that this version does not understand.
 * @param mayBeginAnew whether a missing database is made; where the key is a setting, nothing else tells a first start
 *   from a database that was lost
 * @throws SetupError when the file of the sealing key is there and its database is not, or the other way round
 */
export async function bootstrap(
  { auth, store }: FastifyInstance,
  config: Config,
  { mayBeginAnew }: { mayBeginAnew: boolean }
): Promise<FirstStart> {
  const embedded = config.databaseUrl.startsWith('sqlite:')
  const keyFile = embedded ? config.sealingKeyFile : undefined

  // In this order: on a first start the schema is made before the key, so whoever sees the key also sees the schema.
  const hasKey = findSealingKey(config) !== null
  const schema = await store.schema()
  if (keyFile !== undefined && hasKey && schema === null) {
    throw new SetupError(
      `the sealing key ${keyFile} is there but its database is not: put the database back, or move the key away to begin anew`
    )
  }
  if (schema === null && !mayBeginAnew) {
    throw new SetupError('the database is missing: put it back, or run "latchkey migrate" to make a new one')
  }
  if (schema !== null) auth.assertUnderstood(schema)
  await store.migrate()
  if (keyFile !== undefined && !hasKey && !(await store.bootstrapped()).seeded) createSealingKey(keyFile)

  const { adminUsername: username, adminPassword } = config
  const { seeded, adminCreated } = await auth
    .bootstrap(() => {
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
 * What comes before a service listens: on the embedded database the first start, everywhere whether all is there.
 * @throws SetupError with what helps
 */
export async function prepare(app: FastifyInstance, config: Config): Promise<{ hasAdmin: boolean }> {
  if (config.databaseUrl.startsWith('sqlite:'))
    await bootstrap(app, config, { mayBeginAnew: config.sealingKey === undefined })
  await app.auth.assertReady()
  const { admin } = await app.store.bootstrapped()
  return { hasAdmin: admin }
}

/** The generated password of the first admin that nobody was shown yet; null when there is none or it was changed since. */
export async function unshownPassword({ auth }: FastifyInstance, config: Config): Promise<string | null> {
  const kept = findAdminPassword(config)
  return kept && (await auth.users.authenticate(config.adminUsername, kept, null)) && kept
}
