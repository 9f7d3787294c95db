import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from 'node:crypto'

export interface Ready {
  port: number
  /** A user's token for `me` and introspection. */
  accessToken: string
  /** One for each connection. */
  refreshTokens: string[]
}

/** The secret is always the same, so that parent and child process need no message about it. */
export const CLIENT = {
  id: 'bench',
  secret: createHash('sha256').update('a secret for a bench only').digest('base64url')
}
export const USER = { id: '019a0000-0000-7000-8000-000000000000', username: 'alice' }
/** The user as Latchkey returns it. */
export const PROFILE = {
  ...USER,
  email: 'alice@example.com',
  full_name: 'Alice Liddell',
  disabled: false,
  roles: ['clerk'],
  created_at: '2026-01-01T00:00:00.000Z',
  updated_at: '2026-01-01T00:00:00.000Z'
}
export const REFRESH_TOKENS = 64
export const TTL_S = 3600

export const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Signs a token with as many claims as one of Latchkey has. The signature stays in DER, the cheapest form. */
export function jwt(sub: string, key: KeyObject = privateKey): string {
  const iat = Math.floor(Date.now() / 1000)
  const claims = { iss: 'http://localhost', aud: 'http://localhost', sub, client_id: CLIENT.id, iat, exp: iat + TTL_S }
  const more = { jti: randomBytes(16).toString('base64url'), scope: 'profile', roles: ['clerk'] }
  const input = `${encode({ alg: 'ES256', typ: 'at+jwt', kid: 'one' })}.${encode({ ...claims, ...more })}`
  return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`
}

/** Returns whether the signature of a token of `jwt` is valid. */
export function isSigned(token: string): boolean {
  const end = token.lastIndexOf('.')
  return verify('sha256', Buffer.from(token.slice(0, end)), publicKey, Buffer.from(token.slice(end + 1), 'base64url'))
}

export const tokenBody = () => ({
  access_token: jwt(CLIENT.id),
  token_type: 'Bearer',
  expires_in: TTL_S,
  scope: 'profile'
})
