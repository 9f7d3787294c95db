import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import fastifyCookie from '@fastify/cookie'
import type { FastifyReply, FastifyRequest, preHandlerAsyncHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import { NoReturn } from '../src/domain/authorization-errors.ts'
import type { Login } from '../src/domain/ports/logins.ts'
import { type Guard, selfGuarded } from '../src/guard/core.ts'
import { BROWSER_LOGINS_MAX } from '../src/limits.ts'
import { pathOf, queryOf } from '../src/request-target.ts'

/** Where a form goes, and the token that proves that this browser got the form from a page of this service. */
export interface PageForm {
  /** The value of the attribute `action`. */
  action: string
  /** The value of the field `form_token`. */
  token: string
}

/** The browser that sent a request, as its cookies describe it. */
export interface Browser {
  /** Returns the active logins of the browser, the one used last first. */
  logins(): Promise<Login[]>
  /**
   * Returns a form for a page. Its token is bound to the browser, the target and the login.
   * @param target path below the issuer, with its query: `/sign-in?client_id=spa`
   * @param login the login that the form acts for; null for a form that needs none
   */
  form(target: string, login: Login | null): Promise<PageForm>
  /** The login that the form of this request acts for; null for a form that needs none, and for a request without a form. */
  sender: Login | null
  /** Adds a new login to the cookie, as the one used last. The login with the id `replaces` leaves it. */
  signIn(opened: { login: Login; token: string }, replaces: string | null): Promise<void>
  /** Makes a login the one used last. */
  use(login: Login): Promise<void>
  /** Removes a login from the cookie. */
  signOut(login: Login): Promise<void>
}

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Guard of a page whose form needs no login. Refuses a form that another site sent, or that this browser did not get from a page of
     * this service.
     */
    browserForm: Guard
    /** Like `browserForm`, for a form that acts for a login: `request.browser.sender` is not null. */
    loginForm: Guard
    /** Guard of a route that takes a form from other sites. Its handler may do only what a GET does. */
    foreignForm: Guard
  }
  interface FastifyRequest {
    browser: Browser
  }
}

export interface BrowserOptions {
  issuer: string
  /** The beginning of the paths of all routes: the path of the issuer, or empty if a proxy removes this path. */
  base: string
}

/** 256 bits in base64url. */
const SECRET = /^[A-Za-z0-9_-]{43}$/
const TOKEN_FIELD = 'form_token'

/**
 * Returns the prefix of the names of cookies, and their scope. With an https issuer a plain connection cannot set a cookie of that name, and
 * if the issuer has no path, another host cannot either (RFC 6265bis §4.1.3).
 */
function cookieScope(issuer: string): { prefix: string; path: string; secure: boolean } {
  const { protocol, pathname: path } = new URL(issuer)
  if (protocol !== 'https:') return { prefix: '', path, secure: false }
  return { prefix: path === '/' ? '__Host-' : '__Secure-', path, secure: true }
}

/** Returns the target that a form token is bound to. Its query is in one spelling, because browsers and proxies may change the spelling. */
const normal = (target: string): string => `${pathOf(target)}?${new URLSearchParams(queryOf(target))}`

/** A login of the browser with its token in the cookie. */
interface Kept {
  login: Login
  token: string
}

/**
 * Adds `request.browser` and the guards of forms to the Fastify scope that registers this plugin. In this scope every route whose method
 * is not safe must name a guard of forms.
 */
export default fp<BrowserOptions>(
  async (fastify, { issuer, base }) => {
    const { logins: domain } = fastify.auth
    const { origin, pathname } = new URL(issuer)
    const { prefix, ...scope } = cookieScope(issuer)
    const [LOGINS, FORM] = [`${prefix}latchkey`, `${prefix}latchkey-form`]
    const cookie = { ...scope, httpOnly: true, sameSite: 'lax' as const }
    await fastify.register(fastifyCookie)

    /** @param secret the token of the login that the form acts for, else the secret of the form cookie */
    const tokenOf = (secret: string, target: string): string =>
      createHash('sha256')
        .update(`form ${secret} ${normal(target)}`)
        .digest('base64url')

    /** Returns the active logins of a cookie, in its order. */
    async function readLogins(value: string): Promise<Kept[]> {
      const tokens = [...new Set(value.split('.', BROWSER_LOGINS_MAX).filter((token) => SECRET.test(token)))]
      const logins = await Promise.all(tokens.map((token) => domain.use(token)))
      return tokens.flatMap((token, index) => {
        const login = logins[index] ?? null
        return login === null ? [] : [{ login, token }]
      })
    }

    function createBrowser({ cookies }: FastifyRequest, reply: FastifyReply) {
      const formCookie = cookies[FORM] ?? ''
      let secret = SECRET.test(formCookie) ? formCookie : null
      let kept: Promise<Kept[]> | undefined

      const active = (): Promise<Kept[]> => {
        kept ??= readLogins(cookies[LOGINS] ?? '')
        return kept
      }

      /** Writes the cookie with these logins. */
      function remember(all: Kept[]): void {
        const logins = all.slice(0, BROWSER_LOGINS_MAX)
        kept = Promise.resolve(logins)
        const expires = new Date(Math.max(...logins.map(({ login }) => login.expiresAt)))
        if (logins.length === 0) reply.clearCookie(LOGINS, cookie)
        else reply.setCookie(LOGINS, logins.map(({ token }) => token).join('.'), { ...cookie, expires })
      }

      const others = async (id: string | null) => (await active()).filter(({ login }) => login.id !== id)

      const browser: Browser = {
        sender: null,
        logins: async () => (await active()).map(({ login }) => login),
        async form(target, login) {
          const action = pathname.replace(/\/$/, '') + target
          if (login !== null) {
            const own = (await active()).find((each) => each.login.id === login.id)
            if (own === undefined) throw new Error('the login of the form is not in the cookie')
            return { action, token: tokenOf(own.token, target) }
          }
          if (secret === null) {
            secret = randomBytes(32).toString('base64url')
            reply.setCookie(FORM, secret, cookie)
          }
          return { action, token: tokenOf(secret, target) }
        },
        async signIn(opened, replaces) {
          remember([opened, ...(await others(replaces))])
        },
        async use({ id }) {
          const own = (await active()).filter(({ login }) => login.id === id)
          remember([...own, ...(await others(id))])
        },
        async signOut({ id }) {
          remember(await others(id))
        }
      }

      /** Returns the login that a form token was made for, or null for the form cookie. @throws NoReturn when it was made for neither */
      async function senderOf(target: string, token: string): Promise<Login | null> {
        const given = Buffer.from(token)
        const isFor = (key: string) => {
          const expected = Buffer.from(tokenOf(key, target))
          return given.length === expected.length && timingSafeEqual(given, expected)
        }
        if (secret !== null && isFor(secret)) return null
        const logins = await active()
        const own = logins.find((each) => isFor(each.token))
        if (own !== undefined) return own.login
        throw new NoReturn(secret === null && logins.length === 0 ? 'cookies_off' : 'form_over')
      }

      return { browser, senderOf }
    }

    const senders = new WeakMap<FastifyRequest, (target: string, token: string) => Promise<Login | null>>()
    fastify.decorateRequest('browser', null as never)
    fastify.addHook('onRequest', async (request, reply) => {
      const { browser, senderOf } = createBrowser(request, reply)
      request.browser = browser
      senders.set(request, senderOf)
    })

    /**
     * Checks that a page of this service sent the form (OWASP Cross-Site Request Forgery Prevention): by the headers that every current
     * browser sends, and by the token. @throws NoReturn cross_site, form_over, cookies_off
     */
    const checkForm: preHandlerAsyncHookHandler = async (request) => {
      const { origin: sentBy = origin, 'sec-fetch-site': site = 'same-origin' } = request.headers
      if (sentBy !== origin || !['same-origin', 'none'].includes(String(site))) throw new NoReturn('cross_site')
      const { [TOKEN_FIELD]: token } = request.body as Record<string, unknown>
      const senderOf = senders.get(request)
      if (typeof token !== 'string' || senderOf === undefined) throw new NoReturn('form_over')
      request.browser.sender = await senderOf(request.url.slice(base.length), token)
    }
    const browserForm = selfGuarded(checkForm)
    const loginForm = selfGuarded(async function (request, reply) {
      await checkForm.call(this, request, reply)
      if (request.browser.sender === null) throw new NoReturn('form_over')
    })
    const foreignForm = selfGuarded(async () => {})
    fastify.decorate('browserForm', browserForm)
    fastify.decorate('loginForm', loginForm)
    fastify.decorate('foreignForm', foreignForm)

    const guards: unknown[] = [browserForm, loginForm, foreignForm]
    // Must be added after the same hook of the plugin guard, which requires a guard under `preHandler`.
    fastify.addHook('onRoute', (route) => {
      const handlers = [route.preHandler ?? []].flat()
      const own = handlers.filter((each) => guards.includes(each))
      const isSafe = [route.method].flat().every((method) => ['GET', 'HEAD', 'OPTIONS'].includes(method))
      if (!isSafe && own.length === 0)
        throw new Error(
          `${route.method} ${route.url} is a form of a page: put browserForm, loginForm or foreignForm into its preHandler`
        )
      route.preHandler = handlers.filter((each) => !guards.includes(each))
      // Runs after the form is parsed and before the validation.
      route.preValidation = [...[route.preValidation ?? []].flat(), ...own] as preHandlerAsyncHookHandler[]
    })
  },
  { name: 'browser', dependencies: ['auth', 'guard', 'input'] }
)
