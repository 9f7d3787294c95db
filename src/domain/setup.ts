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

/** The first start, and the checks before every start. */
export function createSetup(deps: {
  store: Store
  users: Users
  keys: Keys
  refreshTokens: RefreshTokens
  sealer: Sealer
  clock: Clock
}) {
  const { store, users, keys, refreshTokens, sealer, clock } = deps

  /** @throws SetupError when the database was sealed with another sealing key */
  async function assertSealingKey(): Promise<void> {
    const canary = await store.sealed.get(CANARY.name)
    if (canary === null)
      throw new SetupError('the database holds no canary: its setup was not completed, or it was altered')
    sealer.open(canary, CANARY.context)
  }

  /** @throws SetupError when this version can neither use nor migrate the schema */
  function assertUnderstood(schema: Schema): void {
    if (schema.compatibleFrom > store.version)
      throw new SetupError('the schema is newer than this version can use: install a newer latchkey')
  }

  return {
    assertUnderstood,

    /**
     * Stores the rows of a first start (keys, scopes, roles, the client of /docs) unless that was ever done, and the admin unless
     * there is one. The schema must exist. Of concurrent calls one does each.
     * @param makeAdmin called only when an admin may be needed; returns null for no admin
     */
    async bootstrap(
      caller: Caller,
      makeAdmin: () => { username: string; password: string } | null
    ): Promise<{ seeded: boolean; adminCreated: boolean }> {
      const done = await store.bootstrapped()
      if (done.seeded) await assertSealingKey()
      const given = done.admin ? null : makeAdmin()
      if (done.seeded && given === null) return { seeded: false, adminCreated: false }

      const admin = given && (await users.prepare({ ...given, roles: [ADMIN_ROLE] }))
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
      return store.bootstrap(caller, { seed, admin })
    },

    /**
     * Checks what a server needs before it listens: a schema that this version understands, a completed first start, the right
     * sealing key, a signing key and a refresh key.
     * @throws SetupError that names the repair
     */
    async assertReady(): Promise<void> {
      const schema = await store.schema()
      if (schema === null) throw new SetupError('the database is not set up: run "latchkey migrate"')
      assertUnderstood(schema)
      if (schema.version < store.version)
        throw new SetupError('the schema is older than this version: run "latchkey migrate"')
      if (!(await store.bootstrapped()).seeded)
        throw new SetupError('the first start was not completed: run "latchkey migrate"')
      await assertSealingKey()
      await keys.signing()
      await refreshTokens.assertKey()
    }
  }
}
