import { createHmac, createSecretKey, hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import formbody from '@fastify/formbody'
import fastify, { type FastifyRequest } from 'fastify'
import { CLIENT, isSigned, jwt, PROFILE, REFRESH_TOKENS, type Ready, TTL_S, tokenBody, USER } from './shared.ts'

const MAC_KEY = createSecretKey(randomBytes(32))
const refused = () => Object.assign(new Error('refused'), { statusCode: 401 })

/** A refresh token: the session and the number of renewals, with a MAC. */
function refreshToken(session: string, counter: number): string {
  const content = `${session}.${counter}`
  return `${content}.${createHmac('sha256', MAC_KEY).update(content).digest('base64url')}`
}

function openDatabase() {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  chmodSync(directory, 0o700)
  const database = new DatabaseSync(join(directory, 'floor.db'))
  database.exec('pragma journal_mode = wal; pragma synchronous = full')
  database.exec('create table clients (id text primary key, secret_hash text not null)')
  database.exec('create table sessions (id text primary key, client_id text, counter integer, ended_at integer)')
  database.prepare('insert into clients values (?, ?)').run(CLIENT.id, hash('sha256', CLIENT.secret, 'base64url'))
  for (let session = 0; session < REFRESH_TOKENS; session++)
    database.prepare('insert into sessions values (?, ?, 0, null)').run(`session-${session}`, CLIENT.id)
  return database
}

/**
 * The least that a server on Fastify with the guarantees of Latchkey does at each request: tokens signed with ES256, hashed client
 * secrets, refresh tokens with a MAC, the live state from SQLite, renewals in a group commit that waits for the disk. It has no logs, limits,
 * deadlines, scopes, roles, validation, errors or headers.
 */
export async function floor(): Promise<Ready> {
  const database = openDatabase()
  const secretOf = database.prepare('select secret_hash from clients where id = ?')
  const stateOf = database.prepare(
    'select counter, secret_hash from sessions join clients on clients.id = client_id where sessions.id = ? and ended_at is null'
  )
  const renew = database.prepare('update sessions set counter = counter + 1 where id = ? and counter = ?')
  const [begin, commit] = [database.prepare('begin immediate'), database.prepare('commit')]
  const verified = new Map<string, boolean>()

  function authenticate(request: FastifyRequest): void {
    const basic = Buffer.from(`${request.headers.authorization}`.slice('Basic '.length), 'base64').toString()
    const [id = '', secret = ''] = basic.split(':')
    const row = secretOf.get(id)
    const hashed = Buffer.from(hash('sha256', secret, 'base64url'))
    if (row === undefined || !timingSafeEqual(hashed, Buffer.from(row.secret_hash as string))) throw refused()
  }

  function check(token: string): void {
    const isValid = verified.get(token) ?? isSigned(token)
    verified.set(token, isValid)
    if (!isValid || stateOf.get('session-0') === undefined) throw refused()
  }

  let renewals: { session: string; counter: number; resolve: (renewed: boolean) => void }[] = []
  function commitAll(): void {
    const group = renewals
    renewals = []
    begin.run()
    const changes = group.map(({ session, counter }) => renew.run(session, counter).changes)
    commit.run()
    for (const [index, { resolve }] of group.entries()) resolve(changes[index] === 1)
  }
  const renewed = (session: string, counter: number): Promise<boolean> =>
    new Promise((resolve) => {
      if (renewals.push({ session, counter, resolve }) === 1) setImmediate(commitAll)
    })

  async function refresh(token: string): Promise<object> {
    const [session = '', count] = token.split('.')
    const counter = Number(count)
    if (!timingSafeEqual(Buffer.from(token), Buffer.from(refreshToken(session, counter)))) throw refused()
    const state = stateOf.get(session)
    const body = { ...tokenBody(), refresh_token: refreshToken(session, counter + 1) }
    if (state?.counter !== counter || !(await renewed(session, counter))) throw refused()
    return body
  }

  const app = fastify()
  await app.register(formbody)
  app.post<{ Body: { grant_type: string; refresh_token: string } }>('/token', async (request) => {
    authenticate(request)
    return request.body.grant_type === 'refresh_token' ? refresh(request.body.refresh_token) : tokenBody()
  })
  app.post<{ Body: { token: string } }>('/introspect', async (request) => {
    authenticate(request)
    check(request.body.token)
    return { active: true, ...PROFILE, iat: 1, exp: 1 + TTL_S, client_id: CLIENT.id }
  })
  app.get('/users/me', async (request) => {
    check(`${request.headers.authorization}`.slice('Bearer '.length))
    return PROFILE
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    port: Number(new URL(app.listeningOrigin).port),
    accessToken: jwt(USER.id),
    refreshTokens: Array.from({ length: REFRESH_TOKENS }, (_, session) => refreshToken(`session-${session}`, 0))
  }
}
