import { DatabaseSync } from 'node:sqlite'

/**
 * Adds users with one session each to the database of a running server, until there are `total`. Each id begins with a multiple of the
 * number of its user, modulo 2^32, so the ids spread over the indexes as random ids do.
 */
export function fill(file: string, { from, total }: { from: number; total: number }): void {
  if (total <= from) return
  const database = new DatabaseSync(file, { timeout: 10_000 })
  const now = Date.now()
  const id = "printf('%08x-0000-7000-8000-%012x', (i * 2654435761) % 4294967296, i)"
  const numbers = `with recursive numbers(i) as (select ${from} union all select i + 1 from numbers where i + 1 < ${total})`
  database.exec(`
    begin;
    insert into users (id, username, username_key, auth_version, created_at, updated_at, look_alike)
      ${numbers} select ${id}, 'user' || i, 'user' || i, 1, ${now}, ${now}, 'user' || i from numbers;
    insert into user_roles (user_id, role) ${numbers} select ${id}, 'user' from numbers;
    insert into credentials (user_id, password_hash) ${numbers} select ${id}, '$argon2id$v=19$m=19456,t=2,p=1$none' from numbers;
    insert into sessions (id, user_id, client_id, scopes, amr, auth_at, created_at, idle_expires_at, expires_at, counter, salt)
      ${numbers} select ${id}, ${id}, 'docs', 'profile', 'pwd', ${now}, ${now}, ${now + 86_400_000}, ${now + 864_000_000}, 0, 'AAAAAAAAAAAAAAAAAAAAAA' from numbers;
    commit`)
  database.exec('pragma wal_checkpoint(truncate)')
  database.close()
}
