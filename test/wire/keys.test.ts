import t from 'tap'
import type { StoredKey } from '../../src/domain/model.ts'
import * as wire from '../../src/wire/keys.ts'
import { NOW } from '../domain/open.ts'
import { accepts } from './schema.ts'

const KEY: StoredKey = {
  kid: 'cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s',
  alg: 'ES256',
  publicJwk: { kty: 'EC' },
  state: 'verifying',
  sealedPrivateKey: 'sealed',
  createdAt: NOW,
  signsSinceAt: NOW + 1,
  verifiesUntilAt: NOW + 2,
  retiredAt: null
}
const WRITTEN = {
  kid: KEY.kid,
  alg: 'ES256',
  state: 'verifying',
  created_at: '2026-11-22T09:00:00.000Z',
  signs_since_at: '2026-11-22T09:00:00.001Z',
  verifies_until_at: '2026-11-22T09:00:00.002Z',
  retired_at: null
}

t.test('a key is written without its private part', async (t) => {
  t.strictSame(wire.toWire(KEY), WRITTEN)
  t.ok(accepts(wire.KeyView, WRITTEN))
  const retired = {
    ...WRITTEN,
    state: 'retired',
    signs_since_at: null,
    verifies_until_at: null,
    retired_at: WRITTEN.created_at
  }
  const stored = { ...KEY, state: 'retired' as const, signsSinceAt: null, verifiesUntilAt: null, retiredAt: NOW }
  t.strictSame(wire.toWire(stored), retired)
  t.ok(accepts(wire.KeyView, retired))
})

t.test('every state of a key is in the schema, and no other', async (t) => {
  for (const state of ['next', 'signing', 'verifying', 'retired'] as const)
    t.ok(accepts(wire.KeyView, wire.toWire({ ...KEY, state })), state)
  t.notOk(accepts(wire.KeyView, { ...WRITTEN, state: 'lost' }))
})

t.test('a retirement must say whether the key is compromised', async (t) => {
  t.strictSame(wire.retirementFromWire({ compromised: true }), { compromised: true })
  for (const body of [{}, { compromised: 'yes' }, { compromised: true, kid: 'x' }])
    t.notOk(accepts(wire.KeyRetirement, body), JSON.stringify(body))
})
