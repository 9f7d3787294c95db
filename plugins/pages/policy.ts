/**
 * Returns the `form-action` of a page with a form, whose response may redirect to `returnsTo`. Chromium applies it to every redirect after
 * the form, also to those of the client, so `reply.leave` redirects only to private-use schemes. These redirect no further.
 */
export function formTargets(returnsTo: string | null): string {
  const isPrivateUse = returnsTo !== null && !/^https?:/i.test(returnsTo)
  return isPrivateUse ? `'self' ${new URL(returnsTo).protocol}` : "'self'"
}

/**
 * Returns the content security policy of a page.
 * @param formAction null for a page whose form may be posted anywhere
 */
export function policyOf({ hasScript, formAction }: { hasScript: boolean; formAction: string | null }): string {
  return [
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self' data:",
    ...(hasScript ? ["script-src 'self'"] : []),
    ...(formAction === null ? [] : [`form-action ${formAction}`]),
    "base-uri 'none'",
    "frame-ancestors 'none'"
  ].join('; ')
}
