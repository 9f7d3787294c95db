import type { Test } from 'tap'
import { authorizations } from './authorizations.ts'
import { callerRights } from './caller-rights.ts'
import { clientCredentials } from './client-credentials.ts'
import { clients } from './clients.ts'
import { events } from './events.ts'
import { expiry } from './expiry.ts'
import { guesses } from './guesses.ts'
import { identities } from './identities.ts'
import { keys } from './keys.ts'
import { logins } from './logins.ts'
import { logoutNotices } from './logout-notices.ts'
import { type Kind, type Opened, open } from './open.ts'
import { renewal } from './renewal.ts'
import { resources } from './resources.ts'
import { revocationBounds } from './revocation-bounds.ts'
import { revocations } from './revocations.ts'
import { revokeEverything } from './revoke-everything.ts'
import { schema } from './schema.ts'
import { sessions } from './sessions.ts'
import { setup } from './setup.ts'
import { state } from './state.ts'
import { users } from './users.ts'

const PARTS: Record<string, (t: Test, opened: Opened) => void> = {
  setup,
  users,
  callerRights,
  clients,
  clientCredentials,
  resources,
  sessions,
  logins,
  logoutNotices,
  identities,
  authorizations,
  renewal,
  revocations,
  revocationBounds,
  keys,
  revokeEverything,
  state,
  guesses,
  expiry,
  events
}

/** Tests everything that a database must do. All parts share one database; each part begins with a fresh seed. */
export function conformance(t: Test, kind: Kind): void {
  t.test(`the store on ${kind}`, async (t) => {
    t.test('schema', async (t) => schema(t, kind))
    const opened = await open(t, kind)
    await opened.store.migrate()
    for (const [name, run] of Object.entries(PARTS))
      t.test(name, async (t) => {
        await opened.seed()
        run(t, opened)
      })
  })
}
