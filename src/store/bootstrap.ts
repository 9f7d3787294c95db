import type { Kysely } from 'kysely'
import type { Seed, Store } from '../domain/ports.ts'
import { hasAdmin, lock } from './admins.ts'
import { insertClient } from './clients.ts'
import { insertKey } from './keys.ts'
import { insertRefreshKey } from './refresh-keys.ts'
import { insertRole } from './roles.ts'
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
  for (const role of seed.roles) await insertRole(db, role, now)
  for (const client of seed.clients) await insertClient(db, client)
  for (const key of seed.keys) await insertKey(db, key)
  await insertRefreshKey(db, seed.refreshKey)
  for (const value of seed.sealed) await db.insertInto('sealed_values').values(value).execute()
}

export function bootstrap(db: Kysely<Tables>): Pick<Store, 'bootstrap' | 'bootstrapped'> {
  return {
    bootstrap: (seed, admin) =>
      db.transaction().execute(async (trx) => {
        const seeded = (await lock(trx, 'bootstrap')) === 1
        await lock(trx, 'admins')
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
