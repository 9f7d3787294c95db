/** Returns the weight of a media type in an `Accept` header; 0 when it is not named. */
function weightOf(accept: string, type: string): number {
  for (const entry of accept.split(',', 30)) {
    const [name = '', ...params] = entry.split(';').map((part) => part.trim().toLowerCase())
    if (name !== type) continue
    const weight = params.find((param) => param.startsWith('q='))?.slice(2)
    return weight === undefined ? 1 : Number(weight) || 0
  }
  return 0
}

/** Returns whether `Accept` names HTML, with at least the weight of JSON. Browsers send such a header for a page; other programs do not. */
export const prefersHtml = (accept: string | undefined): boolean => {
  const weight = weightOf(accept ?? '', 'text/html')
  return weight > 0 && weight >= weightOf(accept ?? '', 'application/json')
}
