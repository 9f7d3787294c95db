/**
 * Returns the source of a `form-action` for a URL: its origin. Private-use schemes have no origin, and the grammar of CSP has no IPv6
 * addresses, so their source is the scheme.
 */
export function formSource(url: string): string {
  const { protocol, origin, hostname } = new URL(url)
  const hasOrigin = protocol === 'https:' || protocol === 'http:'
  return hasOrigin && !hostname.startsWith('[') ? origin : protocol
}

/**
 * Returns the content security policy of a page.
 * @param formActions URLs to which the forms of the page are posted, or to which the responses to them redirect
 */
export function policyOf({
  hasScript,
  hasForm,
  formActions
}: {
  hasScript: boolean
  hasForm: boolean
  formActions: string[]
}): string {
  const targets = [...(hasForm ? ["'self'"] : []), ...new Set(formActions.map(formSource))]
  return [
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self' data:",
    ...(hasScript ? ["script-src 'self'"] : []),
    `form-action ${targets.length === 0 ? "'none'" : targets.join(' ')}`,
    "base-uri 'none'",
    "frame-ancestors 'none'"
  ].join('; ')
}
