import { type Kysely, sql } from 'kysely'
import { SetupError } from '../../domain/errors.ts'
import { asLatin } from '../../look-alikes.ts'
import { caseFold } from '../../text.ts'

export const version = 5
// An older program would not find the users whose username keys changed, and would store username keys of the previous form.
export const compatibleFrom = 5

const PAGE = 1000

interface Row {
  id: string
  username: string
  username_key: string
}

/** Adds the form by which names that look alike are found. Folds the case of the username keys completely: "ß" and "ss" are equal. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('users')
    .addColumn('look_alike', 'text', (c) => c.notNull().defaultTo(''))
    .execute()
  await db.schema.createIndex('users_by_look_alike').on('users').column('look_alike').execute()
  let after = ''
  for (;;) {
    const { rows } =
      await sql<Row>`select id, username, username_key from users where id > ${after} order by id limit ${PAGE}`.execute(
        db
      )
    for (const { id, username, username_key } of rows) {
      const key = caseFold(username)
      if (key !== username_key) {
        const taken = await sql<Row>`select username from users where username_key = ${key} and id <> ${id}`.execute(db)
        if (taken.rows[0] !== undefined)
          throw new SetupError(
            `the usernames ${JSON.stringify(username)} and ${JSON.stringify(taken.rows[0].username)} are the same name in this version: rename one of them with the previous version`
          )
      }
      await sql`update users set username_key = ${key}, look_alike = ${caseFold(asLatin(username))} where id = ${id}`.execute(
        db
      )
    }
    if (rows.length < PAGE) return
    after = (rows.at(-1) as Row).id
  }
}
