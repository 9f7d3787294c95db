import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import * as wire from '../../src/wire/client-secrets.ts'
import { NOW, openDomain } from '../domain/open.ts'
import { accepts, sameLimits } from './schema.ts'

const STORED = {
  id: '0199d0a4-9a31-7d02-b5c1-7e2f9b3a4c10',
  hash: 'the hash of the text',
  createdAt: NOW,
  expiresAt: NOW + 60_999,
  lastUsedAt: NOW
}
const WRITTEN = {
  id: STORED.id,
  created_at: '2026-11-22T09:00:00.000Z',
  client_secret_expires_at: NOW / 1000 + 60,
  last_used_at: '2026-11-22T09:00:00.000Z'
}

t.test('a secret is written without its text and without its hash', async (t) => {
  t.strictSame(wire.toWire(STORED), WRITTEN)
  t.ok(accepts(wire.ClientSecretView, WRITTEN))
  t.strictSame(wire.toWire({ ...STORED, expiresAt: null, lastUsedAt: null }), {
    ...WRITTEN,
    client_secret_expires_at: 0,
    last_used_at: null
  })
  t.strictSame(wire.newToWire({ secret: 'lks_x', stored: STORED }), { ...WRITTEN, client_secret: 'lks_x' })
})

t.test('a stored value is returned as it was sent', async (t) => {
  const { clients } = (await openDomain(t)).auth
  await clients.create(OPERATOR, { id: 'a', name: 'A' })
  const input = wire.inputFromWire({ expires_in: 60, others_expire_in: 30 })
  t.strictSame(input, { expiresIn: 60, othersExpireIn: 30 })
  const added = await clients.addSecret(OPERATOR, 'a', input)
  t.match(wire.newToWire(added), {
    client_secret: added.secret,
    client_secret_expires_at: NOW / 1000 + 60,
    last_used_at: null
  })
  t.strictSame(
    (await clients.secrets('a')).map((secret) => wire.toWire(secret).client_secret_expires_at),
    [NOW / 1000 + 30, NOW / 1000 + 60]
  )
  t.strictSame(wire.inputFromWire({}), { expiresIn: undefined, othersExpireIn: undefined })
})

t.test('schema and domain have the same limits for a secret', async (t) => {
  const { clients } = (await openDomain(t)).auth
  await clients.create(OPERATOR, { id: 'a', name: 'A' })
  await sameLimits(t, wire.SecretCreation, {
    limits: [
      { name: 'expires_in', max: { expires_in: 315_360_000 }, over: { expires_in: 315_360_001 } },
      { name: 'expires_in', max: { expires_in: 1 }, over: { expires_in: 0 } },
      { name: 'others_expire_in', max: { others_expire_in: 315_360_000 }, over: { others_expire_in: 315_360_001 } },
      { name: 'others_expire_in', max: { others_expire_in: 0 }, over: { others_expire_in: -1 } }
    ],
    send: (body) => clients.addSecret(OPERATOR, 'a', wire.inputFromWire(body))
  })
})
