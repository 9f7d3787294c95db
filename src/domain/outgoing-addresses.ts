import { BlockList, isIP } from 'node:net'

/** Link-local addresses, where clouds serve credentials of the machine (169.254.169.254), and addresses that mean no single host. */
const NEVER = ['0.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4', '::/128', 'fe80::/10', 'ff00::/8']
/** Addresses of the machine and of private networks (RFC 6890). */
const INSIDE = [
  ...['10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '172.16.0.0/12', '192.0.0.0/24', '192.168.0.0/16', '198.18.0.0/15'],
  ...['fc00::/7', 'fec0::/10'],
  // Hold an IPv4 address in a form of their own: compatible (RFC 4291), NAT64 of a site (RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380).
  ...['::/96', '64:ff9b:1::/48', '2002::/16', '2001::/32']
]
/** The machine itself. */
export const LOOPBACK_NETWORKS = ['127.0.0.0/8', '::1/128']

const familyOf = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** A list of networks. An IPv4 network is in it also when mapped or translated into IPv6 (RFC 4291 §2.5.5.2, RFC 6052). */
function listOf(networks: string[]): BlockList {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', prefix] = network.split('/')
    const family = familyOf(address)
    const bits = Number(prefix ?? (family === 'ipv4' ? 32 : 128))
    list.addSubnet(address, bits, family)
    // The check of a `BlockList` compares mapped addresses with IPv4 networks, but not translated addresses.
    if (family === 'ipv4') list.addSubnet(`64:ff9b::${address}`, 96 + bits, 'ipv6')
  }
  return list
}

/**
 * Returns a check of the addresses that requests to clients go to: link-local addresses are never allowed, internal addresses only in the
 * given networks. The check returns whether an IP address is allowed.
 */
export function createAddressCheck(networks: string[]): (address: string) => boolean {
  const [never, inside, allowed] = [listOf(NEVER), listOf(INSIDE), listOf(networks)]
  const isIn = (list: BlockList, address: string) => list.check(address, familyOf(address))
  return (address) => !isIn(never, address) && (!isIn(inside, address) || isIn(allowed, address))
}
