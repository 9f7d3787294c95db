import t from 'tap'
import * as limits from '../src/limits.ts'

t.test(
  'the limits of time fit together: each wait ends before the request, and the request before the connection [UA2 UA8]',
  async (t) => {
    const { REQUEST_MS, HASH_WAIT_MS, COUNT_WAIT_MS, SQLITE_WAIT_MS, POSTGRES_CONNECT_MS } = limits
    const { HASH_MS, POSTGRES_STATEMENT_MS, POSTGRES_RESPONSE_MS, CONNECTION_SILENT_MS, ARRIVAL_MS } = limits
    for (const wait of [HASH_WAIT_MS, COUNT_WAIT_MS, SQLITE_WAIT_MS, POSTGRES_CONNECT_MS, POSTGRES_RESPONSE_MS])
      t.ok(wait < REQUEST_MS, `${wait} < ${REQUEST_MS}`)
    t.ok(HASH_WAIT_MS <= REQUEST_MS / 2, 'a login that waited has time for its hash and for the database')
    t.ok(POSTGRES_STATEMENT_MS < POSTGRES_RESPONSE_MS, 'the server gives up first, and the connection stays usable')
    t.ok(POSTGRES_CONNECT_MS <= 1000, 'F14')
    t.ok(POSTGRES_RESPONSE_MS < 3000, 'F12')
    t.ok(REQUEST_MS + HASH_MS < CONNECTION_SILENT_MS, 'there is room for a hash, whose time does not count')
    t.ok(ARRIVAL_MS <= 10_000, 'HT7')
  }
)
