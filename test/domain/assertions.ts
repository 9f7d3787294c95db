import { constants, generateKeyPairSync, type KeyObject, randomUUID, sign as signBytes } from 'node:crypto'
import fastify from 'fastify'
import type { Test } from 'tap'
import jwt from '../../plugins/jwt.ts'
import { type Caller, OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { OAuthError } from '../../src/domain/errors.ts'
import type { Signer } from '../../src/domain/ports/signer.ts'
import { type Content, encode, es256 } from '../jws.ts'
import { type Domain, ISSUER, openDomain } from './open.ts'

export const SIGN = {
  ES256: es256,
  EdDSA: (input: string, key: KeyObject) => signBytes(null, Buffer.from(input), key),
  RS256: (input: string, key: KeyObject) => signBytes('sha256', Buffer.from(input), key),
  PS256: (input: string, key: KeyObject) =>
    signBytes('sha256', Buffer.from(input), { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 })
}
export type Alg = keyof typeof SIGN
export const ALGS = Object.keys(SIGN) as Alg[]

const ec = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 })
/** The keys of the client `keys`. */
export const PAIRS = { ES256: ec(), EdDSA: generateKeyPairSync('ed25519'), RS256: rsa(), PS256: rsa() }
/** The key of the client `other`, which is registered without a kid. */
export const OTHER = ec()
/** A key of no client. */
export const STRANGER = ec()

/** Returns a key as a JWK with more members. */
export const jwk = (key: KeyObject, more: object = {}) => ({ ...key.export({ format: 'jwk' }), ...more })
/** The keys of the client `keys`. The kid of a key is its algorithm. */
export const JWKS = { keys: ALGS.map((alg) => jwk(PAIRS[alg].publicKey, { alg, kid: alg, use: 'sig' })) }

/** Makes assertions of the client `keys` that expire in a minute. */
export function createAsserter({ issuer, now }: { issuer: string; now: () => number }) {
  const claims = (more: object = {}): Record<string, unknown> => ({
    iss: 'keys',
    sub: 'keys',
    aud: issuer,
    exp: now() + 60,
    iat: now(),
    jti: randomUUID(),
    ...more
  })
  /**
   * Returns an assertion with a valid signature.
   * @param head    members that differ from those of a valid header; a string is the whole segment
   * @param payload members that differ from valid claims; a string, an array or bytes are the whole payload
   */
  const signed = (
    head: object | string = {},
    payload: Content = {},
    alg: Alg = 'ES256',
    key = PAIRS[alg].privateKey
  ): string => {
    const header = typeof head === 'string' ? head : encode({ alg, kid: alg, ...head })
    const isMembers = typeof payload === 'object' && !Array.isArray(payload) && !Buffer.isBuffer(payload)
    const input = `${header}.${encode(isMembers ? claims(payload) : payload)}`
    return `${input}.${SIGN[alg](input, key).toString('base64url')}`
  }
  return { now, claims, signed }
}
export type Asserter = ReturnType<typeof createAsserter>

/** Returns the signer of the service. */
export async function openSigner(t: Test): Promise<Signer> {
  const app = fastify()
  t.teardown(() => app.close())
  await app.register(jwt)
  await app.ready()
  return app.signer
}

/** Authenticates with an assertion. Returns the id of the client, or the refusal. */
type Authenticate = (assertion: string, id?: string | null, caller?: Caller) => Promise<string>

export interface AssertionDomain extends Domain, Asserter {
  authenticate: Authenticate
}

/** Opens the domain with the signer of the service and the clients `keys`, with a key of each algorithm, and `other`. */
export async function openAssertions(t: Test): Promise<AssertionDomain> {
  const domain = await openDomain(t, { signer: await openSigner(t) })
  const { auth, clock } = domain
  const add = (id: string, more: Partial<NewClient>) =>
    auth.clients.create(OPERATOR, {
      id,
      name: id,
      method: 'private_key_jwt',
      grantTypes: ['client_credentials'],
      scopes: ['tokens:introspect'],
      defaultScopes: ['tokens:introspect'],
      ...more
    })
  await add('keys', { jwks: JWKS })
  await add('other', { jwks: { keys: [jwk(OTHER.publicKey)] } })
  return {
    ...domain,
    ...createAsserter({ issuer: ISSUER, now: () => clock.now() / 1000 }),
    async authenticate(assertion, id = null, caller = OPERATOR) {
      try {
        const credentials = { method: 'private_key_jwt', assertion, id } as const
        return (await auth.clientAuthentication.authenticate(caller, credentials)).client.id
      } catch (error) {
        if (error instanceof OAuthError) return `${error.code}: ${error.message}`
        throw error
      }
    }
  }
}
export const REFUSED = 'invalid_client: Client authentication failed'
