import { createHash, randomBytes } from 'node:crypto'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import { PASSWORD, type TestApp } from './helper.ts'
import { FORM } from './http.ts'
import { plantRandom } from './secrets.ts'

/** A form of a page: where it is posted to, and its fields that have a value. */
export interface PageForm {
  action: string
  fields: Record<string, string>
}

const decode = (text: string): string =>
  text
    .replaceAll(/&#(x?)([\da-f]+);/gi, (_, hex, code) => String.fromCodePoint(Number.parseInt(code, hex ? 16 : 10)))
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&')

const attribute = (tag: string, name: string): string | undefined => {
  const value = new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1]
  return value === undefined ? undefined : decode(value)
}

/** Returns the first form of a page that is posted. */
export function formOf({ body }: LightMyRequestResponse): PageForm {
  const [form = ''] = /<form\b[^>]*method="post"[\s\S]*?<\/form>/i.exec(body) ?? []
  const inputs = [...form.matchAll(/<(?:input|button)\b[^>]*>/gi)].map(([tag]) => tag)
  const fields = inputs.flatMap((tag) => {
    const [name, value, type] = ['name', 'value', 'type'].map((each) => attribute(tag, each))
    return name === undefined || value === undefined || type === 'submit' ? [] : [[name, value] as const]
  })
  return {
    action: attribute(/<form\b[^>]*>/i.exec(form)?.[0] ?? '', 'action') ?? '',
    fields: Object.fromEntries(fields)
  }
}

/** Returns the URL to which a page goes on by itself. */
const refreshOf = ({ body }: LightMyRequestResponse): string | undefined => {
  const [, url] = /<meta http-equiv="refresh" content="0; url=([^"]*)">/.exec(body) ?? []
  return url === undefined ? undefined : decode(url)
}

/** A browser: keeps cookies, and sends the headers that browsers send. A page that goes on by itself has its target in `location`. */
export function createJar({ inject }: Pick<TestApp, 'inject'>, origin = 'http://localhost:3000') {
  const cookies = new Map<string, string>()

  async function send(options: InjectOptions): Promise<LightMyRequestResponse> {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await inject({
      ...options,
      headers: { ...(cookie === '' ? {} : { cookie }), ...options.headers }
    })
    for (const { name, value } of response.cookies) {
      plantRandom(...value.split('.'))
      if (value === '') cookies.delete(name)
      else cookies.set(name, value)
    }
    response.headers.location ??= refreshOf(response)
    return response
  }

  const jar = {
    cookies,
    get: (url: string, headers: Record<string, string> = {}) => send({ method: 'GET', url, headers }),
    post: (url: string, form: Record<string, string> | string, headers: Record<string, string> = {}) =>
      send({
        method: 'POST',
        url,
        headers: { 'content-type': FORM, origin, 'sec-fetch-site': 'same-origin', ...headers },
        payload: typeof form === 'string' ? form : new URLSearchParams(form).toString()
      }),
    /** Submits the form of a page. */
    submit(page: LightMyRequestResponse, fields: Record<string, string>, headers: Record<string, string> = {}) {
      const form = formOf(page)
      return jar.post(form.action, { ...form.fields, ...fields }, headers)
    },
    /** Opens a URL of the sign-in and signs in on its page. */
    async signIn(url: string, username = 'alice', password = PASSWORD) {
      return jar.submit(await jar.get(url), { username, password })
    }
  }
  return jar
}

/** Returns a verifier and its challenge (RFC 7636). */
export function pkce(): { verifier: string; challenge: string } {
  const verifier = randomBytes(32).toString('base64url')
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') }
}

/** The challenge of requests whose code nobody redeems. */
const CHALLENGE = pkce().challenge

/** Returns the URL of an authorization request. A parameter that is undefined is left out. */
export function authorizeUrl(params: Record<string, string | undefined>): string {
  const all = { response_type: 'code', code_challenge: CHALLENGE, code_challenge_method: 'S256', ...params }
  const given = Object.entries(all).filter((each): each is [string, string] => each[1] !== undefined)
  return `/authorize?${new URLSearchParams(given)}`
}

/** Returns the parameters of the response to which a browser is redirected, and the URL without them. */
export function responseOf({ headers: { location = '' } }: LightMyRequestResponse) {
  const { origin, pathname, searchParams } = new URL(String(location), 'http://localhost:3000')
  return { to: origin + pathname, params: Object.fromEntries(searchParams) }
}
