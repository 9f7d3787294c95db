import type { FastifyInstance } from 'fastify'
import type { Config } from './config.ts'
import { SetupError } from './domain/errors.ts'
import { createAdminPassword, createSealingKey, findSealingKey } from './files.ts'

export interface FirstStart {
  seeded: boolean
  /** Null when no admin was made now; `generated` when nobody knows the password yet. */
  admin: { username: string; password: string; generated: boolean } | null
}

/**
 * Schema, keys, roles, scopes, first admin: all that a first start puts in, each once however many start at the same
 * time. Changes nothing where all is there.
 * @throws SetupError when the sealing key is there and its database is not, or the other way round
 */
export async function bootstrap({ auth, store }: FastifyInstance, config: Config): Promise<FirstStart> {
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
  await store.migrate()
  if (keyFile !== undefined && !hasKey && !(await store.bootstrapped()).seeded) createSealingKey(keyFile)

  let admin: FirstStart['admin'] = null
  const { seeded, adminCreated } = await auth.bootstrap(() => {
    const { adminUsername: username, adminPassword } = config
    if (adminPassword !== undefined) admin = { username, password: adminPassword, generated: false }
    else if (embedded) admin = { username, password: createAdminPassword(config), generated: true }
    return admin
  })
  return { seeded, admin: adminCreated ? admin : null }
}
