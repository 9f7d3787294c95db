import type { Authenticate } from './credentials.ts'
import { type Fetch, type JsonResponse, type RequestOptions, requestJson } from './http.ts'

/**
 * Posts a form to an endpoint of the issuer, with the authentication of the client (RFC 6749 §2.3).
 * @throws UpstreamError as `requestJson` does
 */
export function postForm(
  fetch: Fetch,
  url: string,
  options: Omit<RequestOptions, 'method' | 'headers' | 'body'> & {
    form: Record<string, string>
    authenticate: Authenticate
  }
): Promise<JsonResponse> {
  const { form, authenticate, ...others } = options
  const authentication = authenticate()
  return requestJson(fetch, url, {
    ...others,
    method: 'POST',
    headers: { ...authentication.headers, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ ...form, ...authentication.form }).toString()
  })
}
