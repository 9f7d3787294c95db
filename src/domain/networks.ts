import { isIPv4, isIPv6 } from 'node:net'

/**
 * Returns the network of an address: the /24 of IPv4 (also when mapped or translated into IPv6, RFC 6052), the /48 of IPv6. This is about the size of the
 * network of one household or office. Accepts an address with a port, as some proxies write it. Returns `none` for other text.
 */
export function networkOf(address: string | null): string {
  const plain = (address ?? '').replace(/^\[(.*)\](:\d+)?$|^([\d.]+):\d+$/, '$1$3').replace(/%.*$/, '')
  if (isIPv4(plain)) return plain.split('.').slice(0, 3).join('.')
  if (!isIPv6(plain)) return 'none'
  // A URL writes an IPv6 address in its canonical form, without an IPv4 address in it.
  const canonical = new URL(`http://[${plain}]`).hostname.slice(1, -1)
  const [head = [], tail = []] = canonical.split('::').map((part) => part.split(':').filter((group) => group !== ''))
  const all = [...head, ...new Array<string>(8 - head.length - tail.length).fill('0'), ...tail]
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = all.map((group) => Number.parseInt(group, 16))
  const isMapped = a + b + c + d + e === 0 && f === 0xffff
  const isTranslated = a === 0x64 && b === 0xff9b && c + d + e + f === 0
  if (isMapped || isTranslated) return [g >> 8, g & 0xff, h >> 8].join('.')
  return [a, b, c].map((group) => group.toString(16)).join(':')
}

/**
 * Returns whether the `X-Forwarded-For` header of a request is ignored, because the peer is not a trusted proxy.
 * @param request `ips` holds the address of the peer, and the addresses in the header that trusted proxies wrote
 */
export const ignoresForwardedFor = (request: {
  headers: Record<string, string | string[] | undefined>
  ips?: string[] | undefined
}): boolean => Boolean(request.headers['x-forwarded-for']) && (request.ips?.length ?? 1) === 1
