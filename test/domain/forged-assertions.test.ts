import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { listen } from '../listen.ts'
import { compareAll } from '../rows.ts'
import { jwk, openAssertions, REFUSED, STRANGER } from './assertions.ts'
import { forgeries } from './forged-assertions.ts'

t.test('every forged assertion is refused in the same way, and its id stays unused [CA8]', async (t) => {
  const domain = await openAssertions(t)
  const { authenticate, signed, store } = domain
  const forged = Object.entries(forgeries(domain))
  t.ok(forged.length > 300, `${forged.length} forged assertions`)
  let uses = 0
  const { useAssertion } = store.clients
  store.clients.useAssertion = (...args) => {
    uses++
    return useAssertion(...args)
  }
  await compareAll(t, async (row) => {
    for (const [name, make] of forged) row(name, await authenticate(make()), REFUSED)
  })
  t.equal(uses, 0)
  t.equal(await authenticate(signed()), 'keys')
})

t.test('an access token is no assertion [CA8]', async (t) => {
  const { authenticate, auth, login, createUser } = await openAssertions(t)
  await createUser('alice')
  const user = await login('alice')
  const clientAuth = {
    client: await auth.clients.get('keys'),
    method: 'private_key_jwt' as const,
    registered: [],
    signing: [],
    rev: 0
  }
  const own = await auth.exchange(OPERATOR, { clientAuth, params: { grant_type: 'client_credentials' } })
  for (const { accessToken } of [user, own]) t.equal(await authenticate(accessToken), REFUSED)
})

t.test('a URL in the header of an assertion is never requested [CA8]', async (t) => {
  const { authenticate, signed } = await openAssertions(t)
  let calls = 0
  const origin = await listen(t, (_request, response) => {
    calls++
    response.end(JSON.stringify({ keys: [jwk(STRANGER.publicKey, { kid: 'ES256', alg: 'ES256' })] }))
  })
  const url = `${origin}/jwks.json`
  for (const head of [{ jku: url }, { x5u: url }, { jku: url, kid: url }, { kid: url }])
    t.equal(await authenticate(signed(head, {}, 'ES256', STRANGER.privateKey)), REFUSED)
  t.equal(calls, 0)
})
