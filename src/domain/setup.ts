import type { Config } from '../settings.ts'
import { BUILT_IN_ROLES, BUILT_IN_SCOPES, CLIENT_SCOPES, docsClient, OWN_RESOURCE } from './built-in.ts'
import type { Caller } from './caller.ts'
import { SetupError } from './errors.ts'
import type { Keys } from './keys.ts'
import { ADMIN_ROLE } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Sealer } from './ports/sealer.ts'
import type { Schema, Store } from './ports/store.ts'
import type { RefreshTokens } from './refresh-tokens.ts'
import { CANARY } from './sealing.ts'
import type { Users } from './users.ts'

/** Sets up a database at the first start, and checks it before every start. */
export function createSetup(deps: {
  store: Store
  users: Users
  keys: Keys
  refreshTokens: RefreshTokens
  sealer: Sealer
  clock: Clock
  settings: Config
}) {
  const { store, users, keys, refreshTokens, sealer, clock, settings } = deps

  /** Checks that the database was sealed with the sealing key of the settings. @throws SetupError */
  async function assertSealingKey(): Promise<void> {
    const canary = await store.sealed.get(CANARY.name)
    if (canary === null)
      throw new SetupError(
        'the database lacks the value "canary", with which Latchkey checks the sealing key: restore a backup of the database'
      )
    sealer.open(canary, CANARY.context)
  }

  /** Checks that this version can use or migrate the schema. @throws SetupError */
  function assertUsable(schema: Schema): void {
    if (schema.compatibleFrom > store.version)
      throw new SetupError('the schema is newer than this version can use: install a newer latchkey')
  }

  return {
    assertUsable,
    assertWritable: store.assertWritable,

    /**
     * Sets up the database: stores keys, scopes, roles and the client of /docs unless this was ever done, and the admin unless there is
     * an admin. The schema must exist. Concurrent calls store each of them once.
     * @param makeAdmin returns the first admin, or null for none; called only when there is no admin
     */
    async setUp(
      caller: Caller,
      makeAdmin: () => { username: string; password: string } | null
    ): Promise<{ seedStored: boolean; adminCreated: boolean }> {
      const state = await store.setupState()
      if (state.seeded) await assertSealingKey()
      const firstAdmin = state.admin ? null : makeAdmin()
      if (state.seeded && firstAdmin === null) return { seedStored: false, adminCreated: false }

      const admin = firstAdmin && (await users.prepare({ ...firstAdmin, roles: [ADMIN_ROLE] }))
      const seed = {
        now: clock.now(),
        resources: [{ id: OWN_RESOURCE, identifier: null, name: 'Latchkey' }],
        scopes: [...BUILT_IN_SCOPES, ...CLIENT_SCOPES],
        roles: BUILT_IN_ROLES,
        clients: [docsClient(clock.now())],
        refreshKey: refreshTokens.generateKey(),
        keys: [await keys.generate('signing', settings.signingAlg), await keys.generate('next', settings.signingAlg)],
        sealed: [{ name: CANARY.name, value: sealer.seal(CANARY.text, CANARY.context) }]
      }
      return store.setUp(caller, { seed, admin })
    },

    /**
     * Checks everything that a server needs before it listens: a schema that this version can use, a completed first start, the
     * correct sealing key, a signing key and a refresh key.
     * @throws SetupError that names the repair
     */
    async assertReady(): Promise<void> {
      const schema = await store.schema()
      if (schema === null) throw new SetupError('the database is not set up: run "latchkey migrate"')
      assertUsable(schema)
      if (schema.version < store.version)
        throw new SetupError('the schema is older than this version: run "latchkey migrate"')
      if (!(await store.setupState()).seeded)
        throw new SetupError('the first start was not completed: run "latchkey migrate"')
      await assertSealingKey()
      await keys.signing()
      // So that the keys can be published from now on, also while the database is away.
      await keys.jwks()
      await refreshTokens.assertKey()
    }
  }
}
