import { sql } from 'kysely'
import type { KeyState } from '../domain/model.ts'
import type { LiveState, TokenReference } from '../domain/ports/revocations.ts'
import type { Store } from '../domain/ports/store.ts'
import { words } from './columns.ts'
import { preparedRead, type SlotOf } from './statements.ts'
import type { Database } from './transaction.ts'
import { toUser, type UserRow } from './user-rows.ts'

type UserColumns = Omit<UserRow, 'id' | 'disabled_at'>

interface StateRow extends UserColumns {
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
  role_scopes: string | null
  client_id: string | null
  client_disabled_at: number | null
  client_scopes: string | null
  client_roles: string | null
  first_party: number
  revoked_seq: number
  may_introspect: number | null
}

function toState(row: StateRow): LiveState {
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
        : {
            ...toUser({ ...row, id: row.user_id, disabled_at: row.user_disabled_at }),
            scopes: words(row.role_scopes)
          },
    client:
      row.client_id === null
        ? null
        : {
            disabledAt: row.client_disabled_at,
            firstParty: row.first_party === 1,
            roles: row.client_roles === null ? null : words(row.client_roles),
            scopes: words(row.client_scopes),
            revokedSeq: row.revoked_seq
          },
    mayIntrospect: row.may_introspect !== null
  }
}

/** Reads everything that a token depends on in one statement. Finds every row by a primary key or another index. */
export const state = ({ db, statements }: Database): Store['state'] =>
  preparedRead(
    statements,
    (slot: SlotOf<TokenReference>) => ({
      compile: () =>
        sql<StateRow>`select k.state as key_state,
        s.user_id as session_user, s.client_id as session_client, s.idle_expires_at, s.expires_at, s.ended_at,
        s.revoked_seq as session_revoked_seq,
        (select 1 from revocations where kind = 'token' and id = ${slot('jti')}) as revoked,
        u.id as user_id, u.disabled_at as user_disabled_at, u.username, u.email, u.full_name, u.created_at, u.updated_at,
        (select string_agg(role, ' ' order by role) from user_roles where user_id = u.id) as roles,
        (select string_agg(scope, ' ') from user_roles r join role_scopes rs on rs.role = r.role where r.user_id = u.id) as role_scopes,
        c.id as client_id, c.disabled_at as client_disabled_at, c.revoked_seq, c.roles as client_roles, c.first_party,
        (select string_agg(scope, ' ') from client_scopes where client_id = c.id) as client_scopes,
        (select 1 from introspection_clients i join resources r on r.id = i.resource_id
          where i.client_id = ${slot('introspector')} and coalesce(r.identifier, '') = ${slot('identifier')}) as may_introspect
      from (select 1 as x) as one
      left join signing_keys k on k.kid = ${slot('kid')}
      left join sessions s on s.id = ${slot('sid')}
      left join users u on u.id = ${slot('sub')}
      left join clients c on c.id = ${slot('clientId')}`.compile(db)
    }),
    (rows) => toState(rows[0] as StateRow)
  )
