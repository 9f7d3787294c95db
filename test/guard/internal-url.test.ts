import t from 'tap'
import { settle } from '../fake-timer.ts'
import { setUp } from './service.ts'

const INTERNAL = 'http://latchkey:3000'

for (const revocation of ['log', 'introspection', 'none'] as const)
  t.test(
    `with internalUrl every request of the guard goes there, and tokens still name the issuer: ${revocation}`,
    async (t) => {
      const hosts = new Set<string>()
      const { app, status, token, issuer, revoke, responders, requests } = await setUp(
        t,
        { revocation, internalUrl: INTERNAL } as object,
        {
          prepare(issuer) {
            const { fetch } = issuer
            issuer.options = {
              ...issuer.options,
              fetch: async (input: string | URL | Request, init?: RequestInit) => {
                hosts.add(new URL(String(input)).origin)
                return fetch(input, init)
              }
            } as never
            issuer.responders.introspect = () =>
              Response.json({ active: true, sub: 'user-1', scope: 'orders:read orders:write', roles: ['admin'] })
          }
        }
      )
      const bearer = token()
      t.equal(await status(bearer), 200)
      t.equal(await status(token({ iss: INTERNAL })), 401)
      t.strictSame([...hosts], [INTERNAL])
      if (revocation === 'log') {
        revoke('session', 'session-1')
        await settle()
      }
      if (revocation === 'introspection') responders.introspect = () => Response.json({ active: false })
      t.equal(await status(bearer), revocation === 'none' ? 200 : 401)
      const paths = new Set(requests.map(({ path }) => path.split('?')[0]))
      t.ok(paths.has('/jwks') && paths.has('/.well-known/oauth-authorization-server'))
      t.equal(paths.has('/revocations') && paths.has('/token'), revocation === 'log')
      t.equal(paths.has('/introspect'), revocation === 'introspection')
      const { authorization_servers } = (await app.inject('/.well-known/oauth-protected-resource')).json()
      t.strictSame(authorization_servers, [issuer])
    }
  )
