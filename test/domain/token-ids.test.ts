import t from 'tap'
import { createTokenIds } from '../../src/domain/token-ids.ts'

t.test('token ids have 128 bits and never repeat', async (t) => {
  const newId = createTokenIds()
  const ids = Array.from({ length: 2000 }, newId)
  t.equal(new Set(ids).size, ids.length)
  t.strictSame(
    ids.filter((id) => !/^[\w-]{22}$/.test(id)),
    []
  )
})
