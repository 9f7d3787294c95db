import { type Kysely, type Selectable, sql } from 'kysely'
import { DomainError } from '../domain/errors.ts'
import { type Actor, CLIENT_ONLY_SCOPES, type Client, type ClientSecret, type Millis } from '../domain/model.ts'
import type { ClientChanges, Store } from '../domain/ports.ts'
import { assertMayGrant, takeName } from './admins.ts'
import { log } from './revocations.ts'
import type { Tables } from './schema.ts'
import { endSessions } from './sessions.ts'
import { words } from './users.ts'

const scopesOf = (which: 'all' | 'default') => sql<
  string | null
>`(select string_agg(scope, ' ' order by scope) from client_scopes
    where client_id = clients.id and is_default >= ${which === 'default' ? 1 : 0})`

type Row = Selectable<Tables['clients']> & { scopes: string | null; default_scopes: string | null }

const toClient = (row: Row): Client => ({
  id: row.id,
  name: row.name,
  kind: row.kind,
  firstParty: row.first_party === 1,
  grantTypes: words(row.grant_types),
  scopes: words(row.scopes),
  defaultScopes: words(row.default_scopes),
  resources: words(row.resources),
  redirectUris: words(row.redirect_uris),
  jwks: row.jwks === null ? null : JSON.parse(row.jwks),
  accessTokenTtl: row.access_token_ttl,
  sessionIdleTtl: row.session_idle_ttl,
  sessionAbsoluteTtl: row.session_absolute_ttl,
  disabledAt: row.disabled_at,
  createdAt: row.created_at,
  updatedAt: row.updated_at
})

const toSecret = (row: Selectable<Tables['client_secrets']>): ClientSecret => ({
  id: row.id,
  hash: row.secret_hash,
  createdAt: row.created_at,
  expiresAt: row.expires_at,
  lastUsedAt: row.last_used_at
})

/** What of a client is given, but for its scopes, as columns. */
const columns = (client: ClientChanges) => ({
  ...(client.name === undefined ? {} : { name: client.name }),
  ...(client.firstParty === undefined ? {} : { first_party: client.firstParty ? 1 : 0 }),
  ...(client.grantTypes === undefined ? {} : { grant_types: client.grantTypes.join(' ') }),
  ...(client.resources === undefined ? {} : { resources: client.resources.join(' ') }),
  ...(client.redirectUris === undefined ? {} : { redirect_uris: client.redirectUris.join(' ') }),
  ...(client.jwks === undefined ? {} : { jwks: client.jwks && JSON.stringify(client.jwks) }),
  ...(client.accessTokenTtl === undefined ? {} : { access_token_ttl: client.accessTokenTtl }),
  ...(client.sessionIdleTtl === undefined ? {} : { session_idle_ttl: client.sessionIdleTtl }),
  ...(client.sessionAbsoluteTtl === undefined ? {} : { session_absolute_ttl: client.sessionAbsoluteTtl })
})

async function setScopes(trx: Kysely<Tables>, clientId: string, scopes: string[], defaults: string[]): Promise<void> {
  await trx.deleteFrom('client_scopes').where('client_id', '=', clientId).execute()
  for (const scope of scopes)
    await trx
      .insertInto('client_scopes')
      .values({ client_id: clientId, scope, is_default: defaults.includes(scope) ? 1 : 0 })
      .execute()
}

/** In the caller's transaction. */
export async function insertClient(trx: Kysely<Tables>, client: Client): Promise<void> {
  const { id, kind, disabledAt, createdAt, updatedAt, ...rest } = client
  await trx
    .insertInto('clients')
    .values({
      ...(columns(rest) as Required<ReturnType<typeof columns>>),
      id,
      kind,
      disabled_at: disabledAt,
      created_at: createdAt,
      updated_at: updatedAt,
      revoked_seq: 0
    })
    .execute()
  await setScopes(trx, id, client.scopes, client.defaultScopes)
}

/** In the caller's transaction, until whose end the resources stay. @throws DomainError invalid, forbidden */
async function assertMayHave(
  trx: Kysely<Tables>,
  { scopes, resources }: Pick<Client, 'scopes' | 'resources'>,
  actor: Actor,
  locksRows: boolean
): Promise<void> {
  await assertMayGrant(trx, null, 'scopes', scopes)
  const ofUsers = scopes.filter((scope) => !CLIENT_ONLY_SCOPES.includes(scope))
  await assertMayGrant(trx, actor, 'scopes', ofUsers)
  if (resources.length === 0) return
  const found = await trx
    .selectFrom('resources')
    .select('id')
    .where('id', 'in', resources)
    .orderBy('id')
    .$if(locksRows, (query) => query.forKeyShare())
    .execute()
  const unknown = resources.find((id) => !found.some((row) => row.id === id))
  if (unknown !== undefined) throw new DomainError('invalid', `There is no resource ${JSON.stringify(unknown)}`)
}

async function insertSecret(
  trx: Kysely<Tables>,
  clientId: string,
  { id, hash, createdAt, expiresAt }: ClientSecret
): Promise<void> {
  await trx
    .insertInto('client_secrets')
    .values({ id, client_id: clientId, secret_hash: hash, created_at: createdAt, expires_at: expiresAt })
    .execute()
}

/** Whether something is allowed no more. */
const isLess = (before: string[], after: string[]): boolean => before.some((each) => !after.includes(each))

/** @param locksRows whether a statement must say that it locks the rows it rests on */
export function clients(db: Kysely<Tables>, locksRows: boolean): Store['clients'] {
  const selectFrom = (trx: Kysely<Tables>) =>
    trx
      .selectFrom('clients')
      .selectAll('clients')
      .select([scopesOf('all').as('scopes'), scopesOf('default').as('default_scopes')])

  async function get(trx: Kysely<Tables>, id: string): Promise<Client | null> {
    const row = await selectFrom(trx).where('clients.id', '=', id).executeTakeFirst()
    return row === undefined ? null : toClient(row)
  }

  /** The first statement of whatever changes a client, so that changes happen one after the other. False when there is none. */
  async function lock(trx: Kysely<Tables>, id: string, now: Millis): Promise<boolean> {
    const { numUpdatedRows } = await trx
      .updateTable('clients')
      .set({ updated_at: now })
      .where('id', '=', id)
      .executeTakeFirstOrThrow()
    return numUpdatedRows === 1n
  }

  return {
    get: (id) => get(db, id),

    async list({ after, limit }) {
      const rows = await selectFrom(db)
        .$if(after !== null, (query) => query.where('clients.id', '>', after))
        .orderBy('clients.id')
        .limit(limit)
        .execute()
      return rows.map(toClient)
    },

    async credentials(ids, now) {
      const rows = await selectFrom(db)
        .leftJoin('client_secrets as s', (join) =>
          join
            .onRef('s.client_id', '=', 'clients.id')
            .on((eb) => eb.or([eb('s.expires_at', 'is', null), eb('s.expires_at', '>', now)]))
        )
        .select([
          's.id as secret_id',
          's.secret_hash',
          's.created_at as secret_created_at',
          's.expires_at as secret_expires_at',
          's.last_used_at'
        ])
        .select(sql<number>`(select seq from counters where name = 'revocations')`.as('rev'))
        .where('clients.id', 'in', ids)
        .execute()
      return ids.flatMap((id) => {
        const own = rows.filter((row) => row.id === id)
        const [first] = own
        if (first === undefined) return []
        const secrets = own.flatMap(({ secret_id, secret_hash, secret_created_at, secret_expires_at, last_used_at }) =>
          secret_id === null
            ? []
            : [
                toSecret({
                  id: secret_id,
                  client_id: id,
                  secret_hash: secret_hash as string,
                  created_at: secret_created_at as number,
                  expires_at: secret_expires_at,
                  last_used_at
                })
              ]
        )
        return [{ client: toClient(first), secrets, rev: first.rev }]
      })
    },

    create: (client, secret, actor) =>
      db.transaction().execute(async (trx) => {
        await takeName(trx, { clientId: client.id })
        await assertMayHave(trx, client, actor, locksRows)
        await insertClient(trx, client)
        // The tokens of one that had this id before stay dead; a statement of its own sees the deletion that it waited for.
        await trx
          .updateTable('clients')
          .set({ revoked_seq: trx.selectFrom('counters').select('seq').where('name', '=', 'revocations') })
          .where('id', '=', client.id)
          .execute()
        if (secret !== null) await insertSecret(trx, client.id, secret)
      }),

    change: (id, { disabled, ...changes }, actor, now) =>
      db.transaction().execute(async (trx) => {
        if (!(await lock(trx, id, now))) return null
        const before = (await get(trx, id)) as Client
        const after = { ...before, ...changes }
        // Where the default was all, it stays so.
        const all = before.defaultScopes.length === before.scopes.length
        const defaults = changes.defaultScopes ?? (all ? after.scopes : before.defaultScopes)
        if (Object.keys(changes).length > 0 || disabled === false) await assertMayHave(trx, after, actor, locksRows)
        await trx
          .updateTable('clients')
          .set({ ...columns(changes), updated_at: now })
          .where('id', '=', id)
          .execute()
        if (changes.scopes !== undefined || changes.defaultScopes !== undefined)
          await setScopes(trx, id, after.scopes, defaults)
        if (disabled === false)
          await trx.updateTable('clients').set({ disabled_at: null }).where('id', '=', id).execute()

        const disables = disabled === true && before.disabledAt === null
        if (disables) await trx.updateTable('clients').set({ disabled_at: now }).where('id', '=', id).execute()
        const endsSessions =
          disables || isLess(before.grantTypes, after.grantTypes) || (before.firstParty && !after.firstParty)
        if (endsSessions) await endSessions(trx, { clientId: id }, now, locksRows)
        const fewerResources =
          after.resources.length > 0 && (before.resources.length === 0 || isLess(before.resources, after.resources))
        if (endsSessions || fewerResources || isLess(before.scopes, after.scopes))
          await log(trx, [{ kind: 'client', id }], now)
        return get(trx, id)
      }),

    delete: (id, now) =>
      db.transaction().execute(async (trx) => {
        if (!(await lock(trx, id, now))) return false
        // In the order in which everyone ends them.
        await endSessions(trx, { clientId: id }, now, locksRows)
        await trx.deleteFrom('clients').where('id', '=', id).execute()
        await log(trx, [{ kind: 'client', id }], now)
        return true
      }),

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

    addSecret: (id, secret, { othersEndAt, most }, actor) =>
      db.transaction().execute(async (trx) => {
        if (!(await lock(trx, id, secret.createdAt))) return false
        await assertMayHave(trx, (await get(trx, id)) as Client, actor, locksRows)
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
        if (rows.length > most)
          throw new DomainError('conflict', `A client has at most ${most} secrets: delete one that is not used`)
        return true
      }),

    async deleteSecret(id, secretId) {
      const { numDeletedRows } = await db
        .deleteFrom('client_secrets')
        .where('client_id', '=', id)
        .where('id', '=', secretId)
        .executeTakeFirstOrThrow()
      return numDeletedRows === 1n
    },

    async secretUsed(secretId, now) {
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
        .$if(locksRows, (query) => query.forKeyShare())
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
