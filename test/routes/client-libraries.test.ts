import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { decodeJwt, exportJWK, generateKeyPair } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { basic } from '../basic.ts'
import { freePort } from '../cli/process.ts'
import { build } from '../helper.ts'
import { plant } from '../secrets.ts'

/** Ids that libraries encode in different ways. An id with `:` must be encoded in Basic credentials (RFC 7617 §2). */
const RAW = ['plain', 'a+b', '100%', '50%25', 'a~b', 'job+%~x-1_2.3']
const ENCODED_ONLY = ['a:b', 'job:+%~x-1_2.3']
const IDS = [...RAW, ...ENCODED_ONLY]
const SCOPE = 'tokens:introspect'
const KEYS = ['ES256', 'RS256'] as const

const curl = promisify(execFile)
const hasCurl = await curl('curl', ['--version']).then(
  () => true,
  () => false
)

const port = await freePort()
const issuer = `http://127.0.0.1:${port}`
const clock = { now: Date.now, sleep: async () => {} }
const { app } = await build(t, { env: { LATCHKEY_ISSUER: issuer }, clock })
await app.listen({ host: '127.0.0.1', port })

const rights = { grantTypes: ['client_credentials'], scopes: [SCOPE], defaultScopes: [SCOPE] }
const secrets: Record<string, string> = {}
for (const id of IDS) {
  secrets[id] = (await app.auth.clients.create(OPERATOR, { id, name: id, ...rights })).secret as string
  plant(secrets[id])
}
const pairs = { ES256: await generateKeyPair('ES256'), RS256: await generateKeyPair('RS256') }
const keyed = (id: string) => `${id}/keys`
const method = 'private_key_jwt' as const
const jwks = { keys: await Promise.all(KEYS.map(async (kid) => ({ ...(await exportJWK(pairs[kid].publicKey)), kid }))) }
for (const id of IDS) await app.auth.clients.create(OPERATOR, { id: keyed(id), name: id, ...rights, method, jwks })

/** Checks a response of RFC 6749 §4.4.3 and its token. */
function assertTokenOf(t: Test, id: string, { access_token = '', ...rest }: Record<string, unknown>) {
  const { sub, client_id, scope, aud } = decodeJwt(String(access_token))
  plant(String(access_token).split('.')[2])
  t.strictSame([sub, client_id, scope, aud], [id, id, SCOPE, issuer])
  t.match(rest.token_type, /^bearer$/i)
  t.strictSame({ ...rest, token_type: '' }, { token_type: '', expires_in: 300, scope: SCOPE })
}

for (const id of IDS) {
  const secret = secrets[id] as string

  t.test(`openid-client gets a token for the client ${id}`, async (t) => {
    const ask = async (clientId: string, auth: openid.ClientAuth) => {
      const config = await openid.discovery(new URL(issuer), clientId, undefined, auth, {
        algorithm: 'oauth2',
        execute: [openid.allowInsecureRequests]
      })
      assertTokenOf(t, clientId, { ...(await openid.clientCredentialsGrant(config, { scope: SCOPE })) })
    }
    await ask(id, openid.ClientSecretBasic(secret))
    await ask(id, openid.ClientSecretPost(secret))
    for (const kid of KEYS) await ask(keyed(id), openid.PrivateKeyJwt({ key: pairs[kid].privateKey, kid }))
    await ask(keyed(id), openid.PrivateKeyJwt(pairs.ES256.privateKey))
    const wrong = ask(id, openid.ClientSecretBasic(`${secret}x`))
    await t.rejects(wrong, { code: 'OAUTH_WWW_AUTHENTICATE_CHALLENGE', status: 401 })
  })

  t.test(`oauth4webapi gets a token for the client ${id}`, async (t) => {
    const insecure = { [oauth.allowInsecureRequests]: true }
    const discovered = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...insecure })
    const server = await oauth.processDiscoveryResponse(new URL(issuer), discovered)
    const ask = async (clientId: string, auth: oauth.ClientAuth) => {
      const client = { client_id: clientId }
      const response = await oauth.clientCredentialsGrantRequest(server, client, auth, { scope: SCOPE }, insecure)
      assertTokenOf(t, clientId, { ...(await oauth.processClientCredentialsResponse(server, client, response)) })
    }
    await ask(id, oauth.ClientSecretBasic(secret))
    await ask(id, oauth.ClientSecretPost(secret))
    for (const kid of KEYS) await ask(keyed(id), oauth.PrivateKeyJwt({ key: pairs[kid].privateKey, kid }))
  })

  t.test(`curl -u gets a token for the client ${id}`, { skip: !hasCurl && 'there is no curl' }, async (t) => {
    const user = ENCODED_ONLY.includes(id) ? encodeURIComponent(id) : id
    const form = ['-d', 'grant_type=client_credentials']
    const common = ['-q', '-sS', '--noproxy', '*', `${issuer}/token`, ...form]
    const ask = async (...more: string[]) => JSON.parse((await curl('curl', [...common, ...more])).stdout)
    assertTokenOf(t, id, await ask('-u', `${user}:${secret}`))
    assertTokenOf(
      t,
      id,
      await ask('--data-urlencode', `client_id=${id}`, '--data-urlencode', `client_secret=${secret}`)
    )
    t.equal((await ask('-u', `${user}:${secret}x`)).error, 'invalid_client')
  })

  t.test(`raw Basic, as python-requests sends it, gets a token for the client ${id}`, async (t) => {
    const user = ENCODED_ONLY.includes(id) ? encodeURIComponent(id) : id
    const response = await fetch(`${issuer}/token`, {
      method: 'POST',
      headers: {
        'User-Agent': 'python-requests/2.32.3',
        'Accept-Encoding': 'gzip, deflate',
        Accept: '*/*',
        'Content-Type': 'application/x-www-form-urlencoded',
        Authorization: `Basic ${Buffer.from(`${user}:${secret}`, 'latin1').toString('base64')}`
      },
      body: 'grant_type=client_credentials'
    })
    t.equal(response.status, 200)
    assertTokenOf(t, id, (await response.json()) as Record<string, unknown>)
  })
}

t.test('in raw Basic credentials the secret begins after the first colon', async (t) => {
  for (const id of ENCODED_ONLY) {
    const response = await fetch(`${issuer}/token`, {
      method: 'POST',
      headers: { authorization: basic(id, secrets[id] as string) },
      body: new URLSearchParams({ grant_type: 'client_credentials' })
    })
    t.strictSame(
      [response.status, await response.json()],
      [401, { error: 'invalid_client', error_description: 'Client authentication failed' }]
    )
  }
})
