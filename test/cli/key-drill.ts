import { setTimeout as sleep } from 'node:timers/promises'
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import type { Test } from 'tap'
import { type Database, PASSWORD } from '../helper.ts'
import { plant } from '../secrets.ts'
import { startInstances, startService } from './instances.ts'
import { login, me } from './process.ts'

const JWKS_MAX_AGE_MS = 1000
/** The client with ID tokens. */
const APP = 'app'
/** Remote key sets keep the JWKS for half of the time that its max-age allows. */
const KEPT = { cooldownDuration: 100, cacheMaxAge: JWKS_MAX_AGE_MS / 2 }
/** How many tokens are kept, to be verified again some rotations later. */
const TOKENS_KEPT = 500

export interface Outcome {
  rotations: number
  seconds: number
  keys: number
  issued: number
  /** By the remote key set. */
  verified: number
  /** By `GET /users/me` at another server than the one that issued. */
  accepted: number
  /** By services with a guard. */
  guarded: number
  /** ID tokens with another algorithm, by the remote key set. */
  identified: number
  /** Refusals of valid tokens; there must be none. */
  refused: string[]
  errors: string[]
  /** The statuses that the tokens of a compromised key got from Latchkey, and whether guards and remote key sets refused them in the end. */
  compromised: { statuses: number[]; guarded: boolean; locally: boolean }
}

interface Session {
  refreshToken: string
}
interface Issued {
  token: string
  /** Which server gave it out. */
  at: number
}

async function post(origin: string, form: Record<string, string>): Promise<Record<string, string>> {
  const response = await fetch(`${origin}/token`, { method: 'POST', body: new URLSearchParams(form) })
  const body = (await response.json()) as Record<string, string>
  if (response.status !== 200) throw new Error(`POST /token: ${response.status} ${body.error}`)
  return body
}

/** How a client gets its next token. */
async function issue(origin: string, session: Session): Promise<string> {
  const answer = await post(origin, { grant_type: 'refresh_token', refresh_token: session.refreshToken })
  session.refreshToken = answer.refresh_token as string
  return answer.access_token as string
}

async function enter(origin: string): Promise<Session> {
  const answer = await post(origin, { grant_type: 'password', username: 'alice', password: PASSWORD })
  return { refreshToken: answer.refresh_token as string }
}

export interface Size {
  rotations: number
  seconds: number
  /** How many clients get tokens, and how many verify them. */
  clients: number
  /** Milliseconds between two requests of one client. */
  pause: number
}

/**
 * Rotates the keys of instances on one database again and again, while clients get tokens, others verify them by the JWKS,
 * and an instance accepts tokens that another has issued. At last one key is compromised.
 */
export async function drill(
  t: Test,
  database: Database,
  { rotations, seconds, clients: count, pause }: Size
): Promise<Outcome> {
  const env = { LATCHKEY_JWKS_MAX_AGE: String(JWKS_MAX_AGE_MS / 1000) }
  const instances = await startInstances(t, { database, count: database === 'sqlite' ? 1 : 2, env })
  const origins = instances.map(({ origin }) => origin)
  const issuer = origins[0] as string
  const originAt = (index: number) => origins[index % origins.length] as string
  const keySet = (index: number) => createRemoteJWKSet(new URL(`${originAt(index)}/.well-known/jwks.json`), { ...KEPT })
  const verify = (token: string, keys: ReturnType<typeof keySet>) =>
    jwtVerify(token, keys, { issuer, audience: issuer, typ: 'at+jwt' })

  const outcome: Outcome = {
    rotations: 0,
    seconds: 0,
    keys: 0,
    issued: 0,
    verified: 0,
    accepted: 0,
    guarded: 0,
    identified: 0,
    refused: [],
    errors: [],
    compromised: { statuses: [], guarded: false, locally: false }
  }
  const { refused, errors } = outcome
  let working = true
  /** Issued tokens of different ages. A new token overwrites the oldest one. */
  const kept: Issued[] = []
  let newest: Issued | undefined

  async function issuing(index: number): Promise<void> {
    const session = await enter(originAt(index))
    for (let turn = index; working; turn++) {
      newest = { token: await issue(originAt(turn), session), at: turn }
      kept[outcome.issued++ % TOKENS_KEPT] = newest
      await sleep(pause)
    }
  }
  async function verifying(index: number): Promise<void> {
    const keys = keySet(index)
    for (let turn = index; working; turn++) {
      await sleep(pause)
      const issued = turn % 2 === 0 ? newest : kept[Math.floor(Math.random() * kept.length)]
      if (issued === undefined) continue
      const locally = verify(issued.token, keys).then(
        () => void outcome.verified++,
        (error: Error) => refused.push(`locally: ${error.message}`)
      )
      const guarded = guardAt(index).call(issued.token)
      const { status } = await me(originAt(issued.at + 1), issued.token)
      if (status === 200) outcome.accepted++
      else refused.push(`GET /users/me: ${status}`)
      if ((await guarded) === 200) outcome.guarded++
      else refused.push(`a guard: ${await guarded}`)
      await locally
    }
  }
  /** Gets and verifies ID tokens, whose keys are those of another algorithm. */
  async function identifying(): Promise<void> {
    const keys = keySet(1)
    const login = { grant_type: 'password', username: 'alice', password: PASSWORD }
    let answer = await post(originAt(0), { ...login, client_id: APP })
    for (let turn = 0; working; turn++) {
      await jwtVerify(answer.id_token as string, keys, { issuer, audience: APP, algorithms: ['RS256'] }).then(
        () => void outcome.identified++,
        (error: Error) => refused.push(`an ID token: ${error.message}`)
      )
      await sleep(pause)
      const renewal = { grant_type: 'refresh_token', refresh_token: answer.refresh_token as string }
      answer = await post(originAt(turn), { ...renewal, client_id: APP })
    }
  }
  const failing = (error: Error) => {
    working = false
    errors.push(`${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ''}`)
  }

  const admin = await login(originAt(0), 'admin', PASSWORD, 'keys:read keys:write clients:write resources:write')
  const send = (origin: string, path: string, body: object = {}, method = 'POST') =>
    fetch(`${origin}${path}`, {
      method,
      headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' },
      body: JSON.stringify(body)
    })

  const registered = await send(originAt(0), '/clients', {
    client_name: 'Guards',
    grant_types: ['client_credentials'],
    scope: 'revocations:read'
  })
  const follower = (await registered.json()) as { client_id: string; client_secret: string }
  plant(follower.client_secret)
  await send(originAt(0), '/resources/latchkey', { introspection_clients: [follower.client_id] }, 'PATCH')
  await send(originAt(0), '/clients', {
    client_id: APP,
    client_name: 'App',
    token_endpoint_auth_method: 'none',
    first_party: true,
    grant_types: ['password', 'refresh_token'],
    scope: 'openid',
    id_token_signed_response_alg: 'RS256'
  })
  const guards = await Promise.all(
    origins.map((upstream) =>
      startService(t, {
        issuer,
        upstream,
        audience: issuer,
        clientId: follower.client_id,
        clientSecret: follower.client_secret,
        staleAfter: 10,
        scope: 'profile'
      })
    )
  )
  const guardAt = (index: number) => guards[index % guards.length] as (typeof guards)[0]

  const clients = [
    identifying().catch(failing),
    ...Array.from({ length: count }, (_, index) => issuing(index).catch(failing)),
    ...Array.from({ length: count }, (_, index) => verifying(index).catch(failing))
  ]
  const started = performance.now()
  for (let round = 0; round < rotations && working; round++) {
    // Waits at least until the newest published key may sign, also when the previous rotation was late.
    await sleep(
      Math.max(JWKS_MAX_AGE_MS + 20, started + ((round + 1) * seconds * 1000) / rotations - performance.now())
    )
    const response = await send(originAt(round), '/keys/rotate')
    if (response.status === 200) outcome.rotations++
    else errors.push(`POST /keys/rotate: ${response.status} ${await response.text()}`)
  }
  outcome.seconds = Math.round(performance.now() - started) / 1000
  await sleep(100)
  working = false
  await Promise.all(clients)
  if (errors.length > 0) return outcome

  const published = async (origin: string) => {
    const response = await fetch(`${origin}/.well-known/jwks.json`)
    return ((await response.json()) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid)
  }
  outcome.keys = (await published(originAt(0))).length

  const session = await enter(originAt(0))
  const [token, keys] = [await issue(originAt(0), session), keySet(1)]
  await verify(token, keys)
  for (const origin of origins) if ((await me(origin, token)).status !== 200) errors.push('a new token is refused')
  for (const service of guards) if ((await service.call(token)) !== 200) errors.push('a guard refuses a new token')
  const kid = decodeProtectedHeader(token).kid as string
  const retired = await send(originAt(0), `/keys/${kid}/retire`, { compromised: true })
  if (retired.status !== 200) errors.push(`retire: ${retired.status} ${await retired.text()}`)
  for (const origin of origins) {
    outcome.compromised.statuses.push((await me(origin, token)).status)
    if ((await published(origin)).includes(kid)) errors.push('a compromised key is still in the JWKS')
  }
  const patience = performance.now() + 60_000
  const refuses = async (accepts: () => Promise<boolean>) => {
    while (await accepts()) {
      if (performance.now() > patience) return false
      await sleep(10)
    }
    return true
  }
  outcome.compromised.guarded = true
  for (const service of guards)
    if (!(await refuses(async () => (await service.call(token)) === 200))) outcome.compromised.guarded = false
  outcome.compromised.locally = await refuses(() =>
    verify(token, keys).then(
      () => true,
      () => false
    )
  )
  for (const [index, origin] of origins.entries()) {
    const fresh = await issue(origin, session)
    await verify(fresh, keySet(index)).catch((error: Error) => refused.push(`next key: ${error.message}`))
    if ((await me(originAt(index + 1), fresh)).status !== 200) refused.push('a token of the next key')
    for (const service of guards)
      if ((await service.call(fresh)) !== 200) refused.push('a token of the next key, by a guard')
  }
  return outcome
}
