import fastifyView from '@fastify/view'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { DomainError, SetupError } from '../src/domain/errors.ts'
import { isLoopback } from '../src/loopback.ts'
import { prefersHtml } from './pages/accept.ts'
import { type Asset, createAssets } from './pages/assets.ts'
import type { PageName, Pages } from './pages/data.ts'
import { describeDevice } from './pages/device.ts'
import { createLogos, type Image, readImage } from './pages/images.ts'
import { LOCALES, languageOf } from './pages/language.ts'
import { formTargets, policyOf } from './pages/policy.ts'
import type { FieldRefusal } from './pages/reasons.ts'
import { loadTemplates, templateOf } from './pages/templates.ts'
import type { Texts } from './pages/texts/en.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The tags of the languages of the pages. */
    readonly pageLocales: string[]
    /** Returns the refusal of a field, which the page of the form shows. Throws every other error again. */
    refusalOf(error: unknown): FieldRefusal
  }
  interface FastifyReply {
    /**
     * Sends a page, with the status of the reply. The language is the first known one of `ui_locales` (of the data, else of the query), else
     * of `Accept-Language`.
     */
    page<Name extends PageName>(name: Name, data: Pages[Name] & { uiLocales?: string[] }): Promise<FastifyReply>
    /**
     * Sends the browser to a URL of a client: by a redirect, or after a form by a page that goes on by itself. Chromium would check a redirect
     * after a form against the `form-action` of its page, also each redirect that the client adds, and these are unknown. Private-use
     * schemes always get a redirect: systems open apps more reliably after a form that the user has sent.
     */
    leave(url: string): Promise<FastifyReply>
  }
  interface FastifyRequest {
    /** Whether the sender is a browser that wants a page, and not JSON. */
    readonly wantsPage: boolean
  }
}

export interface PagesOptions {
  issuer: string
  /** The beginning of the paths of all routes: the path of the issuer, or empty if a proxy removes this path. */
  base: string
  /** Name of the service. */
  serviceName: string
  /** File of the logo of the service. */
  logoFile: string | undefined
  /** Colour of links and buttons. */
  accent: string
  /** The directory with the logos of clients. */
  dataDir: string
  /** Whether `/docs` exists. */
  docs: boolean
}

/** The policy that sends `Origin` with the forms of a page, and no address of a page to other origins. */
const REFERRER_POLICY = 'same-origin'

/** Returns the image of the setting. @throws SetupError */
async function readLogo(file: string | undefined): Promise<Image | null> {
  if (file === undefined) return null
  try {
    return await readImage(file)
  } catch (error) {
    throw new SetupError(`LATCHKEY_LOGO_FILE cannot be used: ${file}: ${(error as Error).message}`)
  }
}

/** Describes where a redirect URI leads, for the user: a host, or an app on the device of the user. */
function describeTarget(uri: string, texts: Texts): string {
  const { protocol, host, hostname } = new URL(uri)
  if (protocol !== 'https:' && protocol !== 'http:') return texts.onThisDevice(protocol.slice(0, -1))
  return isLoopback(hostname) ? texts.onThisDevice(host) : host
}

/** Returns the `ui_locales` of the query (OpenID Connect Core 1.0 §3.1.2.1). */
function localesOf({ query }: FastifyRequest): string[] {
  const { ui_locales: locales } = (query ?? {}) as Record<string, unknown>
  return typeof locales === 'string' ? locales.split(' ') : []
}

function refusalOf(error: unknown): FieldRefusal {
  if (!(error instanceof DomainError) || error.reason === undefined) throw error
  return { kind: 'invalid', reason: error.reason }
}

/** Sends the pages that people see, and the files that they load. Pages work without scripts and load nothing from other hosts. */
export default fp<PagesOptions>(
  async (fastify, { issuer, base, serviceName, logoFile, accent, dataDir, docs }) => {
    const path = new URL(issuer).pathname.replace(/\/$/, '')
    const assets = createAssets({ accent, logo: await readLogo(logoFile) })
    const logoOf = createLogos(dataDir)
    const files = [assets.style, assets.favicon, assets.submit, assets.logo].filter((asset) => asset !== null)
    const urlOf = (asset: Asset | null): string | null => (asset === null ? null : `${path}/assets/${asset.name}`)
    const shared = {
      service: { name: serviceName },
      assets: {
        style: urlOf(assets.style),
        favicon: urlOf(assets.favicon),
        submit: urlOf(assets.submit),
        logo: urlOf(assets.logo)
      },
      links: {
        home: `${path}/`,
        signIn: `${path}/sign-in`,
        account: `${path}/account`,
        docs: docs ? `${path}/docs` : null
      },
      instant: (at: number) => new Date(at).toISOString()
    }
    const tabsOf = (t: Texts) => [
      { name: 'account', href: `${path}/account`, text: t.profile },
      { name: 'account-password', href: `${path}/account/password`, text: t.changePassword },
      { name: 'account-sessions', href: `${path}/account/sessions`, text: t.sessions },
      { name: 'account-apps', href: `${path}/account/apps`, text: t.consents },
      { name: 'choose-account', href: `${path}/sign-in/choose`, text: t.useAnotherAccount },
      { name: 'sign-out', href: `${path}/logout`, text: t.signOut }
    ]
    await fastify.register(fastifyView, { engine: { eta: loadTemplates() }, production: true })

    /** Returns the members that templates need besides the data of the page. */
    async function derive(data: Record<string, unknown>, t: Texts): Promise<object> {
      const { client, returnsTo, scopes, apps } = data as Partial<Pages['consent'] & Pages['account-apps']>
      const { refusal } = data as Partial<Pages['sign-in']>
      return {
        clientLogo: await logoOf(client?.logoUri ?? null),
        returnHost: typeof returnsTo === 'string' ? describeTarget(returnsTo, t) : null,
        choices: scopes?.filter(({ name }) => name !== 'openid'),
        isFieldRefused: refusal?.kind === 'wrong' || refusal?.kind === 'incomplete',
        deviceOf: (userAgent: string | null) => describeDevice(userAgent, t.device) ?? t.unknownDevice,
        apps: apps && (await Promise.all(apps.map(async (app) => ({ ...app, logo: await logoOf(app.client.logoUri) }))))
      }
    }

    /** Returns the `form-action` of a page. The page `form-post` holds no input of the user, and the app may redirect its form to any origin. */
    function formActionOf(name: PageName, data: object): string | null {
      if (name === 'form-post') return null
      const { returnsTo = null } = data as { returnsTo?: string | null }
      return 'form' in data ? formTargets(returnsTo) : "'none'"
    }

    fastify.decorateReply('page', async function (this: FastifyReply, name, data) {
      const { request } = this
      const { uiLocales } = data as { uiLocales?: string[] }
      const language = languageOf(uiLocales ?? localesOf(request), request.headers['accept-language'])
      const html = await this.viewAsync(templateOf(name), {
        ...shared,
        ...data,
        ...(await derive(data as never, language.texts)),
        page: name,
        language: language.tag,
        t: language.texts,
        tabs: name.startsWith('account') ? tabsOf(language.texts) : null,
        requestId: request.id
      })
      return this.headers({
        'content-type': 'text/html; charset=utf-8',
        'content-language': language.tag,
        'content-security-policy': policyOf({ hasScript: name === 'form-post', formAction: formActionOf(name, data) }),
        'referrer-policy': REFERRER_POLICY,
        'cache-control': 'no-store',
        vary: 'accept, accept-language'
      }).send(html)
    })
    fastify.decorateReply('leave', async function (this: FastifyReply, url) {
      const isWeb = /^https?:/i.test(url)
      return this.request.method === 'POST' && isWeb
        ? this.code(200).page('returning', { url })
        : this.redirect(url, 303)
    })
    fastify.decorate('pageLocales', LOCALES)
    fastify.decorate('refusalOf', refusalOf)
    fastify.decorateRequest('wantsPage', {
      getter() {
        return prefersHtml(this.headers.accept)
      }
    })

    const open = { preHandler: fastify.publicAccess, config: { standalone: true as const }, schema: { hide: true } }
    for (const { name, mediaType, content } of files)
      fastify.get(`${base}/assets/${name}`, open, (_request, reply) =>
        reply
          .headers({ 'content-type': mediaType, 'cache-control': 'public, max-age=31536000, immutable' })
          .send(content)
      )
    // Browsers ask for this path on responses that are no pages.
    fastify.get(`${base}/favicon.ico`, open, (_request, reply) =>
      reply
        .headers({ 'content-type': assets.favicon.mediaType, 'cache-control': 'public, max-age=86400' })
        .send(assets.favicon.content)
    )
  },
  { name: 'pages', dependencies: ['guard', 'helmet'] }
)
