import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { defined } from '../defined.ts'
import type { ApplicationType, SigningAlg } from '../domain/model.ts'
import { parseDuration } from './durations.ts'
import { Refusal } from './terminal.ts'

/** The options of the members of a client. */
export interface MemberOptions {
  grant?: string[]
  scope?: string[]
  defaultScope?: string[]
  /** False with `--no-role`. */
  role?: string[] | false
  resource?: string[]
  redirectUri?: string[]
  postLogoutRedirectUri?: string[]
  applicationType?: ApplicationType
  clientUri?: string
  logo?: string
  policyUri?: string
  tosUri?: string
  /** False with `--no-pkce`. */
  pkce?: boolean
  /** False with `--no-consent`. */
  consent?: boolean
  idTokenAlg?: SigningAlg | ''
  backchannelLogoutUri?: string
  firstParty?: boolean
  /** False with `--no-jwks`. */
  jwks?: string | false
  accessTokenTtl?: number
  sessionIdleTtl?: number
  sessionAbsoluteTtl?: number
}

/** Adds the options of the members of a client to a command. */
export const withMemberOptions = (command: Command): Command =>
  command
    .option(
      '--grant <grant...>',
      'grants that the client may use: authorization_code, client_credentials, password, refresh_token'
    )
    .option(
      '--scope <scope...>',
      'scopes that tokens of the client may hold; also tokens:introspect, if the client introspects tokens'
    )
    .option(
      '--default-scope <scope...>',
      'scopes of a token request without scopes; by default all scopes of the client'
    )
    .option(
      '--role <role...>',
      'roles that tokens of the client may carry; by default all roles for a first-party client, no role for another client'
    )
    .option(
      '--resource <id...>',
      'resources that tokens of the client may be for, the default resource first; by default every resource of its scopes'
    )
    .option('--redirect-uri <uri...>', 'where Latchkey may send the browser after a sign-in')
    .option('--post-logout-redirect-uri <uri...>', 'where Latchkey may send the browser after a logout')
    .addOption(
      new Option(
        '--application-type <type>',
        'native: an app on a device of the user, whose redirect URIs may have a scheme such as com.example.app'
      ).choices(['web', 'native'])
    )
    .option('--client-uri <uri>', 'home page of the app; an empty text removes it')
    .option('--logo <file>', 'logo: a file in the data directory, or a data: URI; an empty text removes it')
    .option('--policy-uri <uri>', 'privacy policy of the app; an empty text removes it')
    .option('--tos-uri <uri>', 'terms of service of the app; an empty text removes it')
    .option('--no-pkce', 'for old software without PKCE, confidential clients only; the log warns at each use')
    .option('--no-consent', 'do not ask users before the client gets tokens')
    .addOption(
      new Option(
        '--id-token-alg <alg>',
        'algorithm of ID tokens; an empty text means the algorithm in the settings'
      ).choices(['ES256', 'EdDSA', 'RS256', ''])
    )
    .option('--backchannel-logout-uri <uri>', 'where logout tokens are sent; an empty text removes it')
    .option(
      '--first-party',
      'a program of the operator, which may handle passwords; its users are not asked for consent'
    )
    .option('--jwks <file>', 'JWK Set with the public keys that authenticate the client, instead of a secret')
    .option('--access-token-ttl <duration>', 'lifetime of access tokens', parseDuration)
    .option('--session-idle-ttl <duration>', 'lifetime of a session without renewal', parseDuration)
    .option('--session-absolute-ttl <duration>', 'longest lifetime of a session', parseDuration)

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new Refusal(`${file} cannot be read as JSON: ${(error as Error).message}`)
  }
}

const orNone = <T extends string>(text: T | '' | undefined): T | null | undefined => (text === '' ? null : text)

/** Returns the given members with the names of the domain. */
export const membersOf = ({ jwks, ...options }: MemberOptions) =>
  defined({
    grantTypes: options.grant,
    scopes: options.scope,
    defaultScopes: options.defaultScope,
    roles: options.role === false ? [] : options.role,
    resources: options.resource,
    redirectUris: options.redirectUri,
    postLogoutRedirectUris: options.postLogoutRedirectUri,
    applicationType: options.applicationType,
    clientUri: orNone(options.clientUri),
    logoUri: orNone(options.logo),
    policyUri: orNone(options.policyUri),
    tosUri: orNone(options.tosUri),
    requirePkce: options.pkce,
    requireConsent: options.consent,
    idTokenAlg: orNone<SigningAlg>(options.idTokenAlg),
    backchannelLogoutUri: orNone(options.backchannelLogoutUri),
    firstParty: options.firstParty,
    accessTokenTtl: options.accessTokenTtl,
    sessionIdleTtl: options.sessionIdleTtl,
    sessionAbsoluteTtl: options.sessionAbsoluteTtl,
    jwks: typeof jwks === 'string' ? readJson(jwks) : jwks === false ? null : undefined
  })
