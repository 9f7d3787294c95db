import { basicOf, type Latchkey, logIn, PASSWORD } from './latchkey.ts'
import { request, type Work } from './load.ts'

export const WORKS = ['client_credentials', 'me', 'introspect', 'refresh', 'refresh, 64 connections'] as const
export type WorkName = (typeof WORKS)[number]

/** Where a server answers, and what a caller needs there. */
export interface Target {
  port: number
  paths: { me: string; introspect: string }
  /** Value of the Authorization header of the client. */
  basic: string
  scope: string
  accessToken: string
  /** The token that the client introspects. */
  introspected: string
  /** One for each connection. Each is replaced by the next when it is used. */
  refreshTokens: string[]
}

const CONNECTIONS = 16
const MANY_CONNECTIONS = 64

const repeat = (text: string, connections = CONNECTIONS): Work => ({ connections, next: () => text })

function refresh({ basic, refreshTokens }: Target, connections: number): Work {
  return {
    connections,
    next: (connection) =>
      request('/token', {
        method: 'POST',
        headers: { authorization: basic },
        form: { grant_type: 'refresh_token', refresh_token: refreshTokens[connection] }
      }),
    read(connection, body) {
      refreshTokens[connection] = JSON.parse(body).refresh_token
    }
  }
}

export function workOf(name: WorkName, target: Target): Work {
  const { paths, basic, scope, accessToken, introspected } = target
  const asClient = { method: 'POST', headers: { authorization: basic } }
  switch (name) {
    case 'client_credentials':
      return repeat(request('/token', { ...asClient, form: { grant_type: 'client_credentials', scope } }))
    case 'me':
      return repeat(request(paths.me, { headers: { authorization: `Bearer ${accessToken}` } }))
    case 'introspect':
      return repeat(request(paths.introspect, { ...asClient, form: { token: introspected } }))
    case 'refresh':
      return refresh(target, CONNECTIONS)
    case 'refresh, 64 connections':
      return refresh(target, MANY_CONNECTIONS)
  }
}

/** Logins of a user who is not the user of the other works: new sessions end the oldest ones. */
export const logins = (basic: string): Work =>
  repeat(
    request('/token', {
      method: 'POST',
      headers: { authorization: basic },
      form: { grant_type: 'password', username: 'bob', password: PASSWORD, scope: 'profile' }
    })
  )

/** Token checks with tokens that the server has not seen before, until none is left. */
export function checksOf(tokens: string[]): Work {
  let used = 0
  return {
    connections: CONNECTIONS,
    next() {
      const token = tokens[used++]
      return token === undefined ? null : request('/users/me', { headers: { authorization: `Bearer ${token}` } })
    }
  }
}

/** Refreshes and adds each new access token to `tokens` until there are enough. */
export function collecting(target: Target, tokens: string[], enough: number): Work {
  const work = refresh(target, CONNECTIONS)
  return {
    connections: CONNECTIONS,
    next: (connection) => (tokens.length >= enough ? null : work.next(connection)),
    read(connection, body) {
      tokens.push(JSON.parse(body).access_token)
      work.read?.(connection, body)
    }
  }
}

export async function targetOf({ port, clientSecret, accessToken, refreshTokens }: Latchkey): Promise<Target> {
  const { access_token: introspected = '' } = await logIn(port, clientSecret, 'orders:read')
  return {
    port,
    paths: { me: '/users/me', introspect: '/introspect' },
    basic: basicOf(clientSecret),
    scope: 'orders:read',
    accessToken,
    introspected,
    refreshTokens
  }
}
