/**
 * The names of RFC 6761 §6.3 (`localhost` and every name below it), 127.0.0.0/8 (RFC 1122 §3.2.1.3), ::1 (RFC 4291 §2.5.3), and
 * 127.0.0.0/8 mapped into IPv6 (RFC 4291 §2.5.5.2).
 */
const LOOPBACK = /(^|\.)localhost\.?$|^127(\.\d{1,3}){3}$|^\[::1\]$|^\[::ffff:7f[\da-f]{2}:[\da-f]{1,4}\]$/

/** Returns whether a host means the machine itself. @param hostname the `hostname` of a URL object, which has one spelling for each address */
export const isLoopback = (hostname: string): boolean => LOOPBACK.test(hostname)
