import type { Client } from '../domain/model.ts'
import type { ClientStore } from '../domain/ports/clients.ts'
import { endAuthorizations } from './authorization-rows.ts'
import { assertMayGrantToClient } from './caller-rights.ts'
import { clientCredentials, insertSecret } from './client-credentials.ts'
import {
  getClient,
  insertClient,
  lockClient,
  selectClients,
  setClientScopes,
  toClient,
  toColumns
} from './client-rows.ts'
import { describeChanges, describeGiven } from './event-reasons.ts'
import { lockForDeletion, reserveClientId } from './locks.ts'
import { appendRevocations } from './revocations.ts'
import { endSessionsOfClient } from './session-ends.ts'
import type { Database } from './transaction.ts'

const losesSome = (before: string[], after: string[]): boolean => before.some((each) => !after.includes(each))

/** Returns whether the client may request fewer resources than before. An empty list means all resources. */
const losesResources = (before: string[], after: string[]): boolean =>
  after.length > 0 && (before.length === 0 || losesSome(before, after))

/** Returns whether tokens of the client may carry fewer roles than before. */
function losesRoles(before: Client, after: Client): boolean {
  const listed = (client: Client) => client.roles ?? (client.firstParty ? null : [])
  const [earlier, later] = [listed(before), listed(after)]
  return later !== null && (earlier === null || losesSome(earlier, later))
}

/** Returns the default scopes after a change. If all scopes were default scopes, all new scopes are default scopes too. */
function nextDefaults(before: Client, after: Client, given: string[] | undefined): string[] {
  if (given !== undefined) return given
  return before.defaultScopes.length === before.scopes.length ? after.scopes : before.defaultScopes
}

function changeClient({ transaction }: Database): ClientStore['change'] {
  return (caller, { id, changes: { disabled, ...changes }, now }) =>
    transaction(async (trx, record) => {
      if (!(await lockClient(trx, id, now))) return null
      const before = (await getClient(trx, id)) as Client
      const wanted = { ...before, ...changes }
      if (Object.keys(changes).length > 0 || disabled === false) await assertMayGrantToClient(trx, caller, wanted)
      const disables = disabled === true && before.disabledAt === null
      const disabledAt = disables ? { disabled_at: now } : disabled === false ? { disabled_at: null } : {}
      await trx
        .updateTable('clients')
        .set({ ...toColumns(changes), ...disabledAt, updated_at: now })
        .where('id', '=', id)
        .execute()
      if (changes.scopes !== undefined || changes.defaultScopes !== undefined)
        await setClientScopes(trx, { ...wanted, defaultScopes: nextDefaults(before, wanted, changes.defaultScopes) })

      const endsSessions =
        disables || losesSome(before.grantTypes, wanted.grantTypes) || (before.firstParty && !wanted.firstParty)
      const losesRights =
        losesResources(before.resources, wanted.resources) ||
        losesSome(before.scopes, wanted.scopes) ||
        losesRoles(before, wanted)
      const narrowsRequests =
        losesSome(before.redirectUris, wanted.redirectUris) || (wanted.requirePkce && !before.requirePkce)
      if (endsSessions || losesRights || narrowsRequests) await endAuthorizations(trx, { clientId: id })
      if (endsSessions) await endSessionsOfClient(trx, id, now)
      if (endsSessions || losesRights) await appendRevocations(trx, [{ kind: 'client', id }], now)
      const after = (await getClient(trx, id)) as Client
      const reason = describeChanges(before, { ...after, updatedAt: before.updatedAt })
      if (reason !== '') record({ type: 'client.changed', caller, subject: { client: id }, reason })
      return after
    })
}

export function clients(database: Database): ClientStore {
  const { db, transaction } = database

  return {
    ...clientCredentials(database),

    get: (id) => getClient(db, id),

    async idTokenAlgs() {
      const rows = await db
        .selectFrom('clients')
        .select('id_token_alg')
        .distinct()
        .where('id_token_alg', 'is not', null)
        .execute()
      return rows.flatMap((row) => row.id_token_alg ?? [])
    },

    async list({ after, limit }) {
      const rows = await selectClients(db)
        .$if(after !== null, (query) => query.where('clients.id', '>', after))
        .orderBy('clients.id')
        .limit(limit)
        .execute()
      return rows.map(toClient)
    },

    create: (caller, { client, secret }) =>
      transaction(async (trx, record) => {
        const { id, grantTypes, scopes, roles, resources } = client
        await reserveClientId(trx, id)
        await assertMayGrantToClient(trx, caller, client)
        await insertClient(trx, client)
        // Tokens of a deleted client with the same id stay revoked. The insert may have waited for the deletion of that client, so a
        // later statement must read the number of its entry in the revocation log.
        await trx
          .updateTable('clients')
          .set({ revoked_seq: trx.selectFrom('counters').select('seq').where('name', '=', 'revocations') })
          .where('id', '=', id)
          .execute()
        if (secret !== null) await insertSecret(trx, id, secret)
        const reason = describeGiven({ grantTypes, scopes, roles: roles ?? [], resources })
        record({ type: 'client.created', caller, subject: { client: id }, reason })
      }),

    change: changeClient(database),

    delete: (caller, { id, now }) =>
      transaction(async (trx, record) => {
        await lockForDeletion(trx, 'clients', id)
        if (!(await lockClient(trx, id, now))) return false
        // Locks authorizations and sessions in the order of their ids before the deletion cascades to them, to avoid deadlocks.
        await endAuthorizations(trx, { clientId: id })
        await endSessionsOfClient(trx, id, now)
        await trx.deleteFrom('clients').where('id', '=', id).execute()
        await trx.deleteFrom('logout_notices').where('client_id', '=', id).execute()
        await appendRevocations(trx, [{ kind: 'client', id }], now)
        record({ type: 'client.deleted', caller, subject: { client: id } })
        return true
      })
  }
}
