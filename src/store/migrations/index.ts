import type { Kysely } from 'kysely'
import * as initial from './0001-initial.ts'
import * as clientRoles from './0002-client-roles.ts'
import * as boundedRevocations from './0003-bounded-revocations.ts'
import * as hashSample from './0004-hash-sample.ts'
import * as usernameForms from './0005-username-forms.ts'
import * as resourceIdentifiers from './0006-resource-identifiers.ts'
import * as sharedEmails from './0007-shared-emails.ts'
import * as signIn from './0008-sign-in.ts'
import * as keyChains from './0009-key-chains.ts'
import * as providers from './0010-providers.ts'

export interface SchemaMigration {
  /** The number of the migration: its position in the list, from 1. */
  version: number
  /** The oldest program version (the number of its last migration) that may run on a database after this migration. */
  compatibleFrom: number
  up(db: Kysely<unknown>): Promise<void>
}

/** Every migration, in the order in which they run. Released migrations never change. */
export const MIGRATIONS: SchemaMigration[] = [
  initial,
  clientRoles,
  boundedRevocations,
  hashSample,
  usernameForms,
  resourceIdentifiers,
  sharedEmails,
  signIn,
  keyChains,
  providers
]
