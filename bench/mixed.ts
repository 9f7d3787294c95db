import { LOAD_CPU, moveToCpu } from './speed/cpu.ts'
import { PASSWORD } from './speed/latchkey.ts'
import { load, request } from './speed/load.ts'
import { startOn } from './speed/servers.ts'
import type { Target } from './speed/works.ts'

/**
 * Sends a mixture of requests over 16 connections: 60 % token checks, 20 % introspections, 15 % refreshes, 5 % logins. Each login also ends the
 * previous session of its connection, and the next check presents the token of that session, which must be refused. Stops at the first
 * response that is not the expected one. Prints the p99 of each kind.
 *
 *     node bench/mixed.ts [seconds, by default 60] [sqlite or postgres, by default both]
 */
const [, , seconds = '60', only] = process.argv

type Kind = 'check' | 'introspection' | 'refresh' | 'login' | 'revocation' | 'check of an ended session'

const CONNECTIONS = 16
const TURN: Kind[] = [
  ...['login', 'revocation', 'check of an ended session', 'check', 'check', 'introspection', 'check', 'refresh'],
  ...['check', 'check', 'introspection', 'check', 'check', 'refresh', 'check', 'introspection', 'check', 'check'],
  ...['refresh', 'check', 'introspection']
] as Kind[]

interface Tokens {
  access: string
  refresh: string
}

function mixture({ paths, basic, refreshTokens, introspected }: Target) {
  const asClient = (path: string, form: object) =>
    request(path, { method: 'POST', headers: { authorization: basic }, form })
  const check = (token: string) => request(paths.me, { headers: { authorization: `Bearer ${token}` } })
  const logIn = { grant_type: 'password', username: 'alice', password: PASSWORD, scope: 'profile email' }
  const callers = Array.from({ length: CONNECTIONS }, (_, index) => ({
    // The connections begin at different places, so that the logins do not come together.
    at: index + 2,
    kind: 'check' as Kind,
    sent: 0,
    current: { access: '', refresh: refreshTokens[index] as string },
    previous: null as Tokens | null
  }))
  type Caller = (typeof callers)[number]
  const times = new Map<Kind, number[]>()

  const texts: Record<Kind, (caller: Caller) => string> = {
    check: ({ current }) => check(current.access),
    'check of an ended session': ({ previous }) => check(previous?.access ?? ''),
    introspection: () => asClient(paths.introspect, { token: introspected }),
    refresh: ({ current }) => asClient('/token', { grant_type: 'refresh_token', refresh_token: current.refresh }),
    login: () => asClient('/token', logIn),
    revocation: ({ previous }) => asClient('/revoke', { token: previous?.refresh })
  }

  return {
    times,
    connections: CONNECTIONS,
    next(connection: number) {
      const caller = callers[connection] as Caller
      caller.kind = caller.current.access === '' ? 'refresh' : (TURN[caller.at++ % TURN.length] as Kind)
      // The first turn of a connection begins in its middle, so nothing was ended yet.
      if (caller.kind === 'check of an ended session' && caller.previous === null) caller.kind = 'check'
      caller.sent = performance.now()
      return texts[caller.kind](caller)
    },
    expected: (connection: number) => (callers[connection]?.kind === 'check of an ended session' ? 401 : 200),
    read(connection: number, body: string) {
      const caller = callers[connection] as Caller
      const taken = times.get(caller.kind) ?? []
      times.set(caller.kind, taken)
      taken.push(performance.now() - caller.sent)
      if (caller.kind === 'introspection' && JSON.parse(body).active !== true) throw new Error(`inactive: ${body}`)
      if (caller.kind !== 'login' && caller.kind !== 'refresh') return
      if (caller.kind === 'login') caller.previous = caller.current
      const { access_token: access, refresh_token: refresh } = JSON.parse(body)
      caller.current = { access, refresh }
    }
  }
}

moveToCpu(LOAD_CPU)
for (const database of ['sqlite', 'postgres'] as const) {
  if (only !== undefined && only !== database) continue
  const server = await startOn(database)
  const work = mixture(server.target)
  const { requests } = await load(server.target.port, work, { seconds: Number(seconds) })
  process.stdout.write(`${database}: ${requests} requests, every response as expected\n`)
  for (const [kind, times] of work.times) {
    const p99 = times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)]
    process.stdout.write(`  ${kind.padEnd(26)} ${String(times.length).padStart(8)}   p99 ${p99?.toFixed(2)} ms\n`)
  }
  await server.stop()
}
process.exit()
