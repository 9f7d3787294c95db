import { type Command, Option } from 'commander'
import { defined } from '../defined.ts'
import { AUTHORIZATION_CODE_GRANT, type Client, IDENTITY_SCOPES, REFRESH_GRANT } from '../domain/model.ts'
import type { MemberOptions } from './client-options.ts'

/** The options that fill in the members of a kind of client. */
export interface PresetOptions {
  /** Redirect URIs. */
  spa?: string[]
  web?: string[]
  native?: string[]
  service?: true
}

const PRESETS = ['spa', 'web', 'native', 'service'] as const

/** What a preset fills in. An option that is given itself replaces it. */
type Preset = Pick<MemberOptions, 'grant' | 'scope' | 'applicationType'> & { public?: true; redirectUri?: string[] }

const option = (name: (typeof PRESETS)[number], argument: string, description: string) =>
  new Option(`--${name}${argument}`, description).conflicts([
    ...PRESETS.filter((other) => other !== name),
    ...(name === 'service' ? ['redirectUri'] : []),
    'public'
  ])

/** Adds the options of the presets to `client add`. */
export const withPresets = (command: Command): Command =>
  command
    .addOption(option('spa', ' <redirect-uri...>', 'preset for an app in a browser: no secret, sign-in by code'))
    .addOption(option('web', ' <redirect-uri...>', 'preset for an app on a server: a secret, sign-in by code, refresh'))
    .addOption(
      option(
        'native',
        ' <redirect-uri...>',
        'preset for a mobile, desktop or terminal app: no secret, sign-in by code, refresh'
      )
    )
    .addOption(option('service', '', 'preset for a service that acts in its own name: a secret, client_credentials'))

/** Returns what the given preset fills in; an empty object without a preset. */
function presetOf({ spa, web, native, service }: PresetOptions): Preset {
  const signIn = { scope: IDENTITY_SCOPES }
  const renews = [AUTHORIZATION_CODE_GRANT, REFRESH_GRANT]
  if (spa !== undefined) return { ...signIn, public: true, grant: [AUTHORIZATION_CODE_GRANT], redirectUri: spa }
  if (web !== undefined) return { ...signIn, grant: renews, redirectUri: web }
  if (native !== undefined)
    return { ...signIn, public: true, grant: renews, redirectUri: native, applicationType: 'native' }
  return service ? { grant: ['client_credentials'] } : {}
}

/** Returns the options of a command with what its preset fills in. Redirect URIs of the preset and of the option are added up. */
export function filledIn(given: MemberOptions & PresetOptions & { public?: true }): MemberOptions & { public?: true } {
  const { spa: _spa, web: _web, native: _native, service: _service, redirectUri, ...options } = given
  const { redirectUri: own, ...preset } = presetOf(given)
  const all = own === undefined ? redirectUri : [...own, ...(redirectUri ?? [])]
  return { ...preset, ...options, ...defined({ redirectUri: all }) }
}

/** Returns the lines that say what to do with a new client. */
export function nextSteps(client: Client, issuer: string): string[] {
  const { id, grantTypes, firstParty, requireConsent, applicationType, redirectUris } = client
  const withoutPort =
    applicationType === 'web'
      ? redirectUris.find((uri) => /^http:\/\/(127\.0\.0\.1|\[::1\])([/?]|$)/.test(uri))
      : undefined
  if (grantTypes.includes(AUTHORIZATION_CODE_GRANT))
    return [
      `Next: give issuer ${issuer} and client_id ${id} to an OpenID Connect library. docs/sign-in.md has the code for each kind of app.`,
      ...(firstParty || !requireConsent
        ? []
        : [`Users are asked for consent. For an app of your own: latchkey client set ${id} --first-party`]),
      ...(withoutPort === undefined
        ? []
        : [
            `The port of ${withoutPort} is 80. For a desktop or terminal app, which may use any port: latchkey client set ${id} --application-type native`
          ])
    ]
  if (grantTypes.includes('client_credentials'))
    return [
      `Next: request tokens at ${issuer}/token with grant_type=client_credentials. docs/guides/service-to-service.md has the code.`
    ]
  return []
}
