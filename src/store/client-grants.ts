import type { Caller } from '../domain/caller.ts'
import { DomainError } from '../domain/errors.ts'
import { CLIENT_ONLY_SCOPES, type Client } from '../domain/model.ts'
import { type Db, needsRowLocks } from './columns.ts'
import { assertMayGrantScopes } from './may-grant.ts'

/**
 * Throws unless the caller may give a client these scopes and resources. The resources cannot be deleted until the end
 * of the transaction.
 * @throws DomainError invalid when a scope or resource does not exist, forbidden
 */
export async function assertMayHave(
  trx: Db,
  caller: Caller,
  { scopes, resources }: Pick<Client, 'scopes' | 'resources'>
): Promise<void> {
  await assertMayGrantScopes(trx, caller, { scopes, clientOnly: CLIENT_ONLY_SCOPES })
  if (resources.length === 0) return
  const rows = await trx
    .selectFrom('resources')
    .select('id')
    .where('id', 'in', resources)
    .orderBy('id')
    .$if(needsRowLocks(trx), (query) => query.forKeyShare())
    .execute()
  const unknown = resources.find((id) => !rows.some((row) => row.id === id))
  if (unknown !== undefined) throw new DomainError('invalid', `There is no resource ${JSON.stringify(unknown)}`)
}
