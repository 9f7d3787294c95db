import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose'
import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { basic } from '../basic.ts'
import { ISSUER, PASSWORD } from '../helper.ts'
import { createJar, formOf, responseOf } from '../jar.ts'
import { plant } from '../secrets.ts'
import { openSignIn } from './sign-in-world.ts'

export const CALLBACK = 'https://suite.example/callback'
export const ALL_SCOPES = 'openid profile email address phone'

type Params = Record<string, string | undefined>
type Jar = ReturnType<typeof createJar>
type Page = 'sign-in' | 'consent' | 'error'

/** Tokens of a response of the token endpoint. */
export interface Tokens {
  access_token: string
  refresh_token: string
  id_token: string
  scope?: string
}

/**
 * Opens an app with the clients that the conformance suite needs. Its confidential clients send no PKCE, as the suite sends none. The user
 * alice has a full name and an e-mail address.
 */
export async function openSuite(t: Test) {
  const world = await openSignIn(t)
  const { app, clock, inject, token } = world
  const secrets: Record<string, string> = {}
  for (const [id, more] of [
    ['suite', {}],
    ['suite-two', {}],
    ['suite-post', { method: 'client_secret_post' }],
    ['suite-rs256', { idTokenAlg: 'RS256' }]
  ] as const) {
    const { secret } = await world.register(id, {
      method: 'client_secret_basic',
      requirePkce: false,
      scopes: ['openid', 'profile', 'email'],
      redirectUris: [CALLBACK],
      ...more
    })
    secrets[id] = secret as string
    plant(secret)
  }
  const [alice] = (await app.auth.users.list({ after: null, limit: 10 }, { search: 'alice' })).items
  const sub = alice?.id as string
  await app.auth.users.change(OPERATOR, sub, { fullName: 'Alice Liddell', email: 'alice@example.com' })

  const paramsOf = (more: Params): Record<string, string> => {
    const all = {
      response_type: 'code',
      client_id: 'suite',
      redirect_uri: CALLBACK,
      scope: 'openid',
      state: 'a state',
      nonce: 'a nonce',
      ...more
    }
    return Object.fromEntries(Object.entries(all).filter((each): each is [string, string] => each[1] !== undefined))
  }

  /**
   * Sends an authorization request and does what its pages ask for, until the browser is back at the client or sees an error.
   * @param options `jar` is the browser, by default a new one; `post` sends the request as a form
   */
  async function authorize(
    more: Params = {},
    { jar = createJar(world), post = false }: { jar?: Jar; post?: boolean } = {}
  ) {
    const shown: Page[] = []
    const texts: string[] = []
    const asked = paramsOf(more)
    let answer = post
      ? await jar.post('/authorize', asked, { origin: 'https://suite.example', 'sec-fetch-site': 'cross-site' })
      : await jar.get(`/authorize?${new URLSearchParams(asked)}`)
    for (;;) {
      const { location } = answer.headers
      if (location !== undefined && String(location).startsWith('/')) {
        answer = await jar.get(String(location))
        continue
      }
      if (location !== undefined) break
      texts.push(answer.body)
      const { fields } = formOf(answer)
      const page: Page = 'decision' in fields ? 'consent' : /name="password"/.test(answer.body) ? 'sign-in' : 'error'
      // A page that comes twice would come for ever.
      if (page === 'error' || shown.includes(page))
        return { shown: [...shown, page], texts, jar, answer, response: null }
      shown.push(page)
      answer = await jar.submit(
        answer,
        page === 'consent' ? { decision: 'allow' } : { username: 'alice', password: PASSWORD }
      )
    }
    return { shown, texts, jar, answer, response: responseOf(answer) }
  }

  /** Redeems a code with the secret in the Basic header. */
  const redeem = (code: string | undefined, client = 'suite') =>
    token(
      { grant_type: 'authorization_code', code: code as string, redirect_uri: CALLBACK },
      { authorization: basic(client, secrets[client] as string) }
    )

  const jwks = async () => (await inject({ method: 'GET', url: '/.well-known/jwks.json' })).json<JSONWebKeySet>()

  /** Verifies an ID token with the published keys (OpenID Connect Core 1.0 §3.1.3.7). */
  async function verify(idToken: string, audience = 'suite'): Promise<{ alg: string; claims: JWTPayload }> {
    const { payload, protectedHeader } = await jwtVerify(idToken, createLocalJWKSet(await jwks()), {
      issuer: ISSUER,
      audience,
      requiredClaims: ['sub', 'iat', 'exp'],
      currentDate: new Date(clock.now())
    })
    return { alg: protectedHeader.alg, claims: payload }
  }

  /** The whole flow: authorization request, redemption, and verification of the ID token. @throws Error when a part fails */
  async function flow(more: Params = {}, options: Parameters<typeof authorize>[1] = {}) {
    const client = more.client_id ?? 'suite'
    const authorized = await authorize(more, options)
    const redeemed = await redeem(authorized.response?.params.code, client)
    if (redeemed.statusCode !== 200) throw new Error(redeemed.body)
    const tokens = redeemed.json<Tokens>()
    return { ...authorized, tokens, ...(await verify(tokens.id_token, client)) }
  }

  const userInfo = (accessToken: string) =>
    inject({ method: 'GET', url: '/userinfo', headers: { authorization: `Bearer ${accessToken}` } })

  return { ...world, sub, secrets, authorize, redeem, verify, flow, userInfo, jwks }
}
