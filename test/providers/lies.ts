import type { ServerResponse } from 'node:http'
import type { ProviderFailure } from '../../src/domain/ports/providers.ts'
import type { FakeProvider, Lies } from '../fake-provider.ts'

/** A lie of a provider, with the failure that the sign-in must end in, and the reason for the operator. */
type Lie = [name: string, lie: Lies | ((provider: FakeProvider) => Lies), failure: ProviderFailure, reason: RegExp]

const HOUR = 3600
const LONG = Buffer.alloc(300_000, 32).toString()

const text =
  (status: number, body: string, type = 'application/json') =>
  (response: ServerResponse): void =>
    void response.writeHead(status, { 'content-type': type }).end(body)
const redirect = (response: ServerResponse): void =>
  void response.writeHead(302, { location: 'http://127.0.0.1/elsewhere' }).end()
/** Sends the head of a response and never its body. */
const hang = (response: ServerResponse): void =>
  void response.writeHead(200, { 'content-type': 'application/json' }).write('{')
const destroy = (response: ServerResponse): void => void response.destroy()

const claims = (changes: Record<string, unknown>): Lies => ({ claims: (valid) => ({ ...valid, ...changes }) })
const header = (changes: Record<string, unknown>): Lies => ({ header: (valid) => ({ ...valid, ...changes }) })
const metadata = (changes: Record<string, unknown>): Lies => ({ metadata: (valid) => ({ ...valid, ...changes }) })
const tokens = (changes: Record<string, unknown>): Lies => ({ tokens: (valid) => ({ ...valid, ...changes }) })
const response = (changes: Record<string, string | undefined>): Lies => ({
  response: (valid) =>
    Object.fromEntries(Object.entries({ ...valid, ...changes }).filter(([, value]) => value !== undefined)) as Record<
      string,
      string
    >
})
/** Lies in the response of the UserInfo endpoint, which is asked when the ID token has no e-mail address. */
const userinfo = (reply: NonNullable<Lies['userinfo']>): Lies => ({ ...claims({ email: undefined }), userinfo: reply })
const issuing = { authorization_response_iss_parameter_supported: true }

export const LIES: Lie[] = [
  ['metadata of another issuer', metadata({ issuer: 'https://other.example' }), 'invalid', /issuer/],
  ['metadata with another spelling of the issuer', (p) => metadata({ issuer: `${p.issuer}/` }), 'invalid', /issuer/],
  ['metadata that is no JSON', { metadata: () => text(200, 'hello') }, 'invalid', /pars/],
  ['metadata that is a list', { metadata: () => text(200, '[]') }, 'invalid', /object/],
  ['metadata of 300 KB', { metadata: () => text(200, `{"issuer":"${LONG}"}`) }, 'invalid', /more than 262144 bytes/],
  ['metadata as HTML', { metadata: () => text(200, '<p>', 'text/html') }, 'invalid', /content-type/],
  ['metadata that redirects', { metadata: () => redirect }, 'invalid', /status code/],
  ['metadata that fails', { metadata: () => text(503, '{}') }, 'unavailable', /status of a response is 503/],
  ['metadata that never ends', { metadata: () => hang }, 'unavailable', /no response within 200 ms/],
  ['metadata whose connection is cut', { metadata: () => destroy }, 'unavailable', /hang up/],
  ['no token endpoint', metadata({ token_endpoint: undefined }), 'invalid', /token_endpoint/],
  [
    'a token endpoint without https',
    metadata({ token_endpoint: 'http://other.example/token' }),
    'unavailable',
    /https/
  ],
  [
    'an authorization endpoint that is a script',
    metadata({ authorization_endpoint: 'javascript:1' }),
    'invalid',
    /HTTPS/
  ],
  [
    'an authorization endpoint without https',
    metadata({ authorization_endpoint: 'http://a.example/' }),
    'invalid',
    /https/
  ],
  [
    'a token endpoint that is inside',
    metadata({ token_endpoint: 'https://10.0.0.1/token' }),
    'unavailable',
    /10\.0\.0\.1/
  ],
  ['keys of the cloud', metadata({ jwks_uri: 'https://169.254.169.254/keys' }), 'unavailable', /169\.254\.169\.254/],

  ['another `iss`', claims({ iss: 'https://other.example' }), 'invalid', /claim/],
  ['no `iss`', claims({ iss: undefined }), 'invalid', /iss/],
  ['another `aud`', claims({ aud: 'another client' }), 'invalid', /claim/],
  ['no `aud`', claims({ aud: undefined }), 'invalid', /aud/],
  [
    'two audiences without `azp`',
    claims({ aud: ['latchkey-at-the-provider', 'x'] }),
    'invalid',
    /azp|untrusted audiences/
  ],
  [
    'two audiences and another `azp`',
    claims({ aud: ['latchkey-at-the-provider', 'x'], azp: 'x' }),
    'invalid',
    /azp|untrusted audiences/
  ],
  ['another `azp`', claims({ azp: 'x' }), 'invalid', /azp|untrusted audiences/],
  ['no `exp`', claims({ exp: undefined }), 'invalid', /exp/],
  ['`exp` as text', claims({ exp: '9999999999' }), 'invalid', /exp/],
  ['an expired ID token', { claims: (valid) => ({ ...valid, exp: Number(valid.iat) - 100 }) }, 'invalid', /timestamp/],
  ['no `iat`', claims({ iat: undefined }), 'invalid', /iat/],
  [
    'an ID token of the future',
    { claims: (valid) => ({ ...valid, iat: Number(valid.iat) + HOUR, exp: Number(valid.iat) + 2 * HOUR }) },
    'invalid',
    /issued at/
  ],
  [
    'an ID token of an hour ago',
    { claims: (valid) => ({ ...valid, iat: Number(valid.iat) - HOUR }) },
    'invalid',
    /issued at/
  ],
  ['`nbf` in an hour', { claims: (valid) => ({ ...valid, nbf: Number(valid.iat) + HOUR }) }, 'invalid', /timestamp/],
  ['another `nonce`', claims({ nonce: 'of another sign-in' }), 'invalid', /nonce/],
  ['no `nonce`', claims({ nonce: undefined }), 'invalid', /nonce/],
  ['no `sub`', claims({ sub: undefined }), 'invalid', /sub/],
  ['an empty `sub`', claims({ sub: '' }), 'invalid', /sub/],
  ['a number as `sub`', claims({ sub: 7 }), 'invalid', /sub/],
  ['a `sub` of 256 characters', claims({ sub: Buffer.alloc(256, 65).toString() }), 'invalid', /longer than 255/],
  ['a `sub` with a NUL', claims({ sub: 'user\0' }), 'invalid', /sub/],

  ['alg none', { ...header({ alg: 'none' }), signature: () => '' }, 'invalid', /alg/],
  [
    'HS256 with the public key as secret',
    (p) => ({ ...header({ alg: 'HS256' }), signature: p.hmac }),
    'invalid',
    /alg/
  ],
  ['an algorithm that does not fit the key', header({ alg: 'ES256' }), 'invalid', /./],
  ['no algorithm', header({ alg: undefined }), 'invalid', /alg/],
  ['a key that nobody has', header({ kid: 'nobody' }), 'invalid', /key|kid/],
  ['a changed signature', { signature: (input) => Buffer.from(input).toString('base64url') }, 'invalid', /signature/],
  ['no signature', { signature: () => '' }, 'invalid', /signature/],
  ['a critical extension', header({ crit: ['exp'], exp: 1 }), 'invalid', /crit/],
  ['no keys', { jwks: () => ({ keys: [] }) }, 'invalid', /key/],
  ['two keys of one kid', { jwks: ({ keys }) => ({ keys: [...keys, ...keys] }) }, 'invalid', /key/],
  ['keys that are no JSON', { jwks: () => text(200, 'hello') }, 'invalid', /pars/],
  ['keys of 300 KB', { jwks: () => text(200, `{"keys":["${LONG}"]}`) }, 'invalid', /more than 262144 bytes/],
  ['keys that fail', { jwks: () => text(500, '{}') }, 'unavailable', /status of a response is 500/],

  ['no ID token', tokens({ id_token: undefined }), 'invalid', /id_token/],
  ['an ID token that is no JWT', tokens({ id_token: 'hello' }), 'invalid', /JWT/],
  ['no access token', tokens({ access_token: undefined }), 'invalid', /access_token/],
  ['another token type', tokens({ token_type: 'mac' }), 'invalid', /token_type|unsupported/],
  ['tokens as HTML', { tokens: () => text(200, '<p>', 'text/html') }, 'invalid', /content-type/],
  ['tokens of 300 KB', { tokens: () => text(200, `{"x":"${LONG}"}`) }, 'invalid', /more than 262144 bytes/],
  ['tokens that redirect', { tokens: () => redirect }, 'invalid', /status code/],
  ['a token endpoint that never responds', { tokens: () => () => {} }, 'unavailable', /no response within 200 ms/],
  [
    'a client that the provider does not know',
    { tokens: () => text(401, '{"error":"invalid_client"}') },
    'refused',
    /invalid_client/
  ],
  ['a token endpoint that fails', { tokens: () => text(502, 'bad gateway', 'text/html') }, 'unavailable', /502/],

  ['no `state`', response({ state: undefined }), 'invalid', /state/],
  ['the `state` of another browser', response({ state: 'another' }), 'invalid', /state/],
  ['no code', response({ code: undefined }), 'invalid', /code/],
  ['a code that the provider did not issue', response({ code: 'another' }), 'refused', /invalid_grant/],
  [
    'another `iss` in the response',
    { ...metadata(issuing), ...response({ iss: 'https://other.example' }) },
    'invalid',
    /iss/
  ],
  ['no `iss` in the response', metadata(issuing), 'invalid', /iss/],
  ['a refusal by the user', response({ code: undefined, error: 'access_denied' }), 'cancelled', /access_denied/],
  [
    'an overload',
    response({ code: undefined, error: 'temporarily_unavailable' }),
    'unavailable',
    /temporarily_unavailable/
  ],
  [
    'a wrong registration',
    response({ code: undefined, error: 'unauthorized_client' }),
    'refused',
    /unauthorized_client/
  ],
  [
    'a refusal with the `state` of another browser',
    response({ code: undefined, error: 'access_denied', state: 'another' }),
    'invalid',
    /state/
  ],

  ['a UserInfo response of another user', userinfo((valid) => ({ ...valid, sub: 'another' })), 'invalid', /sub/],
  ['a UserInfo response without `sub`', userinfo((valid) => ({ ...valid, sub: undefined })), 'invalid', /sub/],
  [
    'a UserInfo response of 300 KB',
    userinfo(() => text(200, `{"sub":"${LONG}"}`)),
    'invalid',
    /more than 262144 bytes/
  ],
  ['a UserInfo endpoint that refuses', userinfo(() => text(401, '{}')), 'invalid', /status|challenge/i]
]
