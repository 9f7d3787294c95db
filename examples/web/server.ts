import { randomBytes } from 'node:crypto'
import cookie from '@fastify/cookie'
import fastify, { type FastifyReply } from 'fastify'
import * as oidc from 'openid-client'

const { ISSUER = 'http://localhost:3000', CLIENT_ID = 'web', CLIENT_SECRET = '', PORT = '8080' } = process.env
const origin = `http://localhost:${PORT}`
const redirectUri = `${origin}/callback`
/** Plain http is for a Latchkey on localhost only. */
const execute = ISSUER.startsWith('http:') ? [oidc.allowInsecureRequests] : []
const config = await oidc.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, { execute })

/** What the browser with a cookie is doing: signing in, or signed in. Several servers would keep this in a database. */
type Session =
  | { verifier: string; state: string; nonce: string; user?: never }
  | { user: string; idToken: string; verifier?: never }
const sessions = new Map<string, Session>()

/** Starts a session under a new id, so that nobody can plant an id before the sign-in. */
function begin(reply: FastifyReply, previous: string | undefined, session: Session): void {
  if (previous !== undefined) sessions.delete(previous)
  const id = randomBytes(32).toString('base64url')
  sessions.set(id, session)
  reply.setCookie('session', id, { httpOnly: true, sameSite: 'lax', path: '/', secure: origin.startsWith('https:') })
}

const app = fastify({ logger: true })
await app.register(cookie)
// The only form has no fields.
app.addContentTypeParser('application/x-www-form-urlencoded', async () => null)

app.get('/', async ({ cookies }, reply) => {
  const session = sessions.get(cookies.session ?? '')
  reply.type('text/html; charset=utf-8')
  if (session?.user === undefined) return '<h1>Hello</h1><a href="/sign-in">Sign in</a>'
  const name = session.user.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<h1>Hello ${name}</h1><form method="post" action="/sign-out"><button>Sign out</button></form>`
})

app.get('/sign-in', async ({ cookies }, reply) => {
  const verifier = oidc.randomPKCECodeVerifier()
  const [state, nonce] = [oidc.randomState(), oidc.randomNonce()]
  begin(reply, cookies.session, { verifier, state, nonce })
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: 'openid profile',
    state,
    nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256'
  })
  return reply.redirect(url.href)
})

app.get('/callback', async ({ url, cookies }, reply) => {
  const attempt = sessions.get(cookies.session ?? '')
  if (attempt?.verifier === undefined) return reply.redirect('/')
  try {
    const tokens = await oidc.authorizationCodeGrant(config, new URL(url, origin), {
      pkceCodeVerifier: attempt.verifier,
      expectedState: attempt.state,
      expectedNonce: attempt.nonce
    })
    const { sub = '' } = tokens.claims() ?? {}
    const { name, preferred_username: username = sub } = await oidc.fetchUserInfo(config, tokens.access_token, sub)
    begin(reply, cookies.session, { user: name ?? username, idToken: tokens.id_token ?? '' })
    return reply.redirect('/')
  } catch (error) {
    app.log.info(error)
    return reply.code(400).send('You are not signed in. Go back and try again.')
  }
})

app.post('/sign-out', async ({ cookies }, reply) => {
  const session = sessions.get(cookies.session ?? '')
  sessions.delete(cookies.session ?? '')
  reply.clearCookie('session', { path: '/' })
  if (session?.user === undefined) return reply.redirect('/', 303)
  const parameters = { id_token_hint: session.idToken, post_logout_redirect_uri: `${origin}/` }
  return reply.redirect(oidc.buildEndSessionUrl(config, parameters).href, 303)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close())
await app.listen({ host: 'localhost', port: Number(PORT) })
