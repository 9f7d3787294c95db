import { docsClient } from './clients.ts'
import { SetupError } from './errors.ts'
import type { RefreshTokens, Users } from './index.ts'
import type { Keys } from './keys.ts'
import { ADMIN_ROLE } from './model.ts'
import type { Clock, Schema, Sealer, Store } from './ports.ts'
import { BUILT_IN_ROLES, BUILT_IN_SCOPES, CLIENT_SCOPES, OWN_RESOURCE } from './scopes.ts'
import { CANARY } from './sealing.ts'

/** The first start, and what every start asks before it serves. */
export function createBootstrap(deps: {
  store: Store
  users: Users
  keys: Keys
  refreshTokens: RefreshTokens
  sealer: Sealer
  clock: Clock
}) {
  const { store, users, keys, refreshTokens, sealer, clock } = deps

  /** @throws SetupError when the sealing key is not the one that this database was sealed with */
  async function checkSealingKey(): Promise<void> {
    const canary = await store.sealed.get(CANARY.name)
    if (canary === null)
      throw new SetupError('the database holds no canary: it was not set up to the end or was altered')
    sealer.open(canary, CANARY.context)
  }

  /** @throws SetupError when the schema is of a version that this one cannot use, not even to migrate it */
  function assertUnderstood(schema: Schema): void {
    if (schema.compatibleFrom > store.version) {
      throw new SetupError('the schema is newer than this version can use: install a newer latchkey')
    }
  }

  return {
    assertUnderstood,

    /**
     * Puts in what a first start needs (keys, scopes, roles, the client of /docs) unless that was ever done, and the
     * admin unless there is one. The schema must be there. May be called by many at once: one does it.
     * @param admin asked only when it may be needed; null for no admin
     */
    async bootstrap(
      admin: () => { username: string; password: string } | null
    ): Promise<{ seeded: boolean; adminCreated: boolean }> {
      const done = await store.bootstrapped()
      if (done.seeded) {
        await checkSealingKey()
        // One that was set up by a version without refresh tokens has none.
        await refreshTokens.ensureKey()
      }
      const given = done.admin ? null : admin()
      if (done.seeded && given === null) return { seeded: false, adminCreated: false }

      const newAdmin = given && (await users.prepare({ ...given, roles: [ADMIN_ROLE] }))
      const seed = {
        now: clock.now(),
        resources: [{ id: OWN_RESOURCE, identifier: null, name: 'Latchkey' }],
        scopes: [...BUILT_IN_SCOPES, ...CLIENT_SCOPES],
        roles: BUILT_IN_ROLES,
        clients: [docsClient(clock.now())],
        refreshKey: refreshTokens.generateKey(),
        keys: [await keys.generate('signing'), await keys.generate('next')],
        sealed: [{ name: CANARY.name, value: sealer.seal(CANARY.text, CANARY.context) }]
      }
      return store.bootstrap(seed, newAdmin)
    },

    /**
     * What must be true before a server listens: a schema that this version understands, a finished first start, the
     * right sealing key, a key that signs. @throws SetupError with what helps
     */
    async assertReady(): Promise<void> {
      const schema = await store.schema()
      if (schema === null) throw new SetupError('the database is not set up: run "latchkey migrate"')
      assertUnderstood(schema)
      if (schema.version < store.version)
        throw new SetupError('the schema is older than this version: run "latchkey migrate"')
      if (!(await store.bootstrapped()).seeded)
        throw new SetupError('the first start was not finished: run "latchkey migrate"')
      await checkSealingKey()
      await keys.signing()
      await refreshTokens.assertKey()
    }
  }
}
