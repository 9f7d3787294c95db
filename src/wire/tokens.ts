import { type Static, Type } from '@sinclair/typebox'
import { defined } from '../defined.ts'
import type { IssuedToken } from '../domain/exchange.ts'
import type { Grant } from '../domain/grants/grant.ts'
import type { ActiveToken } from '../domain/introspection.ts'

export const TokenResponse = Type.Object(
  {
    access_token: Type.String({ description: 'A JWT (RFC 9068)' }),
    token_type: Type.Literal('Bearer'),
    expires_in: Type.Integer({ description: 'Seconds' }),
    scope: Type.String({ description: 'The granted scopes, separated by spaces' }),
    id_token: Type.Optional(
      Type.String({
        description: 'Says who has logged in, when and how; only with the scope `openid` (OpenID Connect Core 1.0 §2)'
      })
    ),
    refresh_token: Type.Optional(
      Type.String({ description: 'Renews the session. Valid once; the next response holds its successor' })
    )
  },
  {
    $id: 'TokenResponse',
    description: 'RFC 6749 §5.1',
    examples: [
      {
        access_token: 'eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIs…',
        token_type: 'Bearer',
        expires_in: 300,
        scope: 'profile',
        refresh_token: 'lkr_Zm9vYmFyYmF6…'
      }
    ]
  }
)

const text = (description: string) => Type.Optional(Type.String({ description }))

const assertion = {
  client_assertion_type: text('`urn:ietf:params:oauth:client-assertion-type:jwt-bearer` (RFC 7523 §2.2)'),
  client_assertion: text('A JWT that the client signed; only for clients with keys')
}

/** Returns the schema of the form of a token request, with the parameters of every grant. */
export const tokenRequest = (grants: Grant[]) => {
  const ofGrants = grants.flatMap(({ type, params }) =>
    Object.entries(params).map(([name, description]) => [name, text(`${description} (grant type \`${type}\`)`)])
  )
  return Type.Object(
    {
      grant_type: Type.String({
        description: `One of: ${grants.map(({ type }) => `\`${type}\``).join(', ')}`,
        examples: grants.map(({ type }) => type)
      }),
      ...(Object.fromEntries(ofGrants) as Record<string, ReturnType<typeof text>>),
      scope: text('Scopes, separated by spaces; without it the default scopes of the client'),
      client_id: text('The client; without it a login or a renewal uses the client of /docs'),
      client_secret: text('Only for clients with a secret'),
      ...assertion,
      resource: Type.Optional(
        Type.Array(Type.String(), { description: 'The service that the token is for (RFC 8707)' })
      )
    },
    {
      $id: 'TokenRequest',
      description: 'RFC 6749 §3.2',
      examples: [{ grant_type: 'password', username: 'alice', password: 'a long pass phrase', scope: 'profile' }]
    }
  )
}

export const TokenReference = Type.Object(
  {
    token: Type.String({ description: 'An access token or a refresh token' }),
    token_type_hint: text('Ignored, because the form of a token shows its type'),
    client_id: text('The client'),
    client_secret: text('Only for clients with a secret'),
    ...assertion
  },
  { $id: 'TokenReference', description: 'RFC 7009 §2.1, RFC 7662 §2.1', examples: [{ token: 'lkr_Zm9vYmFyYmF6…' }] }
)

export const Introspection = Type.Object(
  {
    active: Type.Boolean({
      description: 'Whether the token is valid and the client may introspect it. If false, there is no other member'
    }),
    scope: text('The current scopes of the token'),
    client_id: Type.Optional(Type.String()),
    username: Type.Optional(Type.String()),
    token_type: text('`Bearer`; only for an access token'),
    exp: Type.Optional(Type.Integer({ description: 'Seconds since the epoch' })),
    iat: Type.Optional(Type.Integer({ description: 'Seconds since the epoch' })),
    sub: Type.Optional(Type.String()),
    aud: Type.Optional(Type.String()),
    iss: Type.Optional(Type.String()),
    jti: Type.Optional(Type.String()),
    sid: text('The session'),
    roles: Type.Optional(Type.Array(Type.String(), { description: 'The current roles of the user' }))
  },
  {
    $id: 'Introspection',
    description: 'RFC 7662 §2.2',
    examples: [
      { active: false },
      {
        active: true,
        scope: 'profile',
        client_id: 'docs',
        username: 'alice',
        token_type: 'Bearer',
        exp: 1795424700,
        iat: 1795424400,
        sub: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10',
        aud: 'https://id.example.com',
        iss: 'https://id.example.com',
        jti: 'Xb2mB2v1Jw8yYgq3o9cN4g',
        sid: '0199d0a4-8f20-7c11-8a4e-1b6f0d2c9e55',
        roles: ['user']
      }
    ]
  }
)

/** Converts the form of a token request. Spaces around the username are removed, because keyboards of phones add them. */
export function paramsFromWire<T extends object>(body: T): T {
  const { username } = body as { username?: unknown }
  return typeof username === 'string' ? { ...body, username: username.trim() || undefined } : body
}

/** Returns the token of a request to refresh it. The rest of the form may be invalid. Returns null for every other request. */
export function refreshTokenFromWire(form: unknown): string | null {
  const { grant_type: grantType, refresh_token: token } = form as Record<string, unknown>
  return grantType === 'refresh_token' && typeof token === 'string' ? token : null
}

/** Returns the JSON of the response to a token request. */
export const toWire = ({
  accessToken,
  expiresIn,
  scopes,
  refreshToken,
  idToken
}: IssuedToken): Static<typeof TokenResponse> => ({
  access_token: accessToken,
  token_type: 'Bearer',
  expires_in: expiresIn,
  scope: scopes.join(' '),
  ...defined({ refresh_token: refreshToken ?? undefined, id_token: idToken ?? undefined })
})

/** Returns the JSON of the response to an introspection request. @param token null for an invalid token */
export function introspectionToWire(token: ActiveToken | null): Static<typeof Introspection> {
  if (token === null) return { active: false }
  const { scopes, clientId, sub, exp, iat, iss, username, sid } = token
  const access = token.kind === 'access' ? token : undefined
  return {
    active: true,
    scope: scopes.join(' '),
    client_id: clientId,
    sub,
    exp,
    iat,
    iss,
    ...defined({
      username: username ?? undefined,
      token_type: access && 'Bearer',
      aud: access?.aud,
      jti: access?.jti,
      sid: sid ?? undefined,
      roles: access?.roles
    })
  }
}
