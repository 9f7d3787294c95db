import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { runInRequest } from '../../src/deadline.ts'
import { Connection } from '../../src/store/sqlite-connection.ts'
import { SqliteReader } from '../../src/store/sqlite-reader.ts'
import { SqliteWriter } from '../../src/store/sqlite-writer.ts'
import { requestTime } from '../request-time.ts'
import { createDirectory } from './open.ts'

/** Returns a writer of an empty table of names, the statements that it has run, and what another connection sees. */
function openWriter(t: Test) {
  const file = join(createDirectory(t), 'test.db')
  const connection = new Connection(file, false)
  connection.database.exec('pragma journal_mode = wal; create table names (name text primary key)')
  const other = new DatabaseSync(file)
  const statements: string[] = []
  const run = connection.run.bind(connection)
  const failures = new Map<string, Error>()
  Object.assign(connection, {
    run(sql: string, parameters?: unknown[]) {
      statements.push(sql)
      const failure = failures.get(sql)
      failures.delete(sql)
      if (failure !== undefined) throw failure
      return run(sql, parameters)
    }
  })
  const writer = new SqliteWriter(connection)
  t.teardown(async () => {
    await writer.close()
    other.close()
  })
  return {
    file,
    connection,
    writer,
    statements,
    /** Makes the next run of a statement fail. */
    fail: (sql: string, error: Error) => failures.set(sql, error),
    stored: () =>
      other
        .prepare('select name from names order by name')
        .all()
        .map(({ name }) => name),
    other
  }
}

const INSERT = 'insert into names values (?)'

/** Inserts names in one transaction. A name that is taken rolls the transaction back. */
async function insert(writer: SqliteWriter, ...names: string[]): Promise<void> {
  const part = await writer.begin()
  try {
    for (const name of names) {
      part.run(INSERT, [name])
      await null
    }
  } catch (error) {
    await part.end('rollback')
    throw error
  }
  await part.end('commit')
}

const statusOf = (results: PromiseSettledResult<unknown>[]) => results.map(({ status }) => status)

t.test('transactions of one turn are committed together, and each is seen when it resolves', async (t) => {
  const { writer, statements, stored } = openWriter(t)
  const seen: unknown[] = []
  const calls = ['a', 'b', 'c'].map((name) => insert(writer, name, `${name}2`).then(() => seen.push(stored().length)))
  await Promise.all([...calls, writer.write(INSERT, ['d']).then(() => seen.push(stored().length))])
  t.strictSame(seen, [7, 7, 7, 7], 'none is acknowledged before the commit')
  t.equal(statements.filter((sql) => sql === 'commit').length, 1)
  await insert(writer, 'e')
  t.strictSame(statements.slice(-3), ['begin immediate', INSERT, 'commit'], 'one alone needs no savepoint')
})

t.test(
  'a transaction that begins in the next turn joins the group, because its request has read meanwhile',
  async (t) => {
    const { writer, statements, stored } = openWriter(t)
    const first = writer.write(INSERT, ['a'])
    await setImmediate()
    await Promise.all([first, insert(writer, 'b')])
    t.strictSame(stored(), ['a', 'b'])
    t.equal(statements.filter((sql) => sql === 'commit').length, 1)
  }
)

t.test('a transaction that fails is rolled back alone, first, in the middle or last', async (t) => {
  const { writer, stored } = openWriter(t)
  await insert(writer, 'taken')
  for (const at of [0, 1, 2]) {
    const names = ['x', 'y', 'z'].map((name) => `${name}${at}`)
    const calls = names.map((name, index) => insert(writer, name, index === at ? 'taken' : `${name} too`))
    t.strictSame(
      statusOf(await Promise.allSettled(calls)),
      names.map((_, index) => (index === at ? 'rejected' : 'fulfilled'))
    )
    const kept = names.filter((_, index) => index !== at)
    t.strictSame(
      stored().filter((name) => String(name).includes(String(at))),
      kept.flatMap((name) => [name, `${name} too`])
    )
  }
})

t.test('a commit that fails rejects every transaction of its group and no other', async (t) => {
  const { writer, fail, stored } = openWriter(t)
  fail('commit', Object.assign(new Error('disk I/O error'), { errcode: 10 }))
  const calls = [insert(writer, 'a'), insert(writer, 'b'), writer.write(INSERT, ['c'])]
  for (const each of calls as Promise<unknown>[]) await t.rejects(each, { message: 'disk I/O error' })
  t.strictSame(stored(), [])
  await insert(writer, 'd')
  t.strictSame(stored(), ['d'])
})

for (const { statement, calls } of [
  { statement: 'rollback to part', calls: [['a'], ['half', 'taken'], ['c']] },
  { statement: 'release part', calls: [['a'], ['half'], ['c']] },
  { statement: 'rollback', calls: [['half', 'taken'], ['c']] }
])
  t.test(`when "${statement}" fails, nothing of the transaction is stored [F2]`, async (t) => {
    const { writer, fail, stored } = openWriter(t)
    await insert(writer, 'taken')
    fail(statement, Object.assign(new Error('disk I/O error'), { errcode: 10 }))
    const results = await Promise.allSettled(calls.map((names) => insert(writer, ...names)))
    t.match(results[calls.findIndex(([name]) => name === 'half')], { reason: { errcode: 10 } })
    const acknowledged = results.flatMap(({ status }, index) => (status === 'fulfilled' ? (calls[index] ?? []) : []))
    t.strictSame(stored(), [...acknowledged, 'taken'])
    await insert(writer, 'z')
    t.strictSame(stored(), [...acknowledged, 'taken', 'z'])
  })

t.test('a full disk in the middle of a group: what is stored is what was acknowledged', async (t) => {
  const { writer, connection, stored } = openWriter(t)
  await insert(writer, 'before')
  const { page_count: pages } = connection.database.prepare('pragma page_count').get() as { page_count: number }
  connection.database.exec(`pragma max_page_count = ${pages + 2}`)
  const long = (index: number) => `${index}-${Buffer.alloc(3000, 'n')}`
  const calls = Array.from({ length: 8 }, (_, index) => insert(writer, long(index)))
  const results = await Promise.allSettled(calls)
  const acknowledged = results.flatMap(({ status }, index) => (status === 'fulfilled' ? [long(index)] : []))
  t.strictSame(stored(), [...acknowledged, 'before'])
  t.ok(acknowledged.length < 8)
  t.match(results.at(-1), { reason: { errcode: 13 } })
  connection.database.exec('pragma max_page_count = 1000000')
  await insert(writer, 'after')
  t.ok(stored().includes('after'))
})

t.test('a transaction whose group was rolled back runs no further statement', async (t) => {
  const { writer, connection, fail, stored } = openWriter(t)
  const part = await writer.begin()
  part.run(INSERT, ['a'])
  connection.database.exec('rollback')
  fail(INSERT, Object.assign(new Error('database or disk is full'), { errcode: 13 }))
  t.throws(() => part.run(INSERT, ['b']), { message: 'database or disk is full' })
  t.throws(() => part.run(INSERT, ['c']), { message: 'the transaction was rolled back' })
  await t.rejects(part.end('commit'), { message: 'database or disk is full' })
  t.strictSame(stored(), [])
})

t.test('the lock is free whenever the event loop waits, also under load', async (t) => {
  const { writer, other } = openWriter(t)
  let isOver = false
  const load = Array.from({ length: 4 }, async (_, caller) => {
    for (let index = 0; !isOver; index++) await insert(writer, `${caller} ${index}`)
  })
  for (let round = 0; round < 20; round++) {
    await sleep(1)
    t.doesNotThrow(() => other.exec('begin immediate; rollback'))
  }
  isOver = true
  await Promise.all(load)
})

t.test('the deadline of a request ends its wait, and not the commit of its group', async (t) => {
  const { writer, other, stored } = openWriter(t)
  other.exec('begin immediate')
  const first = insert(writer, 'first')
  const { time } = requestTime(20)
  await t.rejects(
    runInRequest(time, () => insert(writer, 'late')),
    { name: 'RequestOver' }
  )
  other.exec('rollback')
  await first
  t.strictSame(stored(), ['first'])
})

t.test('queries of one turn see one state, and none fails because of another', async (t) => {
  const { file, writer } = openWriter(t)
  await insert(writer, 'a')
  const reader = new SqliteReader(new Connection(file, true))
  const read = (sql: string) => reader.read({ sql, toResult: (rows) => rows }, [])
  const count = () => read('select count(*) as n from names')
  const results = await Promise.allSettled([count(), read('select * from missing'), count()])
  t.strictSame(statusOf(results), ['fulfilled', 'rejected', 'fulfilled'])
  t.match(results[0], { value: [{ n: 1 }] })
  await insert(writer, 'b')
  t.match(await count(), [{ n: 2 }], 'the next turn sees the next commit')
  const pending = count()
  reader.close()
  await t.rejects(pending, { message: /finalized/ })
})
