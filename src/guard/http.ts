/** The part of the global fetch by which the issuer is asked; tests and mounted servers give their own. */
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

/** An answer of the issuer that cannot be used, or none at all. No message holds what was sent or received. */
export class UpstreamError extends Error {
  /** The HTTP status; null when there was no answer. */
  readonly status: number | null
  /** Seconds after which one may ask again, if the answer says so in seconds (RFC 9110 §10.2.3). */
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

  /** The JSON of the answer, or null. Whatever writes errors into a log leaves it out. */
  get body(): unknown {
    return this.#body
  }
}

const JSON_TYPE = /^application\/json\s*(;|$)/i

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

/** The JSON of an answer, or why there is none. */
async function readJson(response: Response, maxBytes: number): Promise<{ body: unknown } | { problem: string }> {
  if (!JSON_TYPE.test(response.headers.get('content-type') ?? '')) {
    await response.body?.cancel()
    return { problem: 'is not application/json' }
  }
  try {
    return { body: JSON.parse(await readText(response, maxBytes)) }
  } catch (error) {
    if (error instanceof RangeError) return { problem: error.message }
    // Words of a parser quote what it reads.
    if (error instanceof SyntaxError || (error as { code?: string }).code === 'ERR_ENCODING_INVALID_ENCODED_DATA')
      return { problem: 'is not JSON' }
    throw error
  }
}

/**
 * JSON from the issuer, of an answer with a status of 200 to 299. Follows no redirect, reads at most `maxBytes` (after
 * decompression, counted while reading), refuses other media types than application/json.
 * @param options.timeout milliseconds for all of it, also when `fetch` does not heed its signal
 * @throws UpstreamError
 */
export async function requestJson(
  fetch: Fetch,
  url: string,
  options: {
    method?: string
    headers?: Record<string, string>
    body?: string
    timeout: number
    maxBytes: number
    signal?: AbortSignal
  }
): Promise<{ body: unknown; headers: Headers }> {
  const { timeout, maxBytes, signal, method = 'GET', headers, body } = options
  const { origin, pathname } = new URL(url)
  const what = `${method} ${origin}${pathname}`

  async function ask(within: AbortSignal): Promise<{ body: unknown; headers: Headers }> {
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
    if (!response.ok) {
      const after = /^\d{1,9}$/.exec(response.headers.get('retry-after') ?? '')
      const retryAfter = after === null ? null : Number(after[0])
      throw new UpstreamError(`${what}: the answer is ${status}`, {
        status,
        retryAfter,
        body: 'body' in read ? read.body : null
      })
    }
    if ('problem' in read) throw new UpstreamError(`${what}: the answer ${read.problem}`, { status })
    return { body: read.body, headers: response.headers }
  }

  const within = new AbortController()
  const ended = new Promise<never>((_resolve, reject) =>
    within.signal.addEventListener('abort', () => reject(within.signal.reason))
  )
  const stop = () => within.abort(new UpstreamError(`${what}: given up by the caller`, { cause: signal?.reason }))
  const timer = setTimeout(() => within.abort(new UpstreamError(`${what}: no answer within ${timeout} ms`)), timeout)
  signal?.addEventListener('abort', stop)
  if (signal?.aborted) stop()
  try {
    return await Promise.race([ended, ask(within.signal)])
  } catch (error) {
    throw error instanceof UpstreamError ? error : new UpstreamError(`${what}: no answer`, { cause: error })
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
  }
}
