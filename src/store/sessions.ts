import type { Kysely } from 'kysely'
import type { Store } from '../domain/ports.ts'
import type { Tables } from './schema.ts'

/** @param locksRows whether a statement must say that it locks the rows it rests on */
export function sessions(db: Kysely<Tables>, locksRows: boolean): Store['sessions'] {
  return {
    async open(session, authVersion) {
      const allowed = db
        .selectFrom(['users', 'clients'])
        .where('users.id', '=', session.userId)
        .where('users.auth_version', '=', authVersion)
        .where('users.disabled_at', 'is', null)
        .where('clients.id', '=', session.clientId)
        .where('clients.disabled_at', 'is', null)
        .select(({ val, ref }) => [
          val(session.id).as('id'),
          ref('users.id').as('user_id'),
          ref('clients.id').as('client_id'),
          val(session.scopes.join(' ')).as('scopes'),
          val(session.amr.join(' ')).as('amr'),
          val(session.authAt).as('auth_at'),
          val(session.createdAt).as('created_at'),
          val(session.idleExpiresAt).as('idle_expires_at'),
          val(session.expiresAt).as('expires_at'),
          val(session.address).as('address'),
          val(session.userAgent).as('user_agent')
        ])
        .$if(locksRows, (query) => query.forShare())
      const { numInsertedOrUpdatedRows } = await db
        .insertInto('sessions')
        .columns([
          'id',
          'user_id',
          'client_id',
          'scopes',
          'amr',
          'auth_at',
          'created_at',
          'idle_expires_at',
          'expires_at',
          'address',
          'user_agent'
        ])
        .expression(allowed)
        .executeTakeFirstOrThrow()
      return numInsertedOrUpdatedRows === 1n
    }
  }
}
