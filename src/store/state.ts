import { sql } from 'kysely'
import type { KeyState } from '../domain/model.ts'
import type { Store } from '../domain/ports/store.ts'
import { words } from './columns.ts'
import type { Database } from './transaction.ts'

interface StateRow {
  key_state: KeyState | null
  session_user: string | null
  session_client: string
  idle_expires_at: number
  expires_at: number
  ended_at: number | null
  session_revoked_seq: number
  revoked: number | null
  user_id: string | null
  user_disabled_at: number | null
  roles: string | null
  role_scopes: string | null
  client_id: string | null
  client_disabled_at: number | null
  client_scopes: string | null
  client_roles: string | null
  first_party: number
  revoked_seq: number
}

/** Reads everything that a token depends on in one statement. Uses primary keys only. */
export function state({ db }: Database): Store['state'] {
  return async ({ kid, jti, sid, sub, clientId }) => {
    const { rows } = await sql<StateRow>`select k.state as key_state,
        s.user_id as session_user, s.client_id as session_client, s.idle_expires_at, s.expires_at, s.ended_at,
        s.revoked_seq as session_revoked_seq,
        (select 1 from revocations where kind = 'token' and id = ${jti}) as revoked,
        u.id as user_id, u.disabled_at as user_disabled_at,
        (select string_agg(role, ' ' order by role) from user_roles where user_id = u.id) as roles,
        (select string_agg(scope, ' ') from user_roles r join role_scopes rs on rs.role = r.role where r.user_id = u.id) as role_scopes,
        c.id as client_id, c.disabled_at as client_disabled_at, c.revoked_seq, c.roles as client_roles, c.first_party,
        (select string_agg(scope, ' ') from client_scopes where client_id = c.id) as client_scopes
      from (select 1 as x) as one
      left join signing_keys k on k.kid = ${kid}
      left join sessions s on s.id = ${sid}
      left join users u on u.id = ${sub}
      left join clients c on c.id = ${clientId}`.execute(db)
    const row = rows[0] as StateRow
    return {
      keyState: row.key_state,
      session:
        row.session_user === null
          ? null
          : {
              userId: row.session_user,
              clientId: row.session_client,
              idleExpiresAt: row.idle_expires_at,
              expiresAt: row.expires_at,
              endedAt: row.ended_at,
              revokedSeq: row.session_revoked_seq
            },
      revoked: row.revoked !== null,
      user:
        row.user_id === null
          ? null
          : { disabledAt: row.user_disabled_at, roles: words(row.roles), scopes: words(row.role_scopes) },
      client:
        row.client_id === null
          ? null
          : {
              disabledAt: row.client_disabled_at,
              firstParty: row.first_party === 1,
              roles: row.client_roles === null ? null : words(row.client_roles),
              scopes: words(row.client_scopes),
              revokedSeq: row.revoked_seq
            }
    }
  }
}
