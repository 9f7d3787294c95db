import t from 'tap'
import { type Caller, OPERATOR } from '../../src/domain/caller.ts'
import { type ClientCredentials, createClientAuthentication, sha256 } from '../../src/domain/client-authentication.ts'
import type { Event } from '../../src/domain/events.ts'
import type { Client, ClientSecret } from '../../src/domain/model.ts'
import type { Signer } from '../../src/domain/ports/signer.ts'
import type { Store } from '../../src/domain/ports/store.ts'
import type { Config } from '../../src/settings.ts'

const NOW = Date.UTC(2026, 0, 1)
const CALLER: Caller = { ...OPERATOR, kind: 'anonymous', address: '192.0.2.7' }
const ISSUER = 'https://id.example.com'

const client = (id: string, members: Partial<Client> = {}) => ({
  client: { id, kind: 'confidential', jwks: [], disabledAt: null, ...members } as Client,
  secrets: [{ id: 'secret', hash: sha256('right'), lastUsedAt: NOW } as ClientSecret],
  rev: 0
})
const CLIENTS = [client('shop'), client('closed', { disabledAt: 1 })]

/** Authenticates with the claims as an assertion. Returns the error code, or null, and the events. */
async function authenticate(credentials: ClientCredentials, claims: Record<string, unknown> = {}) {
  const events: Event[] = []
  const store = {
    clients: {
      credentials: async (ids: string[]) => CLIENTS.filter((each) => ids.includes(each.client.id)),
      useAssertion: async () => false
    }
  } as unknown as Store
  const signer = {
    verifyAssertion: async (_token: string, keysOf: (claims: object) => Promise<unknown>) => {
      await keysOf(claims)
      return claims
    }
  } as unknown as Signer
  const { authenticate } = createClientAuthentication({
    store,
    signer,
    events: { record: (event) => void events.push(event) },
    clock: { now: () => NOW, sleep: async () => {} },
    settings: { issuer: ISSUER, docs: true } as Config
  })
  const refused = await authenticate(CALLER, credentials).then(
    () => null,
    (error) => error.code
  )
  return { refused, events }
}

const basic = (id: string, secret: string) => ({ method: 'client_secret_basic' as const, ids: [id], secret })
const assertion = (id: string | null = null) => ({ method: 'private_key_jwt' as const, assertion: 'x', id })
const failed = (subject: Event['subject'], reason: string): Event => ({
  type: 'client.authentication_failed',
  caller: CALLER,
  subject,
  outcome: 'failure',
  reason
})

t.test('the event of a failed authentication names an existing client, and never an unknown id', async (t) => {
  t.strictSame(await authenticate(basic('shop', 'right')), { refused: null, events: [] })
  for (const [id, subject] of Object.entries({
    shop: { client: 'shop' },
    closed: { client: 'closed' },
    'hunter 2': {}
  }))
    t.strictSame(await authenticate(basic(id, 'wrong')), {
      refused: 'invalid_client',
      events: [failed(subject, 'client_secret_basic')]
    })
  t.match(await authenticate(basic('closed', 'right')), { refused: 'invalid_client' })
})

t.test('the event of a failed assertion names an existing client, and never an unknown id', async (t) => {
  const claims = { iss: 'shop', sub: 'shop', aud: ISSUER, exp: NOW / 1000 + 60, jti: 'used before' }
  const byShop = failed({ client: 'shop' }, 'private_key_jwt')
  const refused = 'invalid_client'
  t.strictSame(await authenticate(assertion(), claims), { refused, events: [byShop] })
  t.strictSame(await authenticate(assertion(), { ...claims, exp: 0 }), { refused, events: [byShop] })
  t.strictSame(await authenticate(assertion('x'), claims), { refused: 'invalid_request', events: [byShop] })
  t.strictSame(await authenticate(assertion(), { ...claims, sub: 'nobody' }), {
    refused,
    events: [failed({}, 'private_key_jwt')]
  })
})
