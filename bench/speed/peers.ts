import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import formbody from '@fastify/formbody'
import OAuth2Server, { type Client, type Request, type Token } from '@node-oauth/oauth2-server'
import argon2 from 'argon2'
import fastify, { type FastifyRequest } from 'fastify'
import Provider from 'oidc-provider'
import { floor } from './floor.ts'
import {
  CLIENT,
  isSigned,
  jwt,
  PROFILE,
  privateKey,
  REFRESH_TOKENS,
  type Ready,
  TTL_S,
  tokenBody,
  USER
} from './shared.ts'

/**
 * The servers that Latchkey is compared with. Runs as a process of its own, with the name of the server as argument. Sends a `Ready`
 * message to its parent.
 */
export type PeerName = 'bare' | 'floor' | 'node-oauth' | 'oidc-provider' | 'argon2'

const REDIRECT_URI = 'https://app.example/callback'

/** The upper bound for servers on Fastify: returns the same bodies without any check. */
async function bare(): Promise<Ready> {
  const app = fastify()
  await app.register(formbody)
  app.post('/token', async () => tokenBody())
  app.post('/introspect', async () => ({ active: true, ...PROFILE, iat: 1, exp: 2, client_id: CLIENT.id }))
  app.get('/users/me', async () => PROFILE)
  await app.listen({ host: '127.0.0.1', port: 0 })
  return { port: Number(new URL(app.listeningOrigin).port), accessToken: 'none', refreshTokens: [] }
}

/** `@node-oauth/oauth2-server` on Fastify, with maps in memory as its store and ES256 tokens, whose signature it verifies at each use. */
async function nodeOAuth(): Promise<Ready> {
  const client: Client = { id: CLIENT.id, grants: ['client_credentials', 'refresh_token'] }
  const byAccess = new Map<string, Token>()
  const byRefresh = new Map<string, Token>()
  const model = {
    generateAccessToken: async (_: Client, user: { id: string }) => jwt(user.id),
    getClient: async (id: string, secret: string | null) =>
      id === CLIENT.id && (secret === null || secret === CLIENT.secret) ? client : false,
    getUserFromClient: async () => ({ id: CLIENT.id }),
    validateScope: async () => ['profile'],
    verifyScope: async () => true,
    async saveToken(token: Token, of: Client, user: { id: string }) {
      const saved = { ...token, client: of, user }
      byAccess.set(token.accessToken, saved)
      if (token.refreshToken !== undefined) byRefresh.set(token.refreshToken, saved)
      return saved
    },
    getAccessToken: async (token: string) => (isSigned(token) ? (byAccess.get(token) ?? false) : false),
    getRefreshToken: async (token: string) => byRefresh.get(token) ?? false,
    async revokeToken({ refreshToken, accessToken }: Token) {
      byAccess.delete(accessToken)
      return byRefresh.delete(refreshToken as string)
    }
  }
  const server = new OAuth2Server({ model: model as never, accessTokenLifetime: TTL_S })
  const asRequest = ({ method, headers, body, query }: FastifyRequest): Request =>
    new OAuth2Server.Request({ method, headers, body, query } as never)
  const app = fastify()
  await app.register(formbody)
  app.post('/token', async (request) => {
    const response = new OAuth2Server.Response()
    await server.token(asRequest(request), response)
    return response.body
  })
  app.post<{ Body: { token: string } }>('/introspect', async (request, reply) => {
    const [id = '', secret = ''] = Buffer.from(`${request.headers.authorization}`.slice('Basic '.length), 'base64')
      .toString()
      .split(':')
    if ((await model.getClient(id, secret)) === false) return reply.code(401).send()
    const token = await model.getAccessToken(request.body.token)
    if (token === false || (token.accessTokenExpiresAt as Date) < new Date()) return { active: false }
    return { active: true, sub: token.user.id, client_id: token.client.id, exp: token.accessTokenExpiresAt }
  })
  app.get('/users/me', async (request) => {
    const token = await server.authenticate(asRequest(request), new OAuth2Server.Response())
    return { ...PROFILE, id: token.user.id }
  })
  await app.listen({ host: '127.0.0.1', port: 0 })

  const issue = async () => {
    const expiresAt = new Date(Date.now() + TTL_S * 1000)
    const refresh = { refreshToken: randomBytes(20).toString('hex'), refreshTokenExpiresAt: expiresAt }
    const access = { accessToken: jwt(USER.id), accessTokenExpiresAt: expiresAt, scope: ['profile'] }
    return model.saveToken({ ...access, ...refresh } as Token, client, USER)
  }
  const tokens = await Promise.all(Array.from({ length: REFRESH_TOKENS }, issue))
  return {
    port: Number(new URL(app.listeningOrigin).port),
    // A refresh revokes the access token beside the refresh token.
    accessToken: (await issue()).accessToken,
    refreshTokens: tokens.map(({ refreshToken }) => refreshToken as string)
  }
}

/** A store in memory for `oidc-provider`. The package's own forgets all but the last 1,000 entries. */
class MemoryAdapter {
  static readonly #byKey = new Map<string, Record<string, unknown>>()
  readonly #name: string

  constructor(name: string) {
    this.#name = name
  }

  async upsert(id: string, payload: Record<string, unknown>): Promise<void> {
    MemoryAdapter.#byKey.set(`${this.#name} ${id}`, payload)
  }

  async find(id: string): Promise<Record<string, unknown> | undefined> {
    return MemoryAdapter.#byKey.get(`${this.#name} ${id}`)
  }

  async consume(id: string): Promise<void> {
    Object.assign(MemoryAdapter.#byKey.get(`${this.#name} ${id}`) ?? {}, { consumed: Math.floor(Date.now() / 1000) })
  }

  async destroy(id: string): Promise<void> {
    MemoryAdapter.#byKey.delete(`${this.#name} ${id}`)
  }
}

/** `oidc-provider` with a store in memory. The client's tokens are ES256; those of users are opaque, its default. */
async function oidcProvider(): Promise<Ready> {
  const resource = 'https://api.example'
  const provider = new Provider('http://localhost', {
    adapter: MemoryAdapter,
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        grant_types: ['client_credentials', 'refresh_token', 'authorization_code'],
        redirect_uris: [REDIRECT_URI],
        id_token_signed_response_alg: 'ES256'
      }
    ],
    scopes: ['openid', 'profile', 'offline_access'],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username', 'email', 'roles', 'updated_at'] },
    findAccount: (_: object, id: string) => ({
      accountId: id,
      claims: async () => ({ sub: id, name: PROFILE.full_name, preferred_username: PROFILE.username, ...PROFILE })
    }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (context: { oidc: { route: string; params?: Record<string, string> } }) =>
          context.oidc.params?.grant_type === 'client_credentials' ? resource : undefined,
        getResourceServerInfo: () => ({
          scope: 'profile',
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } }
        }),
        useGrantedResource: () => false
      }
    },
    rotateRefreshToken: true,
    cookies: { keys: ['for a bench only'] },
    ttl: { AccessToken: TTL_S, ClientCredentials: TTL_S, RefreshToken: TTL_S, Grant: TTL_S, IdToken: TTL_S },
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', kid: 'one', alg: 'ES256' }] }
  })
  provider.on('server_error', (_, error) => {
    throw error
  })
  const server = createServer(provider.callback())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  const client = await provider.Client.find(CLIENT.id)
  const grant = new provider.Grant({ clientId: CLIENT.id, accountId: USER.id })
  grant.addOIDCScope('openid profile offline_access')
  const login = {
    client,
    accountId: USER.id,
    grantId: await grant.save(),
    gty: 'authorization_code',
    claims: {},
    authTime: Math.floor(Date.now() / 1000)
  }
  const accessToken = await new provider.AccessToken({ ...login, scope: 'openid profile' }).save()
  const refresh = () => new provider.RefreshToken({ ...login, scope: 'openid profile offline_access' }).save()
  const refreshTokens = await Promise.all(Array.from({ length: REFRESH_TOKENS }, refresh))
  return { port: (server.address() as { port: number }).port, accessToken, refreshTokens }
}

/** Verifies a password with the default cost of Latchkey for each request, and does nothing else. */
async function rawArgon2(): Promise<Ready> {
  const password = 'a password for a bench only'
  const hash = await argon2.hash(password, { memoryCost: 19_456, timeCost: 2, parallelism: 1 })
  const app = fastify()
  await app.register(formbody)
  app.post('/token', async () => {
    if (!(await argon2.verify(hash, password))) throw new Error('the password does not match')
    return tokenBody()
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  return { port: Number(new URL(app.listeningOrigin).port), accessToken: 'none', refreshTokens: [] }
}

const SERVERS: Record<PeerName, () => Promise<Ready>> = {
  bare,
  floor,
  'node-oauth': nodeOAuth,
  'oidc-provider': oidcProvider,
  argon2: rawArgon2
}

if (process.send !== undefined) {
  const start = SERVERS[process.argv[2] as PeerName]
  process.send(await start())
  process.once('disconnect', () => process.exit())
}
