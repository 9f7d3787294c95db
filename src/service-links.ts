import { isIP } from 'node:net'

const isPort = (value: string): boolean => /^\d{1,5}$/.test(value)
const isAddress = (value: string): boolean => isIP(value) !== 0
const isLink = (value: string): boolean => {
  const [, bracketed, plain] = /^(?:tcp|udp|sctp):\/\/(?:\[([^\]]+)\]|([^:]+)):\d{1,5}$/.exec(value) ?? []
  return isAddress(bracketed ?? plain ?? '')
}

/**
 * The variables that Kubernetes writes into a container for a Service, and Docker for a link, by the end of their names. The beginning is
 * the name of the Service or the link, for example `LATCHKEY` or `LATCHKEY_DB`.
 */
const FORMS: [end: RegExp, isValue: (value: string) => boolean][] = [
  [/_SERVICE_HOST$/, isAddress],
  [/_SERVICE_PORT(_[A-Z0-9_]+)?$/, isPort],
  [/_PORT$/, isLink],
  [/_PORT_\d{1,5}_(TCP|UDP|SCTP)$/, isLink],
  [/_PORT_\d{1,5}_(TCP|UDP|SCTP)_PROTO$/, (value) => /^(tcp|udp|sctp)$/.test(value)],
  [/_PORT_\d{1,5}_(TCP|UDP|SCTP)_PORT$/, isPort],
  [/_PORT_\d{1,5}_(TCP|UDP|SCTP)_ADDR$/, isAddress],
  // Docker writes the names of both containers, and the variables of the other container.
  [/_NAME$/, (value) => /^\/[\w.-]+\/[\w.-]+$/.test(value)]
]

/**
 * Returns whether Kubernetes or Docker wrote a variable for a Service or a link. Both name and value must have the form that they write. The
 * caller selects the variables by the beginning of their names.
 * @param all all variables, because Docker copies the variables of a linked container with any name and value
 */
export function isServiceLink(name: string, value: string, all: Record<string, string | undefined>): boolean {
  if (FORMS.some(([end, isValue]) => end.test(name) && isValue(value))) return true
  const [, link] = /^(.+?)_ENV_./.exec(name) ?? []
  return link !== undefined && isServiceLink(`${link}_NAME`, all[`${link}_NAME`] ?? '', {})
}
