import '../guard/node.ts'
import { insecureWarning, isInsecure } from '../guard/metadata.ts'
import { systemTimer } from '../guard/timer.ts'
import { createClient, type TokenClient, type TokenClientOptions } from './token-client.ts'

export { TokenError } from './errors.ts'
export type { TokenClient, TokenClientOptions } from './token-client.ts'

/**
 * Creates a token client, with which a service calls another service with an access token of its own. Sends no request before its
 * first use. A service needs one token client for each service that it calls.
 * @throws TypeError for invalid options
 */
export function createTokenClient(options: TokenClientOptions): TokenClient {
  const client = createClient(options, systemTimer)
  if (isInsecure(options.issuer)) process.emitWarning(insecureWarning(options.issuer))
  return client
}
