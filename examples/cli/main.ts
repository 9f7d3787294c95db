import { createLoginClient, TokenError } from 'latchkey-guard/client'

const { ISSUER = 'http://localhost:3000', CLIENT_ID = 'cli' } = process.env
const print = (line: string) => void process.stdout.write(`${line}\n`)

const client = createLoginClient({
  issuer: ISSUER,
  clientId: CLIENT_ID,
  scope: 'openid profile',
  open: (url) => print(`Sign in at this address:\n${url}`)
})

try {
  const login = await client.login()
  const headers = { authorization: `Bearer ${await login.getToken()}` }
  const user = (await (await fetch(`${ISSUER}/userinfo`, { headers })).json()) as Record<string, string>
  print(`Hello ${user.name ?? user.preferred_username}`)
  login.close()
} catch (error) {
  if (!(error instanceof TokenError)) throw error
  print(error.message)
  process.exitCode = 1
}
