import { decodeJwt } from 'jose'
import * as openid from 'openid-client'
import t from 'tap'
import { freePort } from '../cli/process.ts'
import { createJar } from '../jar.ts'
import { plant } from '../secrets.ts'
import { openSignIn } from './sign-in-world.ts'

const port = await freePort()
const issuer = `http://127.0.0.1:${port}`
const clock = { now: Date.now, sleep: async () => {} }
const world = await openSignIn(t, { env: { LATCHKEY_ISSUER: issuer }, clock })
await world.app.listen({ host: '127.0.0.1', port })
const redirectUri = 'http://127.0.0.1:50123/callback'

const [firstParty, anyPort] = [true, ['http://127.0.0.1/callback']]
await world.register('desktop', { firstParty, applicationType: 'native', redirectUris: anyPort })
const { secret } = await world.register('server', {
  firstParty,
  method: 'client_secret_basic',
  redirectUris: [redirectUri]
})
plant(secret)

const CLIENTS: Record<string, openid.ClientAuth> = {
  desktop: openid.None(),
  server: openid.ClientSecretBasic(secret as string)
}

for (const [id, auth] of Object.entries(CLIENTS)) {
  t.test(`openid-client signs a user in with the code flow and refreshes, as the client ${id}`, async (t) => {
    const config = await openid.discovery(new URL(issuer), id, undefined, auth, {
      algorithm: 'oauth2',
      execute: [openid.allowInsecureRequests]
    })
    t.equal(config.serverMetadata().supportsPKCE(), true)
    const verifier = openid.randomPKCECodeVerifier()
    const state = openid.randomState()
    const request = openid.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri,
      scope: 'profile',
      state,
      code_challenge: await openid.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256'
    })
    t.equal(request.origin + request.pathname, `${issuer}/authorize`)
    const { headers } = await createJar(world, issuer).signIn(request.pathname + request.search)
    const response = new URL(String(headers.location))
    // Checks `state` and `iss`.
    const tokens = await openid.authorizationCodeGrant(config, response, {
      pkceCodeVerifier: verifier,
      expectedState: state
    })
    plant(tokens.access_token.split('.')[2], tokens.refresh_token)
    t.match(decodeJwt(tokens.access_token), { iss: issuer, client_id: id, scope: 'profile' })
    const renewed = await openid.refreshTokenGrant(config, tokens.refresh_token as string)
    plant(renewed.access_token.split('.')[2], renewed.refresh_token)
    t.equal((await world.get('/users/me', renewed.access_token)).json().username, 'alice')
    const again = openid.authorizationCodeGrant(config, response, { pkceCodeVerifier: verifier, expectedState: state })
    await t.rejects(again, { cause: { error: 'invalid_grant' } } as object as Error)
    t.equal((await world.get('/users/me', renewed.access_token)).statusCode, 401, 'a code used twice ends the session')
  })
}
