import type { Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import type { NewClient } from '../../src/domain/clients.ts'
import { build, type TestApp } from '../helper.ts'
import { authorizeUrl, createJar, pkce, responseOf } from '../jar.ts'

export const CALLBACK = 'https://app.example/callback'

/** Opens an app with the public clients `spa`, which asks for consent, and `own`, which is first-party. */
export async function openSignIn(t: Test, options: Parameters<typeof build>[1] = {}) {
  const world = await build(t, options)
  const register = (id: string, more: Partial<NewClient> = {}) =>
    world.app.auth.clients.create(OPERATOR, {
      id,
      name: `The app ${id}`,
      method: 'none',
      grantTypes: ['authorization_code', 'refresh_token'],
      scopes: ['profile'],
      redirectUris: [CALLBACK],
      ...more
    })
  await register('spa')
  await register('own', { firstParty: true })
  return { ...world, register, ...signInOf(world) }
}

/** Returns functions for the sign-in at an app. */
export function signInOf(world: TestApp) {
  /** Signs alice in for a client without consent, and returns the code. */
  async function codeOf(params: Record<string, string | undefined> = {}, jar = createJar(world)): Promise<string> {
    const url = authorizeUrl({ client_id: 'own', redirect_uri: CALLBACK, ...params })
    const page = await jar.get(url)
    const answer = page.statusCode === 303 ? page : await jar.signIn(url)
    return responseOf(answer).params.code as string
  }

  /** Redeems a code. A parameter that is undefined is left out. */
  const redeem = (code: string, verifier: string | undefined, more: Record<string, string | undefined> = {}) => {
    const form = {
      grant_type: 'authorization_code',
      client_id: 'own',
      redirect_uri: CALLBACK,
      code,
      code_verifier: verifier,
      ...more
    }
    return world.token(
      Object.fromEntries(Object.entries(form).filter((each): each is [string, string] => each[1] !== undefined))
    )
  }

  /** Signs alice in and redeems the code. */
  async function signedIn(jar = createJar(world)) {
    const { verifier, challenge } = pkce()
    const code = await codeOf({ code_challenge: challenge }, jar)
    return { code, verifier, response: await redeem(code, verifier) }
  }

  return { codeOf, redeem, signedIn, jar: () => createJar(world) }
}
