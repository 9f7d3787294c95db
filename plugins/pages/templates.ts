import { readFileSync } from 'node:fs'
import { Eta } from 'eta'
import type { PageName } from './data.ts'

const PAGES: Record<PageName, URL> = {
  home: new URL('./templates/home.eta', import.meta.url),
  'sign-in': new URL('./templates/sign-in.eta', import.meta.url),
  'choose-account': new URL('./templates/choose-account.eta', import.meta.url),
  consent: new URL('./templates/consent.eta', import.meta.url),
  'form-post': new URL('./templates/form-post.eta', import.meta.url),
  returning: new URL('./templates/returning.eta', import.meta.url),
  'sign-out': new URL('./templates/sign-out.eta', import.meta.url),
  'signed-out': new URL('./templates/signed-out.eta', import.meta.url),
  error: new URL('./templates/error.eta', import.meta.url),
  account: new URL('./templates/account.eta', import.meta.url),
  'account-password': new URL('./templates/account-password.eta', import.meta.url),
  'account-sessions': new URL('./templates/account-sessions.eta', import.meta.url),
  'account-apps': new URL('./templates/account-apps.eta', import.meta.url)
}

/** Templates that other templates include. */
const PARTS: Record<string, URL> = {
  layout: new URL('./templates/layout.eta', import.meta.url),
  client: new URL('./templates/client.eta', import.meta.url),
  'form-token': new URL('./templates/form-token.eta', import.meta.url),
  'service-links': new URL('./templates/service-links.eta', import.meta.url),
  'account-state': new URL('./templates/account-state.eta', import.meta.url),
  place: new URL('./templates/place.eta', import.meta.url)
}

/** Returns the name by which Eta finds a template in its memory. */
export const templateOf = (name: string): string => `@${name}.eta`

/** Loads and compiles all templates. `<%= … %>` escapes; only the templates themselves are inserted without escaping. */
export function loadTemplates(): Eta {
  const eta = new Eta({ cache: true, autoEscape: true })
  for (const [name, file] of Object.entries({ ...PAGES, ...PARTS }))
    eta.loadTemplate(templateOf(name), readFileSync(file, 'utf8'))
  return eta
}
