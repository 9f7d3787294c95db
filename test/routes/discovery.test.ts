import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { calculateJwkThumbprint, createRemoteJWKSet, decodeProtectedHeader, type JWK, jwtVerify } from 'jose'
import * as openid from 'openid-client'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError, SetupError } from '../../src/domain/errors.ts'
import { freePort } from '../cli/process.ts'
import { build, createDatabase, ISSUER, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'

const OPENID = '/.well-known/openid-configuration'
const METADATA = '/.well-known/oauth-authorization-server'
const JWKS = '/.well-known/jwks.json'
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
const realClock = { now: Date.now, sleep: async () => {} }

const CONFIDENTIAL = ['client_secret_basic', 'client_secret_post', 'private_key_jwt']
const ALGS = ['ES256', 'EdDSA', 'RS256', 'PS256']
const metadataOf = (issuer: string) => ({
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  revocation_endpoint: `${issuer}/revoke`,
  introspection_endpoint: `${issuer}/introspect`,
  userinfo_endpoint: `${issuer}/userinfo`,
  end_session_endpoint: `${issuer}/logout`,
  jwks_uri: `${issuer}/.well-known/jwks.json`,
  scopes_supported: [
    'account',
    'clients:read',
    'clients:write',
    'email',
    'keys:read',
    'keys:write',
    'openid',
    'profile',
    'resources:read',
    'resources:write',
    'revocations:read',
    'roles:read',
    'roles:write',
    'tokens:introspect',
    'users:read',
    'users:write'
  ],
  response_types_supported: ['code'],
  response_modes_supported: ['query', 'form_post'],
  grant_types_supported: ['authorization_code', 'password', 'refresh_token', 'client_credentials'],
  code_challenge_methods_supported: ['S256'],
  authorization_response_iss_parameter_supported: true,
  request_parameter_supported: false,
  request_uri_parameter_supported: false,
  claims_parameter_supported: false,
  prompt_values_supported: ['none', 'login', 'consent', 'select_account'],
  ui_locales_supported: ['en', 'de'],
  claims_supported: [
    ...['sub', 'name', 'preferred_username', 'updated_at', 'email', 'email_verified'],
    ...['iss', 'aud', 'exp', 'iat', 'auth_time', 'nonce', 'amr', 'azp', 'at_hash', 'sid']
  ],
  subject_types_supported: ['public'],
  backchannel_logout_supported: true,
  backchannel_logout_session_supported: true,
  id_token_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256'],
  token_endpoint_auth_methods_supported: ['none', ...CONFIDENTIAL],
  token_endpoint_auth_signing_alg_values_supported: ALGS,
  revocation_endpoint_auth_methods_supported: ['none', ...CONFIDENTIAL],
  revocation_endpoint_auth_signing_alg_values_supported: ALGS,
  introspection_endpoint_auth_methods_supported: CONFIDENTIAL,
  introspection_endpoint_auth_signing_alg_values_supported: ALGS,
  latchkey_revocations_endpoint: `${issuer}/revocations`,
  latchkey_resource_scopes_endpoint: `${issuer}/resource-scopes`,
  service_documentation: `${issuer}/docs`
})

/** Tests only add sessions and the resource `orders` to it. */
const shared = await build(t)

t.test('the metadata is complete (RFC 8414)', async (t) => {
  const response = await shared.inject({ url: METADATA })
  t.strictSame([response.statusCode, response.json()], [200, metadataOf(ISSUER)])
  t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
})

t.test('the metadata of OpenID Connect are the same document', async (t) => {
  const response = await shared.inject({ url: OPENID })
  t.strictSame([response.statusCode, response.json()], [200, metadataOf(ISSUER)])
})

t.test('the service does what its metadata says [KS1]', async (t) => {
  const metadata = (await shared.inject({ url: METADATA })).json()
  const path = (url: string) => url.slice(metadata.issuer.length)
  const login = (form: object) =>
    shared.inject({
      method: 'POST',
      url: path(metadata.token_endpoint),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams({ username: 'admin', password: PASSWORD, ...form }).toString()
    })
  const grantTypes = [
    'authorization_code',
    'client_credentials',
    'refresh_token',
    'password',
    'urn:ietf:params:oauth:grant-type:device_code'
  ]
  for (const grant_type of grantTypes) {
    const { error } = (await login({ grant_type })).json()
    t.equal(error !== 'unsupported_grant_type', metadata.grant_types_supported.includes(grant_type), grant_type)
  }
  for (const scope of [...metadata.scopes_supported, 'unregistered']) {
    const { error_description: reason } = (await login({ grant_type: 'password', scope })).json()
    t.equal(reason !== 'A requested scope is not registered', metadata.scopes_supported.includes(scope), scope)
  }
  t.equal((await login({ grant_type: 'password', client_id: 'docs' })).statusCode, 200, 'auth method none')
  t.equal((await shared.inject({ url: path(metadata.jwks_uri) })).statusCode, 200)
  t.match((await shared.inject({ url: path(metadata.service_documentation) })).statusCode, /^(200|302)$/)
})

t.test('the metadata names no scope of other resources, so its size does not depend on them', async (t) => {
  const input = { id: 'orders', name: 'Orders', identifier: 'https://orders.example' }
  await shared.app.auth.resources.create(OPERATOR, { ...input, scopes: [{ name: 'orders:read', description: '' }] })
  const { body } = await shared.inject({ url: METADATA })
  t.strictSame(JSON.parse(body), metadataOf(ISSUER))
  t.notMatch(body, 'orders')
})

t.test('the metadata has no list without a value (RFC 8414 §3.2)', async (t) => {
  const lists = Object.values((await shared.inject({ url: METADATA })).json()).filter(Array.isArray)
  t.ok(lists.length > 5)
  t.strictSame(
    lists.filter((list) => list.length === 0),
    []
  )
})

t.test('the metadata of an issuer with a path is at the path of RFC 8414 §3.1', async (t) => {
  for (const issuer of ['https://id.example.com/auth', 'https://example.com:8443/a/b']) {
    const { inject, login } = await build(t, { env: { LATCHKEY_ISSUER: issuer } })
    const path = new URL(issuer).pathname
    const response = await inject({ url: METADATA + path })
    t.strictSame([response.statusCode, response.json()], [200, metadataOf(issuer)])
    t.strictSame((await inject({ url: METADATA })).json(), metadataOf(issuer), 'for a proxy that removes the path')
    for (const url of [OPENID + path, OPENID]) t.strictSame((await inject({ url })).json(), metadataOf(issuer), url)
    t.equal((await inject({ url: `${METADATA}${path}x` })).statusCode, 404)
    t.equal((await inject({ url: `${METADATA}/other` })).statusCode, 404)
    t.equal((await inject({ url: '/' })).json().links.metadata, `${new URL(issuer).origin}${METADATA}${path}`)
    t.equal(JSON.parse(atob((await login('alice')).split('.')[1] ?? '')).iss, issuer)
  }
})

t.test('the issuer and all links come from the settings, not from the request [HT10]', async (t) => {
  const headers = {
    host: 'evil.example',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'https',
    'x-forwarded-prefix': '/evil',
    forwarded: 'host=evil.example;proto=https'
  }
  // Where the issuer is on a loopback host, another `Host` is refused.
  const { inject } = await build(t, {
    env: { LATCHKEY_ISSUER: 'http://id.example.com', LATCHKEY_INSECURE_HTTP: 'true' }
  })
  for (const url of ['/', METADATA, JWKS]) {
    const response = await inject({ url, headers })
    t.strictSame(response.json(), (await inject({ url })).json())
    t.notMatch(response.body, 'evil')
  }
})

t.test('GET / returns name, version and links, and every link works', async (t) => {
  const response = await shared.inject({ url: '/' })
  const links = {
    self: ISSUER,
    docs: `${ISSUER}/docs`,
    openapi: `${ISSUER}/openapi.json`,
    token: `${ISSUER}/token`,
    metadata: `${ISSUER}${METADATA}`,
    jwks: `${ISSUER}${JWKS}`,
    health: `${ISSUER}/health/ready`
  }
  t.strictSame([response.statusCode, response.json()], [200, { name: 'latchkey', version, links }])

  for (const [name, link] of Object.entries(links)) {
    const { statusCode } = await shared.inject({ url: link.slice(ISSUER.length) || '/' })
    if (name === 'token') t.equal(statusCode, 405)
    else t.match(statusCode, /^(200|302)$/, name)
  }
})

t.test('LATCHKEY_DOCS=false removes the pages and their links, and keeps /openapi.json', async (t) => {
  const { inject } = await build(t, { env: { LATCHKEY_DOCS: 'false' } })
  const { service_documentation: _, ...metadata } = metadataOf(ISSUER)
  t.strictSame((await inject({ url: METADATA })).json(), metadata)
  const { links } = (await inject({ url: '/' })).json()
  t.notOk('docs' in links)
  t.equal(links.openapi, `${ISSUER}/openapi.json`)
  t.equal((await inject({ url: '/openapi.json' })).statusCode, 200)
  t.equal((await inject({ url: '/docs' })).statusCode, 404)
})

t.test('public documents accept GET and HEAD only', async (t) => {
  for (const url of ['/', METADATA, JWKS, '/openapi.json']) {
    t.equal((await shared.inject({ method: 'HEAD', url })).statusCode, 200)
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'] as const) {
      const response = await shared.inject({ method, url })
      t.strictSame(
        [response.statusCode, response.headers.allow, response.headers['content-type'], response.json()],
        [
          405,
          'GET, HEAD',
          'application/problem+json; charset=utf-8',
          {
            type: 'about:blank',
            title: 'Method Not Allowed',
            status: 405,
            detail: 'The path does not have this method'
          }
        ],
        `${method} ${url}`
      )
    }
  }
})

const MEMBERS = {
  ES256: { kty: 'EC', crv: 'P-256', own: ['crv', 'x', 'y'] },
  EdDSA: { kty: 'OKP', crv: 'Ed25519', own: ['crv', 'x'] },
  RS256: { kty: 'RSA', crv: undefined, own: ['e', 'n'] }
}

for (const [alg, { kty, crv, own }] of Object.entries(MEMBERS)) {
  t.test(`with ${alg}, the JWKS holds two public keys, and client libraries accept metadata and tokens`, async (t) => {
    const port = await freePort()
    const issuer = `http://127.0.0.1:${port}`
    const world = await build(t, { env: { LATCHKEY_ISSUER: issuer, LATCHKEY_SIGNING_ALG: alg }, clock: realClock })
    await world.app.listen({ host: '127.0.0.1', port })

    await t.test('the JWKS holds the two keys, with public members only [KS1] [KS2]', async (t) => {
      const response = await world.inject({ url: JWKS })
      t.equal(response.statusCode, 200)
      t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
      t.equal(response.headers['cache-control'], 'public, max-age=300')
      const { keys, ...others } = response.json() as { keys: JWK[] }
      t.strictSame(others, {})
      t.equal(keys.length, 2)
      for (const key of keys) {
        t.strictSame(Object.keys(key).sort(), [...own, 'alg', 'kid', 'kty', 'use'].sort())
        t.strictSame([key.kty, key.crv, key.alg, key.use], [kty, crv, alg, 'sig'])
        t.equal(key.kid, await calculateJwkThumbprint(key), 'the kid is the thumbprint (RFC 7638)')
        if (alg === 'RS256') t.equal(Buffer.from(key.n ?? '', 'base64url').length, 256, '2048 bits')
      }
      const [one, two] = keys
      for (const name of ['kid', alg === 'RS256' ? 'n' : 'x'] as const) t.not(one?.[name], two?.[name])

      const rows = await sql<Record<'kid' | 'state' | 'sealed_private_key' | 'public_jwk', string>>(
        world,
        'select * from signing_keys order by state'
      )
      t.strictSame(
        rows.map(({ state }) => state),
        ['next', 'signing']
      )
      t.strictSame(keys.map(({ kid }) => kid).sort(), rows.map(({ kid }) => kid).sort())
      t.strictSame(decodeProtectedHeader(await world.login('alice')), { alg, typ: 'at+jwt', kid: rows[1]?.kid })
      for (const { sealed_private_key: sealed, public_jwk: jwk } of rows) {
        t.match(sealed, /^[\w-]{11}\.[\w-]{16}\.[\w-]{80,}$/, 'the private part is sealed')
        t.strictSame(Object.keys(JSON.parse(jwk)).sort(), [...own, 'kty'].sort())
      }
    })

    await t.test('openid-client logs in by the metadata, and jose verifies the token by the JWKS', async (t) => {
      const config = await openid.discovery(new URL(issuer), 'docs', undefined, openid.None(), {
        algorithm: 'oauth2',
        execute: [openid.allowInsecureRequests]
      })
      const { supportsPKCE: _, ...metadata } = config.serverMetadata()
      t.strictSame({ ...metadata }, metadataOf(issuer))

      const login = { username: 'alice', password: PASSWORD, scope: 'profile' }
      const tokens = await openid.genericGrantRequest(config, 'password', login)
      t.strictSame([tokens.token_type, tokens.expires_in, tokens.scope], ['bearer', 300, 'profile'])

      const jwks = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri ?? ''))
      const verified = await jwtVerify(tokens.access_token, jwks, { typ: 'at+jwt', issuer, audience: issuer })
      t.equal(verified.protectedHeader.alg, alg)
      t.strictSame([verified.payload.client_id, verified.payload.scope], ['docs', 'profile'])

      const me = await openid.fetchProtectedResource(config, tokens.access_token, new URL(`${issuer}/users/me`), 'GET')
      const user = (await me.json()) as { id: string; username: string }
      t.strictSame([me.status, user.username, user.id], [200, 'alice', verified.payload.sub])

      const wrong = openid.genericGrantRequest(config, 'password', { ...login, password: 'wrong' })
      await t.rejects(wrong, { name: 'ResponseBodyError', error: 'invalid_grant', status: 400 })
    })
  })
}

t.test('a key is in the JWKS and verifies tokens until it is retired [KS2]', async (t) => {
  const app = await build(t)
  const kids = async () => (await app.inject({ url: JWKS })).json().keys.map(({ kid }: JWK) => kid)
  const me = async (jwt: string) => (await app.get('/users/me', jwt)).statusCode
  const jwt = await app.login('alice')
  const { kid: first } = decodeProtectedHeader(jwt)
  const [next] = (await kids()).filter((kid: string) => kid !== first)

  await sql(app, "update signing_keys set state = 'verifying' where state = 'signing'")
  await sql(app, "update signing_keys set state = 'signing' where state = 'next'")
  t.strictSame((await kids()).sort(), [first, next].sort())
  t.equal(decodeProtectedHeader(await app.login('alice')).kid, next)
  t.equal(await me(jwt), 200)

  await sql(app, "update signing_keys set state = 'retired' where kid = $1", String(first))
  t.strictSame(await kids(), [next])
  t.equal(await me(jwt), 401)
  t.equal(await me(await app.login('alice')), 200)
})

t.test('a dump of the database holds no password, no token and no private key [KS3]', async (t) => {
  const at = await createDatabase(t, 'sqlite')
  const app = await build(t, { at })
  const jwt = await app.login('alice')
  const dump = readFileSync(`${at.dataDir}/latchkey.db`).toString('latin1')
  const log = readFileSync(`${at.dataDir}/latchkey.db-wal`).toString('latin1')
  const signature = jwt.split('.')[2] ?? ''
  const secrets = [PASSWORD, 'PRIVATE KEY', jwt, signature, createHash('sha256').update(jwt).digest('base64url')]
  for (const secret of [...secrets, createHash('sha256').update(jwt).digest('hex')]) {
    t.notOk((dump + log).includes(secret))
  }
  t.ok((dump + log).includes('$argon2id$'), 'the dump has the content of the database')
})

t.test('openid-client finds an issuer with a path', async (t) => {
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}/auth`
  const { app } = await build(t, { env: { LATCHKEY_ISSUER: issuer }, clock: realClock })
  await app.listen({ host: '127.0.0.1', port })
  const config = await openid.discovery(new URL(issuer), 'docs', undefined, openid.None(), {
    algorithm: 'oauth2',
    execute: [openid.allowInsecureRequests]
  })
  t.equal(config.serverMetadata().token_endpoint, `${issuer}/token`)
})

t.test(
  'the keys and the metadata are answered while the database is away, also at the first request [F14]',
  async (t) => {
    const { app, inject } = await build(t, { logger: false })
    const paths = [JWKS, METADATA, '/']
    const answers = async () => {
      const responses = await Promise.all(paths.map((url) => inject({ url })))
      return responses.map(({ statusCode, headers, body }) => [statusCode, headers['cache-control'], body])
    }
    const { list } = app.store.keys
    await app.auth.assertReady() // as a server at its start
    const listed = await list()
    for (const error of [
      new DomainError('unavailable', 'The database is not available', { retryAfter: 1 }),
      new SetupError('cannot connect to PostgreSQL: self-signed certificate')
    ]) {
      app.store.keys.list = () => Promise.reject(error)
      const [jwks, ...others] = await answers()
      t.strictSame(jwks?.slice(0, 2), [200, 'public, max-age=300'])
      t.strictSame(
        JSON.parse(String(jwks?.[2])).keys.map(({ kid }: { kid: string }) => kid),
        listed.map(({ kid }) => kid)
      )
      t.strictSame(
        others.map(([status]) => status),
        [200, 200]
      )
    }
    app.store.keys.list = async () => listed.slice(0, 1)
    t.equal((await inject({ url: JWKS })).json().keys.length, 1, 'the current keys, when the database is back')
    app.store.keys.list = () => Promise.reject(new Error('a defect'))
    t.equal((await inject({ url: JWKS })).statusCode, 500, 'a defect is no outage')
  }
)

t.test('requests for the keys at the same time share their queries', async (t) => {
  const { app, inject } = await build(t, { logger: false })
  const { list } = app.store.keys
  let queries = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  app.store.keys.list = async () => {
    queries++
    await promise
    return list()
  }
  const responses = Promise.all(Array.from({ length: 20 }, () => inject({ url: JWKS })))
  await new Promise(setImmediate)
  resolve()
  t.strictSame([...new Set((await responses).map(({ statusCode }) => statusCode))], [200])
  t.ok(queries < 20)
})
