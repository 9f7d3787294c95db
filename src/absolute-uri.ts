/** A host with a port, which URL parsers read as a scheme with a path: `localhost:4000`. */
const HOST_AND_PORT = /^[^/?#:]+:\d{1,5}($|[/?#])/

/** Returns whether a text is a host and a port without a scheme. */
export const isHostAndPort = (text: string): boolean => HOST_AND_PORT.test(text)

/** Returns whether a text may identify a resource: an absolute URI without fragment (RFC 8707 §2), and not a host with its port. */
export const isAbsoluteUri = (text: string): boolean =>
  /^[\x21-\x7e]+$/.test(text) && !text.includes('#') && URL.canParse(text) && !isHostAndPort(text)
