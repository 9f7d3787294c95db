import type { Seed, Store } from '../domain/ports/store.ts'
import { insertClient } from './client-rows.ts'
import type { Db } from './columns.ts'
import { describeGiven } from './event-reasons.ts'
import { insertKey } from './keys.ts'
import { hasAdmin, lock } from './locks.ts'
import { insertRefreshKey } from './refresh-keys.ts'
import { insertRole } from './roles.ts'
import type { Database } from './transaction.ts'
import { insertUser } from './users.ts'

async function insertSeed(trx: Db, seed: Seed): Promise<void> {
  const { now } = seed
  for (const resource of seed.resources)
    await trx
      .insertInto('resources')
      .values({ ...resource, created_at: now })
      .execute()
  for (const { name, description, resourceId } of seed.scopes)
    await trx.insertInto('scopes').values({ name, description, resource_id: resourceId }).execute()
  for (const role of seed.roles) await insertRole(trx, role, now)
  for (const client of seed.clients) await insertClient(trx, client)
  for (const key of seed.keys) await insertKey(trx, key)
  await insertRefreshKey(trx, seed.refreshKey)
  for (const value of seed.sealed) await trx.insertInto('sealed_values').values(value).execute()
}

export function seed({ db, transaction }: Database): Pick<Store, 'setUp' | 'setupState'> {
  return {
    setUp: (caller, { seed, admin }) =>
      transaction(async (trx, record) => {
        const seedStored = (await lock(trx, 'setup')) === 1
        await lock(trx, 'admins')
        if (seedStored) {
          await insertSeed(trx, seed)
          record({ type: 'setup.completed', caller, subject: {} })
        }
        const adminCreated = admin !== null && !(await hasAdmin(trx))
        if (adminCreated) {
          await insertUser(trx, admin)
          const { id: user, username, roles } = admin
          record({ type: 'user.created', caller, subject: { user, username }, reason: describeGiven({ roles }) })
        }
        return { seedStored, adminCreated }
      }),

    async setupState() {
      const { version } = await db
        .selectFrom('invariants')
        .select('version')
        .where('name', '=', 'setup')
        .executeTakeFirstOrThrow()
      return { seeded: version > 0, admin: await hasAdmin(db) }
    }
  }
}
