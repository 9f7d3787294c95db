import '../guard/node.ts'
import { insecureWarning, isInsecure } from '../guard/metadata.ts'
import { systemTimer } from '../guard/timer.ts'
import { createLogins, type LoginClient, type LoginClientOptions } from './login-client.ts'
import { createClient, type TokenClient, type TokenClientOptions } from './token-client.ts'

export { TokenError } from './errors.ts'
export type { Login, LoginClient, LoginClientOptions, Tokens } from './login-client.ts'
export type { TokenClient, TokenClientOptions } from './token-client.ts'

function warnIfInsecure(issuer: string): void {
  if (isInsecure(issuer)) process.emitWarning(insecureWarning(issuer))
}

/**
 * Creates a token client, with which a service calls another service with an access token of its own. Sends no request before its
 * first use. A service needs one token client for each service that it calls.
 * @throws TypeError for invalid options
 */
export function createTokenClient(options: TokenClientOptions): TokenClient {
  const client = createClient(options, systemTimer)
  warnIfInsecure(options.issuer)
  return client
}

/**
 * Creates a login client, with which a program of the command line or the desktop signs users in, in their browser. Sends no request
 * before its first use.
 * @throws TypeError for invalid options
 */
export function createLoginClient(options: LoginClientOptions): LoginClient {
  const client = createLogins(options, systemTimer)
  warnIfInsecure(options.issuer)
  return client
}
