import { type Kysely, type Selectable, sql } from 'kysely'
import type { Client, Millis } from '../domain/model.ts'
import type { ClientSecret, Store } from '../domain/ports.ts'
import { assertMayGrant } from './admins.ts'
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
  grantTypes: words(row.grant_types),
  scopes: words(row.scopes),
  defaultScopes: words(row.default_scopes),
  sessionIdleTtl: row.session_idle_ttl,
  sessionAbsoluteTtl: row.session_absolute_ttl,
  disabledAt: row.disabled_at
})

/** In the caller's transaction. */
export async function insertClient(db: Kysely<Tables>, client: Client, now: Millis): Promise<void> {
  await db
    .insertInto('clients')
    .values({
      id: client.id,
      name: client.name,
      kind: client.kind,
      grant_types: client.grantTypes.join(' '),
      session_idle_ttl: client.sessionIdleTtl,
      session_absolute_ttl: client.sessionAbsoluteTtl,
      disabled_at: client.disabledAt,
      created_at: now,
      updated_at: now
    })
    .execute()
  for (const scope of client.scopes) {
    const is_default = client.defaultScopes.includes(scope) ? 1 : 0
    await db.insertInto('client_scopes').values({ client_id: client.id, scope, is_default }).execute()
  }
}

/** @param locksRows whether a statement must say that it locks the rows it rests on */
export function clients(db: Kysely<Tables>, locksRows: boolean): Store['clients'] {
  const select = db
    .selectFrom('clients')
    .selectAll()
    .select([scopesOf('all').as('scopes'), scopesOf('default').as('default_scopes')])

  return {
    async get(id) {
      const row = await select.where('id', '=', id).executeTakeFirst()
      return row === undefined ? null : toClient(row)
    },

    async list({ after, limit }) {
      const rows = await select
        .$if(after !== null, (query) => query.where('id', '>', after))
        .orderBy('id')
        .limit(limit)
        .execute()
      return rows.map(toClient)
    },

    create: (client, secret, now) =>
      db.transaction().execute(async (trx) => {
        await assertMayGrant(trx, null, 'scopes', client.scopes)
        await insertClient(trx, client, now)
        if (secret !== null) await insertSecret(trx, client.id, secret, now)
      }),

    async secretHashes(id) {
      const rows = await db.selectFrom('client_secrets').select('secret_hash').where('client_id', '=', id).execute()
      return rows.map((row) => row.secret_hash)
    },

    setDisabled: (id, disabled, now) =>
      db.transaction().execute(async (trx) => {
        const { numUpdatedRows } = await trx
          .updateTable('clients')
          .set({ disabled_at: disabled ? now : null, updated_at: now })
          .where('id', '=', id)
          .where('disabled_at', disabled ? 'is' : 'is not', null)
          .executeTakeFirstOrThrow()
        if (numUpdatedRows === 0n) {
          const there = await trx.selectFrom('clients').select('id').where('id', '=', id).executeTakeFirst()
          return there !== undefined
        }
        if (disabled) {
          await endSessions(trx, { clientId: id }, now, locksRows)
          await log(trx, [{ kind: 'client', id }], now)
        }
        return true
      })
  }
}

async function insertSecret(trx: Kysely<Tables>, clientId: string, { id, hash }: ClientSecret, now: Millis) {
  await trx
    .insertInto('client_secrets')
    .values({ id, client_id: clientId, secret_hash: hash, created_at: now })
    .execute()
}
