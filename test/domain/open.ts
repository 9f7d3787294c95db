import { createHash, randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { type Caller, OPERATOR, SYSTEM } from '../../src/domain/caller.ts'
import type { Event } from '../../src/domain/events.ts'
import { type Auth, createAuth } from '../../src/domain/index.ts'
import type { ClientKey } from '../../src/domain/model.ts'
import type { Hasher } from '../../src/domain/ports/hasher.ts'
import type { Signer } from '../../src/domain/ports/signer.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import { openStore } from '../../src/store/index.ts'
import { TestClock } from '../clock.ts'
import { decode, encode, type Members } from '../jws.ts'

export const ISSUER = 'https://id.example.com'
/** 2026-11-22T09:00:00.000Z */
export const NOW = Date.UTC(2026, 10, 22, 9)
export const PASSWORD = 'correct horse battery staple'

const signature = (input: string, kid: string): string =>
  createHash('sha512').update(`${input} ${kid}`).digest('base64url')

/** Returns a token of the fake signer with other claims and a valid signature. Undefined removes a claim. */
export function signedAgain(token: string, claims: Members): string {
  const [header = '', payload = ''] = token.split('.')
  const input = `${header}.${encode({ ...decode(payload), ...claims })}`
  return `${input}.${signature(input, decode(header).kid as string)}`
}

/** Signs with a hash instead of a key, and accepts every key of a client. */
const fakeSigner: Signer = {
  generate: async (alg) => ({ kid: randomBytes(32).toString('base64url'), alg, publicJwk: {}, privateKey: 'none' }),
  sign(claims, { kid, alg }, typ) {
    const input = `${encode({ alg, typ, kid })}.${encode({ ...claims })}`
    return `${input}.${signature(input, kid)}`
  },
  hasValidSignature(token, { kid }) {
    const end = token.lastIndexOf('.')
    return token.slice(end + 1) === signature(token.slice(0, end), kid)
  },
  verifyAssertion: async () => null,
  clientKey: (jwk) => jwk as ClientKey
}

export interface Domain {
  auth: Auth
  store: Store
  hasher: Hasher
  clock: TestClock
  events: Event[]
  /** Adds a user with `PASSWORD`, and returns the id. */
  createUser: (username: string, roles?: string[]) => Promise<string>
  /** Logs a user in at the client of /docs. */
  login: (
    username: string,
    login?: { password?: string; scope?: string; caller?: Caller }
  ) => ReturnType<Auth['exchange']>
}

/**
 * Opens the domain after a first start, on a database in memory, with fake hashes and a clock at `NOW`.
 * @param options `signer` is a fake one by default; `beside` is another instance, on whose database and clock this one runs
 */
export async function openDomain(
  t: Test,
  {
    signer = fakeSigner,
    settings = {},
    beside
  }: { signer?: Signer; settings?: Record<string, string>; beside?: Domain } = {}
): Promise<Domain> {
  const events: Event[] = beside?.events ?? []
  const record = (event: Event) => void events.push(event)
  const store = beside?.store ?? (await openStore('sqlite::memory:', { record }))
  if (beside === undefined) t.teardown(() => store.close())
  await store.migrate()
  const clock = beside?.clock ?? new TestClock(NOW)
  const hasher: Hasher = {
    hash: async (password) => `hash of ${password}`,
    verify: async (hash, password, visit) => {
      await visit?.onEntered()
      return hash === `hash of ${password}`
    },
    outdated: () => false
  }
  const auth = createAuth({
    store,
    signer,
    hasher,
    sealer: { seal: (text) => text, open: (sealed) => sealed, isCurrent: () => true },
    events: { record },
    clock,
    settings: loadConfig({ LATCHKEY_ISSUER: ISSUER, LATCHKEY_DATABASE_URL: 'sqlite::memory:', ...settings })
  })
  await auth.setUp(SYSTEM, () => null)
  return {
    auth,
    store,
    hasher,
    clock,
    events,
    createUser: async (username, roles = ['user']) =>
      (await auth.users.create(OPERATOR, { username, password: PASSWORD, roles })).id,
    login: (username, { password = PASSWORD, scope = 'profile', caller = OPERATOR } = {}) =>
      auth.exchange(caller, { clientAuth: null, params: { grant_type: 'password', username, password, scope } })
  }
}
