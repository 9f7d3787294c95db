import { isIP } from 'node:net'
import fp from 'fastify-plugin'
import { DomainError } from '../src/domain/errors.ts'
import { isLoopback } from '../src/loopback.ts'

/** Returns the host name of a `Host` header as URLs write it, without the port and a dot at its end; null for another text. */
const hostnameOf = (host: string): string | null => URL.parse(`http://${host}`)?.hostname.replace(/\.$/, '') ?? null

/**
 * Returns whether the domain name of an attacker cannot be this host: an IP address, a name without a dot (a name of a container or of
 * the local network), a name below `localhost`, or below `internal` (reserved by ICANN, 2024).
 */
const isLocal = (hostname: string): boolean =>
  !hostname.includes('.') || isLoopback(hostname) || isIP(hostname) !== 0 || hostname.endsWith('.internal')

/**
 * If the issuer is on a loopback host, refuses requests for hosts that are not local. Without this check any page could reach the service
 * through the browser of its user: the domain of the page resolves to 127.0.0.1, so both have the same origin (DNS rebinding).
 */
export default fp<{ issuer: string }>(
  async (fastify, { issuer }) => {
    if (!isLoopback(new URL(issuer).hostname)) return
    fastify.addHook('onRequest', async ({ raw: { headers }, log }) => {
      const host = headers.host ?? headers[':authority']
      // HTTP/1.0 needs no `Host`. Browsers always send one.
      if (host === undefined) return
      const hostname = hostnameOf(String(host))
      if (hostname !== null && isLocal(hostname)) return
      log.info({ host: String(host).slice(0, 255) }, 'the host of the request is not a host of the issuer')
      throw new DomainError(
        'invalid',
        `The service does not have this host name: use ${issuer}, or set LATCHKEY_ISSUER to the URL that callers use`
      )
    })
  },
  { name: 'host' }
)
