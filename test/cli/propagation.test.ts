import { setTimeout as sleep } from 'node:timers/promises'
import { decodeProtectedHeader } from 'jose'
import t from 'tap'
import { PASSWORD } from '../helper.ts'
import { plant } from '../secrets.ts'
import { startInstances, startService } from './instances.ts'
import { login } from './process.ts'

/** Each kind of revocation once; 1,000 revocations in the soak. */
const REVOCATIONS = 2 * Number(process.env.LATCHKEY_ROUNDS ?? 3)
const CALLERS = 2
const AUDIENCE = 'https://orders.example'
/** Seconds: the least that is allowed. */
const STALE_AFTER = 4
/** Milliseconds: far more than a revocation takes to arrive, on a busy machine too. */
const PATIENCE = 60_000
const ADMIN_SCOPES = 'users:read users:write roles:write clients:write resources:write keys:read keys:write'

type Answer = Record<string, string> & { user: { id: string }; id: string; client_id: string; client_secret: string }

t.test(
  'every service refuses what any instance revoked, and nothing else; a service that is cut off answers 503',
  async (t) => {
    const env = { LATCHKEY_ACCESS_TOKEN_TTL: '3600' }
    const servers = await startInstances(t, { database: 'postgres', count: 2, env })
    const issuer = (servers[0] as { origin: string }).origin
    const anywhere = () => (servers[Math.floor(Math.random() * servers.length)] as { origin: string }).origin

    let admin = await login(issuer, 'admin', PASSWORD, ADMIN_SCOPES)
    async function ask(method: string, path: string, body?: object): Promise<Answer> {
      const response = await fetch(anywhere() + path, {
        method,
        headers: {
          authorization: `Bearer ${admin}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' })
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) })
      })
      const text = await response.text()
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
      const answer = text === '' ? {} : JSON.parse(text)
      plant(answer.client_secret)
      return answer
    }
    async function form(path: string, fields: Record<string, string>, headers: Record<string, string> = {}) {
      const response = await fetch(anywhere() + path, { method: 'POST', body: new URLSearchParams(fields), headers })
      const text = await response.text()
      if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${text}`)
      const answer = text === '' ? {} : JSON.parse(text)
      plant(...(answer.access_token ?? '').split('.').slice(2), answer.refresh_token)
      return answer as Record<string, string>
    }
    const basic = (client: Answer) => ({
      authorization: `Basic ${Buffer.from(`${client.client_id}:${client.client_secret}`).toString('base64')}`
    })

    await ask('POST', '/resources', {
      id: 'orders',
      resource: AUDIENCE,
      name: 'Orders',
      scopes: [{ name: 'orders:read' }]
    })
    await ask('POST', '/roles', { name: 'clerk', description: '', scopes: ['orders:read'] })
    const grants = ['password', 'refresh_token']
    const publicly = {
      token_endpoint_auth_method: 'none',
      first_party: true,
      grant_types: grants,
      scope: 'orders:read'
    }
    await ask('POST', '/clients', { client_id: 'shop', client_name: 'Shop', ...publicly })
    const follower = await ask('POST', '/clients', {
      client_id: 'guard',
      client_name: 'Guard',
      grant_types: ['client_credentials'],
      scope: 'revocations:read'
    })
    await ask('PATCH', '/resources/orders', { introspection_clients: ['guard'] })

    const services = await Promise.all(
      servers.map(({ origin: upstream }) =>
        startService(t, {
          issuer,
          upstream,
          audience: AUDIENCE,
          clientId: follower.client_id,
          clientSecret: follower.client_secret,
          staleAfter: STALE_AFTER,
          scope: 'orders:read'
        })
      )
    )

    let people = 0
    async function person(roles = ['clerk']): Promise<{ id: string; username: string }> {
      const username = `person${people++}`
      const { id } = await ask('POST', '/users', { username, password: PASSWORD, roles })
      return { id, username }
    }
    const enter = (username: string) =>
      form('/token', { grant_type: 'password', client_id: 'shop', username, password: PASSWORD })

    /** Keys that were compromised: no token of theirs is valid. */
    const lost = new Set<string>()
    const kidOf = (token: string) => decodeProtectedHeader(token).kid as string

    /** Each makes something that can be revoked. Returns a token that depends on it, and how it is revoked. */
    const kinds: (() => Promise<{ token: string; revoke: () => Promise<unknown> }>)[] = [
      async () => {
        const { access_token: token = '' } = await enter((await person()).username)
        return { token, revoke: () => form('/revoke', { client_id: 'shop', token }) }
      },
      async () => {
        const { access_token: token = '', refresh_token: session = '' } = await enter((await person()).username)
        return { token, revoke: () => form('/revoke', { client_id: 'shop', token: session }) }
      },
      async () => {
        const { id, username } = await person()
        const { access_token: token = '' } = await enter(username)
        return { token, revoke: () => ask('PATCH', `/users/${id}`, { disabled: true }) }
      },
      async () => {
        const grant = 'client_credentials'
        const client = await ask('POST', '/clients', {
          client_name: 'Caller',
          grant_types: [grant],
          scope: 'orders:read'
        })
        const { access_token: token = '' } = await form('/token', { grant_type: grant }, basic(client))
        return { token, revoke: () => ask('PATCH', `/clients/${client.client_id}`, { disabled: true }) }
      },
      async () => {
        const role = `role${people}`
        await ask('POST', '/roles', { name: role, description: '', scopes: ['orders:read'] })
        const { access_token: token = '' } = await enter((await person([role])).username)
        return { token, revoke: () => ask('PATCH', `/roles/${role}`, { scopes: [] }) }
      }
    ]
    const compromisedKey = async () => {
      const { access_token: token = '' } = await enter((await person()).username)
      const kid = kidOf(token)
      return {
        token,
        async revoke() {
          lost.add(kid)
          await ask('POST', `/keys/${kid}/retire`, { compromised: true })
          admin = await login(issuer, 'admin', PASSWORD, ADMIN_SCOPES)
        }
      }
    }

    const wrong: string[] = []
    let calls = 0
    let working = true
    async function calling(): Promise<void> {
      const { username } = await person()
      let token = (await enter(username)).access_token as string
      while (working) {
        for (const service of services) {
          const isValid = !lost.has(kidOf(token))
          const status = await service.call(token)
          calls++
          if (status !== 200 && isValid && !lost.has(kidOf(token))) wrong.push(`a valid token: ${status}`)
        }
        if (lost.has(kidOf(token))) token = (await enter(username)).access_token as string
        await sleep(20)
      }
    }
    const callers = Array.from({ length: CALLERS }, () => calling().catch((error) => wrong.push(String(error))))

    const all = [...kinds, compromisedKey]
    for (let round = 0; round < REVOCATIONS; round++) {
      const { token, revoke } = await (all[round % all.length] as (typeof all)[0])()
      for (const service of services) {
        const status = await service.call(token)
        if (status !== 200) wrong.push(`round ${round}, before: ${status}`)
      }
      await revoke()
      const since = performance.now()
      await Promise.all(
        services.map(async (service) => {
          let status = 200
          while (status === 200 && performance.now() - since < PATIENCE) {
            status = await service.call(token)
            if (status === 200) await sleep(4)
          }
          if (status !== 401) wrong.push(`round ${round}, after: ${status}`)
        })
      )
    }
    t.strictSame(wrong, [], 'no revocation is missed, no valid token is refused')
    t.ok(calls > 0, 'others called meanwhile')

    const [cut] = services as [(typeof services)[0]]
    const { access_token: valid = '' } = await enter((await person()).username)
    const victims = await Promise.all(kinds.map((kind) => kind()))
    working = false
    await Promise.all(callers)
    for (const { token } of [...victims, { token: valid }]) t.equal(await cut.call(token), 200)
    cut.cut()
    for (const { revoke } of victims) await revoke()
    const cutAt = performance.now()
    while ((await cut.call(valid)) === 200 && performance.now() - cutAt < PATIENCE) await sleep(20)
    t.equal(await cut.call(valid), 503)
    for (const { token } of victims) t.equal(await cut.call(token), 503)
    cut.restore()
    const backAt = performance.now()
    let first: number[] = []
    do {
      first = await Promise.all(victims.map(({ token }) => cut.call(token)))
      await sleep(20)
    } while (first.includes(503) && performance.now() - backAt < PATIENCE)
    t.strictSame(
      first,
      victims.map(() => 401),
      'no revocation was missed'
    )
    t.equal(await cut.call(valid), 200)
  }
)
