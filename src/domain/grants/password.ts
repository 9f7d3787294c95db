import { OAuthError } from '../errors.ts'
import type { PasswordProof } from '../password-proof.ts'
import type { Clock } from '../ports/clock.ts'
import { type Grant, required } from './grant.ts'

const REFUSAL = 'Incorrect username or password'

/** Resource Owner Password Credentials, RFC 6749 §4.3; for first-party clients only (RFC 9700 §2.4). */
export const createPasswordGrant = (deps: { passwordProof: PasswordProof; clock: Clock }): Grant => ({
  type: 'password',
  params: { username: 'The name of the user', password: 'The password of the user' },
  docsWithoutClient: true,
  isFor: (client) => client.firstParty,
  allowedClients: 'first-party clients only',

  async authorize(caller, { client, params }) {
    const [username, password] = [required(params, 'username'), required(params, 'password')]
    const proof = await deps.passwordProof.verifyLogin(caller, { username, password })
    // The same for every reason: clients that handle passwords show no page of this service.
    if (proof.kind === 'refused') throw new OAuthError('invalid_grant', REFUSAL)
    const { credentials } = proof
    return {
      kind: 'login',
      login: {
        userId: credentials.user.id,
        authVersion: credentials.authVersion,
        authAt: deps.clock.now(),
        amr: ['pwd']
      },
      code: null,
      scopes: client.scopes,
      defaultScopes: client.defaultScopes,
      resources: params.resource ?? [],
      refusal: REFUSAL
    }
  }
})
