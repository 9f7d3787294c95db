import { createHash } from 'node:crypto'
import t from 'tap'
import { holdsSecret, plant } from './secrets.ts'

const SECRET = 'planted "here" & só'

t.test('a planted secret is found in every form in which it could leak, and no other text is', async (t) => {
  plant(SECRET, 'short')
  const bytes = Buffer.from(SECRET)
  for (const text of [
    SECRET,
    `{"password":${JSON.stringify(SECRET)}}`,
    JSON.stringify({ body: bytes }),
    encodeURIComponent(SECRET),
    String(new URLSearchParams({ password: SECRET })),
    bytes.toString('base64'),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    createHash('sha256').update(SECRET).digest('hex'),
    createHash('sha256').update(SECRET).digest('base64url')
  ])
    t.ok(holdsSecret(`before ${text} after`), text)
  for (const text of ['', 'short', SECRET.slice(1), SECRET.toUpperCase()]) t.notOk(holdsSecret(text), text)
})
