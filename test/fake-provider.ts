import { createHmac, type KeyObject, randomUUID, sign as signBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { encode, es256, generateKeyPair, type Members } from './jws.ts'
import { listen } from './listen.ts'

export const CLIENT_ID = 'latchkey-at-the-provider'
export const CLIENT_SECRET = 'the secret of Latchkey at the provider'

interface Key {
  kid: string
  alg: string
  privateKey: KeyObject
  jwk: Members
}

function createKey(kid: string, alg: 'RS256' | 'ES256'): Key {
  const { privateKey, publicKey } = generateKeyPair(alg)
  return { kid, alg, privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' } }
}

/** What an endpoint of the provider sends: JSON, or a function that responds itself. */
export type Reply = Members | ((response: ServerResponse, body: URLSearchParams) => void)

/** Every part of a response of the provider that a test can change. */
export interface Lies {
  metadata?: (metadata: Members) => Reply
  jwks?: (jwks: { keys: Members[] }) => Reply
  claims?: (claims: Members) => Members
  header?: (header: Members) => Members
  /** Signs the ID token in another way. */
  signature?: (input: string) => string
  tokens?: (tokens: Members) => Reply
  userinfo?: (claims: Members) => Reply
  /** The parameters of the authorization response. */
  response?: (parameters: Record<string, string>) => Record<string, string>
}

const send = (response: ServerResponse, reply: Reply, body: URLSearchParams) => {
  if (typeof reply === 'function') return reply(response, body)
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(reply))
}

const read = async (request: IncomingMessage): Promise<URLSearchParams> => {
  let text = ''
  for await (const chunk of request) text += chunk
  return new URLSearchParams(text)
}

/** The user at the provider. */
export const AT_PROVIDER = {
  sub: 'user-1 at the provider',
  name: 'Alice Liddell',
  preferred_username: 'alice',
  email: 'alice@example.com',
  email_verified: true
}

/** Starts an OpenID provider on loopback that tells the truth, except for its `lies`. */
export async function startProvider(t: Test, clock: { now(): number }) {
  const lies: Lies = {}
  let keys = [createKey('one', 'RS256')]
  const requests: string[] = []
  /** The nonce and the code challenge of each code that was not redeemed. */
  const codes = new Map<string, { nonce: string; challenge: string }>()

  function idToken(nonce: string): string {
    const [key] = keys as [Key]
    const iat = Math.floor(clock.now() / 1000)
    const valid = { iss: issuer, aud: CLIENT_ID, exp: iat + 300, iat, nonce, ...AT_PROVIDER }
    const header = { alg: key.alg, kid: key.kid, typ: 'JWT' }
    const input = `${encode(lies.header?.(header) ?? header)}.${encode(lies.claims?.(valid) ?? valid)}`
    const bytes =
      key.alg === 'ES256' ? es256(input, key.privateKey) : signBytes('sha256', Buffer.from(input), key.privateKey)
    return `${input}.${lies.signature?.(input) ?? bytes.toString('base64url')}`
  }

  function redeem(body: URLSearchParams): Reply {
    const code = body.get('code') ?? ''
    const found = codes.get(code)
    codes.delete(code)
    if (found === undefined)
      return (response) =>
        response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
    const tokens = { access_token: randomUUID(), token_type: 'Bearer', expires_in: 300, id_token: idToken(found.nonce) }
    return lies.tokens?.(tokens) ?? tokens
  }

  const issuer: string = await listen(t, async (request, response) => {
    const path = request.url ?? ''
    requests.push(path)
    const body = await read(request)
    const metadata = {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      userinfo_endpoint: `${issuer}/userinfo`,
      jwks_uri: `${issuer}/jwks`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256', 'ES256']
    }
    const jwks = { keys: keys.map(({ jwk }) => jwk) }
    if (path === '/.well-known/openid-configuration') send(response, lies.metadata?.(metadata) ?? metadata, body)
    else if (path === '/jwks') send(response, lies.jwks?.(jwks) ?? jwks, body)
    else if (path === '/token') send(response, redeem(body), body)
    else if (path === '/userinfo') send(response, lies.userinfo?.({ ...AT_PROVIDER }) ?? { ...AT_PROVIDER }, body)
    else response.writeHead(404).end()
  })

  return {
    issuer,
    lies,
    requests,
    /** Replaces the signing key. */
    rotate(kid: string, alg: 'RS256' | 'ES256' = 'ES256') {
      keys = [createKey(kid, alg)]
    },
    /** Signs the user in and returns the parameters of the authorization response. */
    authorize({ searchParams }: URL): URLSearchParams {
      const code = randomUUID()
      const [nonce, challenge, state] = ['nonce', 'code_challenge', 'state'].map((name) => searchParams.get(name) ?? '')
      codes.set(code, { nonce: nonce as string, challenge: challenge as string })
      const parameters = { code, state: state as string }
      return new URLSearchParams(lies.response?.(parameters) ?? parameters)
    },
    /** An HMAC with the public key as secret: what a verifier accepts that takes the algorithm from the header. */
    hmac: (input: string) => createHmac('sha256', JSON.stringify(keys[0]?.jwk)).update(input).digest('base64url')
  }
}

export type FakeProvider = Awaited<ReturnType<typeof startProvider>>
