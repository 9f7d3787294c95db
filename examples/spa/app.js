import * as oauth from './oauth4webapi.js'

const { issuer, clientId } = await (await fetch('/settings.json')).json()
const client = { client_id: clientId }
const redirectUri = `${location.origin}/`
/** Plain http is for a Latchkey on localhost only. */
const options = { [oauth.allowInsecureRequests]: new URL(issuer).protocol === 'http:' }
const server = await oauth.processDiscoveryResponse(
  new URL(issuer),
  await oauth.discoveryRequest(new URL(issuer), options)
)

/** The tokens of the page, in memory only: a reload forgets them. @type {{ access: string, id: string, sub: string, expiresAt: number } | null} */
let tokens = null

/**
 * Leaves the page for the sign-in page. Nobody types a password again while the browser is signed in at Latchkey, so this is also how the
 * app gets a new token when the token has expired or the page was loaded again.
 */
async function signIn() {
  const verifier = oauth.generateRandomCodeVerifier()
  const attempt = { verifier, state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce() }
  sessionStorage.setItem('attempt', JSON.stringify(attempt))
  const url = new URL(server.authorization_endpoint)
  url.search = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    scope: 'openid profile',
    state: attempt.state,
    nonce: attempt.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256'
  })
  location.assign(url)
}

/** Redeems the code with which the browser came back. @throws Error when the user or Latchkey refused */
async function finish() {
  const url = new URL(location.href)
  const { verifier, state, nonce } = JSON.parse(sessionStorage.getItem('attempt') ?? '{}')
  sessionStorage.removeItem('attempt')
  history.replaceState(null, '', redirectUri)
  if (state === undefined) return
  const params = oauth.validateAuthResponse(server, client, url, state)
  const response = await oauth.processAuthorizationCodeResponse(
    server,
    client,
    await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), params, redirectUri, verifier, options),
    { expectedNonce: nonce, requireIdToken: true }
  )
  tokens = {
    access: response.access_token,
    id: response.id_token,
    sub: oauth.getValidatedIdTokenClaims(response).sub,
    expiresAt: Date.now() + response.expires_in * 1000
  }
}

/** Shows the name of the user. */
async function greet() {
  if (Date.now() >= tokens.expiresAt) return signIn()
  const response = await oauth.userInfoRequest(server, client, tokens.access, options)
  const user = await oauth.processUserInfoResponse(server, client, tokens.sub, response)
  document.querySelector('h1').textContent = `Hello ${user.name ?? user.preferred_username}`
}

/** Ends the login at Latchkey too. */
function signOut() {
  const url = new URL(server.end_session_endpoint)
  url.search = new URLSearchParams({ id_token_hint: tokens.id, post_logout_redirect_uri: redirectUri })
  location.assign(url)
}

const button = (id) => document.getElementById(id)
button('sign-in').addEventListener('click', signIn)
button('refresh').addEventListener('click', greet)
button('sign-out').addEventListener('click', signOut)
try {
  if (new URL(location.href).searchParams.has('state')) await finish()
  if (tokens !== null) await greet()
} catch (error) {
  document.querySelector('[role=status]').textContent = error.error_description ?? error.message
}
button('sign-in').hidden = tokens !== null
button('refresh').hidden = button('sign-out').hidden = tokens === null
