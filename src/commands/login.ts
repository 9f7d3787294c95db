import { spawn } from 'node:child_process'
import type { Command } from 'commander'
import {
  createLoginClient,
  type LoginClient,
  type LoginClientOptions,
  TokenError,
  type Tokens
} from '../client/index.ts'
import { loadConfig } from '../config.ts'
import { defined } from '../defined.ts'
import { type Json, print, Refusal, type Terminal } from './terminal.ts'

interface LoginOptions extends Json {
  issuer?: string
  scope?: string[]
  resource?: string
}

/** Returns the program of an operating system that opens a URL in the browser, and its arguments. */
export function browserCommand(platform: NodeJS.Platform, url: string): [file: string, ...args: string[]] {
  if (platform === 'darwin') return ['open', url]
  // Not "start", which is a command of a shell that gives "&" a meaning.
  if (platform === 'win32') return ['rundll32', 'url.dll,FileProtocolHandler', url]
  return ['xdg-open', url]
}

/** Opens a URL in the browser, if the system has one. */
function openBrowser(url: string): void {
  const [file, ...args] = browserCommand(process.platform, url)
  const child = spawn(file, args, { stdio: 'ignore', detached: true })
  child.once('error', () => {}) // the user opens the printed URL
  child.unref()
}

/** @throws Refusal for invalid options */
function createClient(options: LoginClientOptions): LoginClient {
  try {
    return createLoginClient(options)
  } catch (error) {
    throw new Refusal((error as Error).message, 2)
  }
}

/** Returns the JSON of a token response (RFC 6749 §5.1). */
const tokensToWire = ({ accessToken, expiresIn, refreshToken, idToken, scope }: Tokens) => ({
  access_token: accessToken,
  token_type: 'Bearer',
  expires_in: expiresIn,
  scope,
  ...defined({ refresh_token: refreshToken ?? undefined, id_token: idToken ?? undefined })
})

/** `latchkey login` */
export function addLoginCommand(program: Command, terminal: Terminal): void {
  program
    .command('login <client>')
    .description(
      'sign in at a running service, in the browser, and print the access token; the client must be public and native and have the redirect URI http://127.0.0.1/callback'
    )
    .option('--issuer <url>', 'the service; by default the issuer of the settings')
    .option('--scope <scope...>', 'scopes of the token; by default the default scopes of the client')
    .option('--resource <uri>', 'the service that the token is for')
    .option('--json', 'print the token response as JSON, with the refresh token and the ID token')
    .addHelpText(
      'after',
      '\nExamples:\n  latchkey client add "Terminal" --id terminal --native http://127.0.0.1/callback\n' +
        '  TOKEN=$(latchkey login terminal --scope openid profile)\n' +
        '\nNothing is stored. The session ends like every other: "latchkey session list <username>" lists it.'
    )
    .action(async (clientId: string, { json, issuer, scope, resource }: LoginOptions) => {
      const { stdin, stderr, env } = terminal
      const config = issuer === undefined ? loadConfig(env()) : { issuer, insecureHttp: false }
      const client = createClient({
        issuer: config.issuer,
        insecureHttp: config.insecureHttp,
        clientId,
        ...defined({ scope: scope?.join(' '), resource }),
        open(url) {
          stderr.write(`Sign in at this address:\n${url}\n`)
          if (stdin.isTTY) openBrowser(url)
        }
      })
      try {
        const login = await client.login()
        login.close()
        print(terminal, json, tokensToWire(login.tokens), login.tokens.accessToken)
      } catch (error) {
        throw error instanceof TokenError ? new Refusal(error.message) : error
      }
    })
}
