import { type Timer, untilAborted } from './timer.ts'

/** The part of the type of the global `fetch` that requests to the issuer use. The option `fetch` replaces the global function. */
export type Fetch = (
  url: string,
  init: {
    method?: string
    headers?: Record<string, string>
    body?: string
    signal: AbortSignal
    redirect: 'error'
  }
) => Promise<Response>

/**
 * The issuer gave no response or one that is not valid. The message names method, URL, status and the code of a network error, and the
 * issuer of metadata. It quotes nothing else that was sent or received.
 */
export class UpstreamError extends Error {
  /** The HTTP status; null without a response. */
  readonly status: number | null
  /** Seconds from `Retry-After` (RFC 9110 §10.2.3); null without one in seconds. */
  readonly retryAfter: number | null
  readonly #body: unknown

  constructor(
    message: string,
    options: { status?: number; body?: unknown; retryAfter?: number | null; cause?: unknown } = {}
  ) {
    const { status = null, body = null, retryAfter = null, cause } = options
    super(message, cause === undefined ? {} : { cause })
    this.name = 'UpstreamError'
    this.status = status
    this.retryAfter = retryAfter
    this.#body = body
  }

  /** The JSON of the response; null without any. A getter, so that loggers leave it out. */
  get body(): unknown {
    return this.#body
  }
}

export interface RequestOptions {
  method?: string
  headers?: Record<string, string>
  body?: string
  /** Milliseconds for the whole exchange, also when `fetch` ignores its signal. */
  timeout: number
  /** Measures `timeout`. */
  timer: Timer
  /** Bytes of the response at most, after decompression. */
  maxBytes: number
  signal?: AbortSignal | undefined
}

export interface JsonResponse {
  body: unknown
  headers: Headers
}

const JSON_TYPE = /^application\/json\s*(;|$)/i
/** An error may also be a problem document (RFC 9457). */
const ERROR_TYPE = /^application\/(problem\+)?json\s*(;|$)/i

/** @throws RangeError when the body is longer */
async function readText(response: Response, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let size = 0
  let text = ''
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    // Leaving the loop cancels the stream.
    if (size > maxBytes) throw new RangeError(`is longer than ${maxBytes} bytes`)
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

/** Reads the JSON of a response. `problem` is null, or the reason why there is no JSON. */
async function readJson(
  response: Response,
  maxBytes: number
): Promise<{ body: unknown; problem: null } | { body: null; problem: string }> {
  const type = response.ok ? JSON_TYPE : ERROR_TYPE
  if (!type.test(response.headers.get('content-type') ?? '')) {
    await response.body?.cancel()
    return { body: null, problem: 'is not application/json' }
  }
  try {
    return { body: JSON.parse(await readText(response, maxBytes)), problem: null }
  } catch (error) {
    if (error instanceof RangeError) return { body: null, problem: error.message }
    // Does not pass on the message of the parser, which quotes the body.
    if (error instanceof SyntaxError || (error as { code?: string }).code === 'ERR_ENCODING_INVALID_ENCODED_DATA')
      return { body: null, problem: 'is not JSON' }
    throw error
  }
}

/** Returns the code of a network error for a message, for example ` (ECONNREFUSED)`; an empty text without a code. */
function codeOf(error: unknown): string {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: { code?: unknown } }
  const found = cause?.code ?? code
  return typeof found === 'string' && /^[A-Z0-9_]{1,50}$/.test(found) ? ` (${found})` : ''
}

function retryAfterOf({ headers }: Response): number | null {
  const [seconds] = /^\d{1,9}$/.exec(headers.get('retry-after') ?? '') ?? []
  return seconds === undefined ? null : Number(seconds)
}

/**
 * Requests JSON from the issuer. Follows no redirect and reads at most `maxBytes`.
 * @throws UpstreamError for every other response than application/json with a status of 200 to 299
 */
export async function requestJson(fetch: Fetch, url: string, options: RequestOptions): Promise<JsonResponse> {
  const { timeout, timer, maxBytes, signal, method = 'GET', headers, body } = options
  const { origin, pathname } = new URL(url)
  const name = `${method} ${origin}${pathname}`

  async function send(within: AbortSignal): Promise<JsonResponse> {
    within.throwIfAborted()
    const response = await fetch(url, {
      method,
      headers: { accept: 'application/json', ...headers },
      ...(body === undefined ? {} : { body }),
      signal: within,
      redirect: 'error'
    })
    const { status } = response
    const read = await readJson(response, maxBytes)
    if (!response.ok)
      throw new UpstreamError(`${name}: the status is ${status}`, {
        status,
        retryAfter: retryAfterOf(response),
        body: read.body
      })
    if (read.problem !== null) throw new UpstreamError(`${name}: the response ${read.problem}`, { status })
    return { body: read.body, headers: response.headers }
  }

  const within = new AbortController()
  const done = new AbortController()
  const abort = () => within.abort(new UpstreamError(`${name}: aborted by the caller`, { cause: signal?.reason }))
  timer.sleep(timeout, done.signal).then(
    () => within.abort(new UpstreamError(`${name}: no response within ${timeout} ms`)),
    () => {}
  )
  signal?.addEventListener('abort', abort)
  if (signal?.aborted) abort()
  try {
    return await untilAborted(send(within.signal), within.signal)
  } catch (error) {
    if (error instanceof UpstreamError) throw error
    throw new UpstreamError(`${name}: no response${codeOf(error)}`, { cause: error })
  } finally {
    done.abort()
    signal?.removeEventListener('abort', abort)
  }
}
