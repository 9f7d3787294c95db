import { type InferResult, type Selectable, sql } from 'kysely'
import { DomainError } from '../domain/errors.ts'
import type { Client, ClientSecret, ScopeTarget, SigningAlg, SigningTimes } from '../domain/model.ts'
import type { ClientStore } from '../domain/ports/clients.ts'
import { assertMayGrantToClient } from './caller-rights.ts'
import { getClient, lockClient, selectClients, toClient } from './client-rows.ts'
import { type Db, needsRowLocks, words } from './columns.ts'
import { LAST_REVOCATION } from './revocations.ts'
import type { Tables } from './schema.ts'
import { preparedRead, type SlotOf } from './statements.ts'
import type { Database } from './transaction.ts'

/** In place of a missing value. */
const NONE = '-'

/** Returns the words of a text, `size` together. */
function groups(text: string | null, size: number): string[][] {
  const all = words(text)
  return Array.from({ length: all.length / size }, (_, index) => all.slice(size * index, size * (index + 1)))
}

/** The registered scopes of a client: for each its name, the id and the identifier of its resource. None of them holds a space. */
const REGISTERED = sql<
  string | null
>`(select string_agg(cs.scope || ' ' || r.id || ' ' || coalesce(r.identifier, ${sql.lit(NONE)}), ' ')
  from client_scopes cs join scopes s on s.name = cs.scope join resources r on r.id = s.resource_id where cs.client_id = clients.id)`

function toRegistered(text: string | null): ScopeTarget[] {
  return groups(text, 3).map(([name = '', resourceId = '', identifier = NONE]) => ({
    name,
    resourceId,
    identifier: identifier === NONE ? null : identifier
  }))
}

const toSecret = (row: Omit<Selectable<Tables['client_secrets']>, 'client_id'>): ClientSecret => ({
  id: row.id,
  hash: row.secret_hash,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  lastUsedAt: row.last_used_at
})

export async function insertSecret(
  trx: Db,
  clientId: string,
  { id, hash, createdAt, expiresAt }: ClientSecret
): Promise<void> {
  await trx
    .insertInto('client_secrets')
    .values({ id, client_id: clientId, secret_hash: hash, created_at: createdAt, expires_at: expiresAt })
    .execute()
}

/** The signing keys: for each its kid, its algorithm, and the two instants, the second of which can be missing. */
const SIGNING = sql<
  string | null
>`(select string_agg(kid || ' ' || alg || ' ' || created_at || ' ' || coalesce(cast(signs_since_at as text), ${sql.lit(NONE)}), ' ') from signing_keys where state = 'signing')`

function toSigning(text: string | null): SigningTimes[] {
  return groups(text, 4).map(([kid = '', alg, createdAt, signsSinceAt]) => ({
    kid,
    alg: alg as SigningAlg,
    createdAt: Number(createdAt),
    signsSinceAt: signsSinceAt === NONE ? null : Number(signsSinceAt)
  }))
}

/** Selects clients, each in one row for each of its secrets, or in one row without a secret. */
const selectCredentials = (db: Db, slot: SlotOf<{ id: string; otherId: string }>) =>
  selectClients(db)
    .leftJoin('client_secrets as s', 's.client_id', 'clients.id')
    .select([
      's.id as secret_id',
      's.secret_hash',
      's.created_at as secret_created_at',
      's.expires_at as secret_expires_at',
      's.last_used_at'
    ])
    .select([REGISTERED.as('registered'), SIGNING.as('signing')])
    .select(LAST_REVOCATION.as('rev'))
    .where('clients.id', 'in', [slot('id'), slot('otherId')])

/** @param rows all rows of one client */
function toCredentials(rows: [CredentialsRow, ...CredentialsRow[]]) {
  const [client] = rows
  const secrets = rows.flatMap((row) =>
    row.secret_id === null
      ? []
      : [
          toSecret({
            id: row.secret_id,
            secret_hash: row.secret_hash as string,
            created_at: row.secret_created_at as number,
            expires_at: row.secret_expires_at,
            last_used_at: row.last_used_at
          })
        ]
  )
  const { registered, signing, rev } = client
  return { client: toClient(client), secrets, registered: toRegistered(registered), signing: toSigning(signing), rev }
}

type CredentialsRow = InferResult<ReturnType<typeof selectCredentials>>[number]

/** Stores the secrets and assertions of clients. */
export function clientCredentials({
  db,
  statements,
  transaction,
  recordCommitted
}: Database): Pick<
  ClientStore,
  'credentials' | 'secrets' | 'addSecret' | 'deleteSecret' | 'recordSecretUse' | 'useAssertion'
> {
  const find = preparedRead(
    statements,
    (slot: SlotOf<{ id: string; otherId: string }>) => selectCredentials(db, slot),
    (rows) => [...Map.groupBy(rows, ({ id }) => id).values()].map((own) => toCredentials(own as [CredentialsRow]))
  )

  return {
    async credentials(ids, now) {
      const [id = '', otherId = id] = ids
      const found = await find({ id, otherId })
      return ids.flatMap((id) => {
        const each = found.find(({ client }) => client.id === id)
        if (each === undefined) return []
        const secrets = each.secrets.filter(({ expiresAt }) => expiresAt === null || expiresAt > now)
        return [{ ...each, secrets }]
      })
    },

    async secrets(id, now) {
      const rows = await db
        .selectFrom('client_secrets')
        .selectAll()
        .where('client_id', '=', id)
        .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now)]))
        .orderBy('created_at')
        .orderBy('id')
        .execute()
      return rows.map(toSecret)
    },

    addSecret: (caller, { id, secret, othersEndAt, maxSecrets }) =>
      transaction(async (trx, record) => {
        if (!(await lockClient(trx, id, secret.createdAt))) return false
        await assertMayGrantToClient(trx, caller, (await getClient(trx, id)) as Client)
        if (othersEndAt !== null)
          await trx
            .updateTable('client_secrets')
            .set({ expires_at: othersEndAt })
            .where('client_id', '=', id)
            .where((eb) => eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', othersEndAt)]))
            .execute()
        await trx
          .deleteFrom('client_secrets')
          .where('client_id', '=', id)
          .where('expires_at', '<=', secret.createdAt)
          .execute()
        await insertSecret(trx, id, secret)
        const rows = await trx.selectFrom('client_secrets').select('id').where('client_id', '=', id).execute()
        if (rows.length > maxSecrets)
          throw new DomainError('conflict', `A client has at most ${maxSecrets} secrets: delete one that is not used`)
        record({ type: 'client.secret_added', caller, subject: { client: id, secret: secret.id } })
        return true
      }),

    async deleteSecret(caller, { id, secretId }) {
      const { numDeletedRows } = await db
        .deleteFrom('client_secrets')
        .where('client_id', '=', id)
        .where('id', '=', secretId)
        .executeTakeFirstOrThrow()
      if (numDeletedRows === 0n) return false
      recordCommitted({ type: 'client.secret_deleted', caller, subject: { client: id, secret: secretId } })
      return true
    },

    async recordSecretUse(secretId, now) {
      await db.updateTable('client_secrets').set({ last_used_at: now }).where('id', '=', secretId).execute()
    },

    async useAssertion(id, jti, expiresAt) {
      const client = db
        .selectFrom('clients')
        .where('clients.id', '=', id)
        .select(({ ref, val }) => [
          ref('clients.id').as('client_id'),
          val(jti).as('jti_hash'),
          val(expiresAt).as('expires_at')
        ])
        .$if(needsRowLocks(db), (query) => query.forKeyShare())
      const { numInsertedOrUpdatedRows } = await db
        .insertInto('client_assertions')
        .columns(['client_id', 'jti_hash', 'expires_at'])
        .expression(client)
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirstOrThrow()
      return numInsertedOrUpdatedRows === 1n
    }
  }
}
