import '../guard/node.ts'
import { systemTimer } from '../guard/timer.ts'
import { createClient, type TokenClient, type TokenClientOptions } from './token-client.ts'

export { TokenError } from './errors.ts'
export type { TokenClient, TokenClientOptions } from './token-client.ts'

/**
 * Returns the client of a service that calls other services in its own name. Sends nothing before the first call. A service needs
 * one client for each service that it calls.
 * @throws TypeError for options that are not valid
 */
export const createTokenClient = (options: TokenClientOptions): TokenClient => createClient(options, systemTimer)
