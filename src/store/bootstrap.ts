import type { Kysely } from 'kysely'
import { ADMIN_ROLE } from '../domain/model.ts'
import type { Seed, Store } from '../domain/ports.ts'
import { insertClient } from './clients.ts'
import { insertKey } from './keys.ts'
import type { Tables } from './schema.ts'
import { insertUser } from './users.ts'

async function insertSeed(db: Kysely<Tables>, seed: Seed): Promise<void> {
  const { now } = seed
  for (const resource of seed.resources)
    await db
      .insertInto('resources')
      .values({ ...resource, created_at: now })
      .execute()
  for (const { name, description, resourceId } of seed.scopes) {
    await db.insertInto('scopes').values({ name, description, resource_id: resourceId }).execute()
  }
  for (const { name, description, scopes } of seed.roles) {
    await db.insertInto('roles').values({ name, description, created_at: now, updated_at: now }).execute()
    for (const scope of scopes) await db.insertInto('role_scopes').values({ role: name, scope }).execute()
  }
  for (const client of seed.clients) await insertClient(db, client, now)
  for (const key of seed.keys) await insertKey(db, key)
  for (const value of seed.sealed) await db.insertInto('sealed_values').values(value).execute()
}

export function bootstrap(db: Kysely<Tables>): Pick<Store, 'bootstrap' | 'bootstrapped'> {
  const hasAdmin = async (trx: Kysely<Tables>) =>
    (await trx
      .selectFrom('user_roles')
      .select('user_id')
      .where('role', '=', ADMIN_ROLE)
      .limit(1)
      .executeTakeFirst()) !== undefined

  return {
    bootstrap: (seed, admin) =>
      db.transaction().execute(async (trx) => {
        const { version } = await trx
          .updateTable('invariants')
          .set(({ eb }) => ({ version: eb('version', '+', 1) }))
          .where('name', '=', 'bootstrap')
          .returning('version')
          .executeTakeFirstOrThrow()
        const seeded = version === 1
        if (seeded) await insertSeed(trx, seed)
        const adminCreated = admin !== null && !(await hasAdmin(trx))
        if (adminCreated) await insertUser(trx, admin)
        return { seeded, adminCreated }
      }),

    async bootstrapped() {
      const row = await db
        .selectFrom('invariants')
        .select('version')
        .where('name', '=', 'bootstrap')
        .executeTakeFirstOrThrow()
      return { seeded: row.version > 0, admin: await hasAdmin(db) }
    }
  }
}
