import { createHash, randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { SYSTEM } from '../../src/domain/caller.ts'
import { type Auth, createAuth } from '../../src/domain/index.ts'
import type { ClientKey } from '../../src/domain/model.ts'
import type { Signer } from '../../src/domain/ports/signer.ts'
import { openStore } from '../../src/store/index.ts'

export const ISSUER = 'https://id.example.com'
/** 2026-11-22T09:00:00.000Z */
export const NOW = Date.UTC(2026, 10, 22, 9)

/** Signs nothing, and accepts every key of a client. */
const signer: Signer = {
  generate: async (alg) => ({ kid: randomBytes(32).toString('base64url'), alg, publicJwk: {}, privateKey: 'none' }),
  sign: () => 'none',
  hasValidSignature: () => false,
  verifyAssertion: async () => null,
  clientKey: (jwk) => jwk as ClientKey
}

/** Returns the domain after a first start, on a database in memory, with a clock that stands at `NOW`. */
export async function createDomain(t: Test): Promise<Auth> {
  const store = openStore('sqlite::memory:', { record() {} })
  t.teardown(() => store.close())
  await store.migrate()
  const auth = createAuth({
    store,
    signer,
    hasher: {
      hash: async (password) => createHash('sha256').update(password).digest('hex'),
      verify: async () => false,
      outdated: () => false
    },
    sealer: { seal: (text) => text, open: (sealed) => sealed, isCurrent: () => true },
    events: { record() {} },
    clock: { now: () => NOW, sleep: async () => {} },
    settings: loadConfig({ LATCHKEY_ISSUER: ISSUER, LATCHKEY_DATABASE_URL: 'sqlite::memory:' })
  })
  await auth.bootstrap(SYSTEM, () => null)
  return auth
}
