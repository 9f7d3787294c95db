import dns from 'node:dns'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { isIP, type LookupFunction } from 'node:net'
import { isLoopback } from './loopback.ts'
import { http, https } from './node-http.ts'

/** A URL that this service sends no request to. */
export class UrlRefused extends Error {}

/** A response whose body is longer than the caller reads. */
export class ResponseTooLong extends Error {}

export interface OutgoingRequest {
  method: string
  headers: Record<string, string>
  body: string | null
  /** Ends the request, with the reason of the signal as error. */
  signal: AbortSignal
  /** Maximum size of the body of the response in bytes. With 0 the body is not read. */
  maxBytes: number
}

export interface OutgoingResponse {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}

function read(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (maxBytes === 0) {
    response.destroy()
    return Promise.resolve(Buffer.alloc(0))
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    response.on('data', (chunk: Buffer) => {
      size += chunk.length
      chunks.push(chunk)
      if (size > maxBytes) response.destroy(new ResponseTooLong(`the response has more than ${maxBytes} bytes`))
    })
    response.on('end', () => resolve(Buffer.concat(chunks)))
    response.on('error', reject)
  })
}

/**
 * Creates the function that sends requests to addresses that other people have chosen. It follows no redirect, and each request has a
 * connection of its own, which goes to an address that was checked.
 * @param isAllowed returns whether requests may go to an IP address
 * @param setting the setting that allows further networks, for the message
 */
export function createOutgoing({ isAllowed, setting }: { isAllowed: (address: string) => boolean; setting: string }) {
  function assertAllowed(address: string): void {
    if (!isAllowed(address))
      throw new UrlRefused(`the address ${address} is not public, and ${setting} does not allow it`)
  }

  /** Resolves a name for one connection. */
  const lookup: LookupFunction = (hostname, options, done) =>
    dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return done(error, '')
      try {
        for (const { address } of addresses) assertAllowed(address)
      } catch (refused) {
        return done(refused as Error, '')
      }
      if (options.all) return done(null, addresses)
      const [{ address, family }] = addresses as [dns.LookupAddress]
      done(null, address, family)
    })

  /** @throws UrlRefused, ResponseTooLong, the reason of the signal, and the errors of node:http */
  return async function send(
    url: URL,
    { method, headers, body, signal, maxBytes }: OutgoingRequest
  ): Promise<OutgoingResponse> {
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname)))
      throw new UrlRefused('the URI is neither https nor on a loopback host')
    // The name of a host is checked when it is resolved.
    const host = url.hostname.replace(/^\[|\]$/g, '')
    if (isIP(host) !== 0) assertAllowed(host)
    const { request } = url.protocol === 'https:' ? https : http
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const length = body === null ? {} : { 'content-length': String(Buffer.byteLength(body)) }
      const sent = request(url, { method, headers: { ...headers, ...length }, agent: false, lookup, signal })
      sent.on('error', reject)
      // After a status 101 there is neither a response nor an error.
      sent.on('close', () => reject(Object.assign(new Error(), { code: 'closed without a response' })))
      sent.on('response', resolve)
      sent.end(body ?? undefined)
    })
    return {
      status: response.statusCode as number,
      headers: response.headers,
      body: await read(response, maxBytes)
    }
  }
}

export type SendOutgoing = ReturnType<typeof createOutgoing>
