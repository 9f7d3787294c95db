const UNRESERVED = /[\w.~-]/

/** Decodes escapes of unreserved characters, and writes the other escapes in upper case (RFC 3986 §6.2.2). */
const withNormalEscapes = (text: string): string =>
  text.replace(/%[0-9a-f]{2}/gi, (encoded) => {
    const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16))
    return UNRESERVED.test(character) ? character : encoded.toUpperCase()
  })

/** Removes the slashes at the end of a text, in one pass. */
function withoutSlashes(text: string): string {
  let end = text.length
  while (text[end - 1] === '/') end--
  return text.slice(0, end)
}

/**
 * Returns the normal form of an absolute URI (RFC 3986 §6.2.2, §6.2.3): scheme and host in lower case, no default port, no dot segments,
 * no dot at the end of the host, no escape of an unreserved character, no empty query, no slash at the end, no credentials. If the URL
 * standard does not list the scheme as special, the host keeps its case; a URI without `//` (a URN) also keeps its dot segments. Two URIs
 * with one normal form reach the same service.
 */
export function normalUri(text: string): string {
  const url = new URL(text)
  url.username = ''
  url.password = ''
  if (url.hostname.endsWith('.')) url.hostname = url.hostname.slice(0, -1)
  // Removes a `?` without a query, for which `search` is empty too.
  if (url.search === '') url.search = ''
  return withoutSlashes(withNormalEscapes(url.href))
}
