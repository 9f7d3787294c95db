/** Returns the value of an Authorization header with these credentials as they are (RFC 7617). */
export const basic = (id: string, secret: string): string =>
  `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`

/** Encodes as RFC 6749 appendix B says, and more characters than it must, as oauth4webapi and openid-client do. */
export const formEncoded = (text: string): string =>
  encodeURIComponent(text).replace(/%20|[-_.!~*'()]/g, (c) =>
    c === '%20' ? '+' : `%${c.charCodeAt(0).toString(16).toUpperCase()}`
  )
