import t from 'tap'
import type { Session } from '../../src/domain/model.ts'
import * as wire from '../../src/wire/sessions.ts'
import { NOW } from '../domain/open.ts'
import { accepts } from './schema.ts'

const SESSION: Session = {
  id: '0199d0a4-8f20-7c11-8a4e-1b6f0d2c9e55',
  userId: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10',
  clientId: 'docs',
  scopes: ['profile', 'users:read'],
  amr: ['pwd'],
  authAt: NOW,
  createdAt: NOW + 1,
  lastUsedAt: NOW + 2,
  idleExpiresAt: NOW + 3,
  expiresAt: NOW + 4,
  address: '192.0.2.7',
  userAgent: 'Mozilla/5.0',
  loginId: null,
  salt: 'a secret'
}
const WRITTEN = {
  id: SESSION.id,
  client_id: 'docs',
  scope: 'profile users:read',
  amr: ['pwd'],
  address: '192.0.2.7',
  user_agent: 'Mozilla/5.0',
  current: false,
  authenticated_at: '2026-11-22T09:00:00.000Z',
  created_at: '2026-11-22T09:00:00.001Z',
  last_used_at: '2026-11-22T09:00:00.002Z',
  expires_at: '2026-11-22T09:00:00.003Z'
}

t.test('a session is written without its salt, and expires when its idle time ends', async (t) => {
  t.strictSame(wire.toWire(SESSION, null), WRITTEN)
  t.ok(accepts(wire.SessionView, WRITTEN))
  t.strictSame(wire.toWire({ ...SESSION, address: null, userAgent: null }, null), {
    ...WRITTEN,
    address: null,
    user_agent: null
  })
})

t.test('the session of the request is the current one', async (t) => {
  t.equal(wire.toWire(SESSION, SESSION.id).current, true)
  t.equal(wire.toWire(SESSION, SESSION.userId).current, false)
})

t.test('the query names the current session or nothing', async (t) => {
  t.ok(accepts(wire.SessionsQuery, {}))
  t.ok(accepts(wire.SessionsQuery, { except: 'current' }))
  t.notOk(accepts(wire.SessionsQuery, { except: SESSION.id }))
  t.notOk(accepts(wire.SessionsQuery, { all: 'true' }))
})
