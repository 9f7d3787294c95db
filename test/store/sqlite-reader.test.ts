import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { runInRequest } from '../../src/deadline.ts'
import { Connection } from '../../src/store/sqlite-connection.ts'
import { SqliteReader } from '../../src/store/sqlite-reader.ts'
import type { Row } from '../../src/store/statements.ts'
import { requestTime } from '../request-time.ts'
import { createDirectory } from './open.ts'

const ROUNDS = 1000
const READ = { sql: 'select n from counter where n >= ?', toResult: (rows: Row[]) => rows }

/** Returns a reader of a counter that is 0, the statements that it has run, those that shall fail, and a connection that writes. */
function openReader(t: Test) {
  const file = join(createDirectory(t), 'test.db')
  const other = new DatabaseSync(file)
  other.exec('pragma journal_mode = wal; create table counter (n integer); insert into counter values (0)')
  const connection = new Connection(file, true)
  const statements: string[] = []
  const failing = new Map<string, Error>()
  for (const method of ['run', 'query'] as const) {
    const original = connection[method].bind(connection)
    Object.assign(connection, {
      [method](sql: string, parameters: unknown[]) {
        statements.push(sql)
        const failure = failing.get(sql)
        if (failure !== undefined) throw failure
        return original(sql, parameters)
      }
    })
  }
  const reader = new SqliteReader(connection)
  t.teardown(() => {
    reader.close()
    other.close()
  })
  return { file, other, statements, failing, reader, read: (least = 0) => reader.read(READ, [least]) }
}

t.test('rows are given again while nothing is committed, for the same query with the same values', async (t) => {
  const { statements, read } = openReader(t)
  const reads = () => statements.splice(0).filter((sql) => sql === READ.sql).length
  t.strictSame(await Promise.all([read(), read()]), [[{ n: 0 }], [{ n: 0 }]])
  t.strictSame(await read(), [{ n: 0 }])
  t.equal(reads(), 1)
  t.strictSame(await read(1), [])
  t.equal(reads(), 1)
})

t.test('the oldest results are forgotten when results and values have many characters', async (t) => {
  const { statements, reader } = openReader(t)
  const query = { sql: 'select printf(?, n) as text from counter', toResult: (rows: Row[]) => rows }
  const ask = async (format: string) => {
    await reader.read(query, [format])
    return statements.splice(0).filter((sql) => sql === query.sql).length
  }
  const [longRow, longValue] = ['%01000000d', `${Buffer.alloc(900_000, 'n')}`]
  for (const format of ['%d', longRow]) t.equal(await ask(format), 1)
  for (const format of ['%d', longRow]) t.equal(await ask(format), 0)
  // With its row twice 900,000 characters.
  t.equal(await ask(longValue), 1)
  t.equal(await ask(longValue), 0)
  for (const format of ['%d', longRow]) t.equal(await ask(format), 1)
})

t.test('at most 1,000 results are remembered', async (t) => {
  const { statements, read } = openReader(t)
  for (let least = 0; least <= 1000; least++) await read(least)
  const reads = () => statements.splice(0).filter((sql) => sql === READ.sql).length
  t.equal(reads(), 1001)
  await read(1)
  t.equal(reads(), 0)
  await read(0)
  t.equal(reads(), 1)
})

t.test('after each commit of another process the new row is read, 1,000 of 1,000 times', async (t) => {
  const { file, read } = openReader(t)
  const writer = fork(join(import.meta.dirname, 'commits.ts'), [file])
  t.teardown(() => writer.kill('SIGKILL'))
  const stale: unknown[] = []
  for (let round = 1; round <= ROUNDS; round++) {
    await Promise.all([read(), read()])
    writer.send('add')
    const [{ n }] = (await once(writer, 'message')) as [{ n: number }]
    for (const [row] of await Promise.all([read(), read()])) if (row?.n !== n) stale.push({ round, n, row })
  }
  t.strictSame(stale, [])
  t.strictSame(await read(), [{ n: ROUNDS }])
})

t.test('what another connection has not committed is not read, and neither is what it rolls back', async (t) => {
  const { other, read } = openReader(t)
  other.exec('begin immediate; update counter set n = 1')
  t.strictSame(await read(), [{ n: 0 }])
  other.exec('rollback')
  t.strictSame(await read(), [{ n: 0 }])
  other.exec('begin immediate; update counter set n = 2')
  await read()
  other.exec('commit')
  t.strictSame(await read(), [{ n: 2 }])
})

for (const statement of ['begin', 'pragma data_version'])
  t.test(`when "${statement}" fails, queries are run and their rows are not given again`, async (t) => {
    const { other, failing, read } = openReader(t)
    await read()
    failing.set(statement, new Error('planted'))
    for (const n of [1, 2]) {
      other.exec(`update counter set n = ${n}`)
      t.strictSame(await read(), [{ n }])
    }
    failing.clear()
    other.exec('update counter set n = 3')
    t.strictSame(await read(), [{ n: 3 }])
  })

t.test('while the database is locked, a read waits until the deadline of its own request', async (t) => {
  const { failing, read } = openReader(t)
  failing.set(READ.sql, Object.assign(new Error('database is locked'), { errcode: 5 }))
  const over = runInRequest(requestTime(0).time, () => read())
  const other = read()
  await t.rejects(over, { message: 'database is locked' })
  failing.clear()
  t.match(await other, [{ n: 0 }])
})

t.test('a transaction that could not be ended is ended before the next reads', async (t) => {
  const { other, failing, read } = openReader(t)
  for (const statement of ['commit', 'rollback']) failing.set(statement, new Error('planted'))
  t.strictSame(await read(), [{ n: 0 }])
  failing.clear()
  for (const n of [1, 2]) {
    other.exec(`update counter set n = ${n}`)
    t.strictSame(await read(), [{ n }])
  }
})

t.test('after a change of the schema the values have the names of the current columns', async (t) => {
  const { other, reader } = openReader(t)
  const query = { sql: 'select * from counter', toResult: (rows: Row[]) => rows }
  const readAll = () => reader.read(query, [])
  t.strictSame(await readAll(), [{ n: 0 }])
  other.exec('alter table counter add column m integer default 7; alter table counter drop column n')
  t.strictSame(await readAll(), [{ m: 7 }])
})
