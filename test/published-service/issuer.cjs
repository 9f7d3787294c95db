/** An issuer in memory: options for a guard and for a token client, and valid tokens. */
const { createHash, generateKeyPairSync, randomUUID, sign } = require('node:crypto')

const issuer = 'https://id.example.com'
const audience = 'https://orders.example.com'
const { privateKey: key, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = publicKey.export({ format: 'jwk' })
const kid = createHash('sha256').update(JSON.stringify(jwk)).digest('base64url')
const responses = {
  'oauth-authorization-server': { issuer, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks` },
  jwks: { keys: [{ ...jwk, kid, alg: 'ES256', use: 'sig' }] },
  token: { access_token: 'a-token', token_type: 'Bearer', expires_in: 60 }
}
const fetch = async (url) => Response.json(responses[new URL(url).pathname.split('/').at(-1)])
const segment = (content) => Buffer.from(JSON.stringify(content)).toString('base64url')

/** Returns a valid token of a user with the scope `orders:read`. */
function token() {
  const iat = Math.floor(Date.now() / 1000)
  const times = { iat, exp: iat + 300, jti: randomUUID(), rev: 0 }
  const rights = { scope: 'orders:read', roles: [], sid: 'session-1' }
  const claims = { iss: issuer, sub: 'user-1', aud: audience, client_id: 'docs', ...times, ...rights }
  const input = `${segment({ alg: 'ES256', typ: 'at+jwt', kid })}.${segment(claims)}`
  return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

module.exports = {
  guardOptions: { issuer, audience, revocation: 'none', fetch },
  clientOptions: { issuer, clientId: 'worker', clientSecret: 'x', fetch },
  token
}
