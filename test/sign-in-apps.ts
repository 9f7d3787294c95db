import type { Test } from 'tap'
import { OPERATOR } from '../src/domain/caller.ts'
import { command } from './cli/command.ts'
import { freePort } from './cli/process.ts'
import { build, PASSWORD } from './helper.ts'
import { createJar } from './jar.ts'
import { plant } from './secrets.ts'

/** A Latchkey whose only user besides the admin is made by the lines of docs/sign-in.md. */
export async function openLatchkey(t: Test) {
  const port = await freePort()
  const issuer = `http://localhost:${port}`
  const clock = { now: Date.now, sleep: async () => {} }
  const env = { LATCHKEY_ISSUER: issuer, LATCHKEY_PORT: String(port) }
  const world = await build(t, { env, clock })
  const { app } = world
  await app.listen({ host: 'localhost', port })
  for (const { id, username } of (await app.auth.users.list({ after: null, limit: 10 }, {})).items)
    if (username === 'alice') await app.auth.users.delete(OPERATOR, id)

  const [page, server] = [await freePort(), await freePort()]
  /** Replaces the addresses in a text of the documentation. */
  const atPorts = (text: string): string =>
    text
      .replaceAll('http://localhost:3000', issuer)
      .replaceAll('localhost:5173', `localhost:${page}`)
      .replaceAll('localhost:8080', `localhost:${server}`)
      .replaceAll('port: 8080', `port: ${server}`)

  /** Runs the commands of a block of the documentation, and returns the secret that they print, if any. @throws Error when one fails */
  async function type(block: string): Promise<string> {
    let printed = ''
    for (const line of atPorts(block)
      .split('\n')
      .filter((each) => each !== '')) {
      const [npx, latchkey, ...args] = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(
        ([, quoted, plain]) => quoted ?? plain ?? ''
      )
      const { code, stdout, stderr } = await command(world.env, args, `${PASSWORD}\n`)
      if (code !== 0 || `${npx} ${latchkey}` !== 'npx latchkey') throw new Error(`${line}\n${stderr}`)
      printed += stdout
    }
    const [secret = ''] = /lks_\S+/.exec(printed) ?? []
    plant(secret)
    return secret
  }

  /** Signs alice in at a URL of `/authorize`, as her browser does, and returns the URL at the app. `asks` is whether she was asked for consent. */
  async function signIn(url: string, jar = createJar(world, issuer)): Promise<{ url: string; asks: boolean }> {
    if (!url.startsWith(`${issuer}/authorize?`)) throw new Error(`not an authorization request: ${url}`)
    let answer = await jar.get(url.slice(issuer.length))
    if (answer.statusCode === 200) answer = await jar.submit(answer, { username: 'alice', password: PASSWORD })
    const asks = String(answer.headers.location).startsWith('/consent')
    if (asks) answer = await jar.submit(await jar.get(String(answer.headers.location)), { decision: 'allow' })
    return { url: String(answer.headers.location), asks }
  }

  return {
    ...world,
    issuer,
    atPorts,
    type,
    signIn,
    jar: () => createJar(world, issuer),
    page: `http://localhost:${page}/`,
    server: `http://localhost:${server}/`
  }
}

export type Latchkey = Awaited<ReturnType<typeof openLatchkey>>

/** A browser at an app that keeps one cookie. */
export function createAppBrowser() {
  let cookie = ''
  return {
    async visit(url: string, init: RequestInit = {}): Promise<{ status: number; location: string; text: string }> {
      const headers = { ...(cookie === '' ? {} : { cookie }) }
      const response = await fetch(url, { ...init, redirect: 'manual', headers: { ...headers, ...init.headers } })
      const [set] = response.headers.getSetCookie()
      if (set !== undefined) cookie = set.split(';')[0] as string
      return { status: response.status, location: response.headers.get('location') ?? '', text: await response.text() }
    }
  }
}
