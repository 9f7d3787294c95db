import { type Static, Type } from '@sinclair/typebox'
import type { DescribedConsent } from '../domain/consents.ts'
import { CLIENT_ID_PATTERN } from '../limits.ts'
import { pageSchema } from './pages.ts'
import { Instant, iso, PathId } from './schema.ts'

const CONSENT = {
  client_id: 'shop',
  client_name: 'Example Shop',
  scope: 'openid profile',
  created_at: '2026-11-22T09:00:00.000Z',
  updated_at: '2026-11-22T09:00:00.000Z'
}

export const ConsentView = Type.Object(
  {
    client_id: Type.String(),
    client_name: Type.String(),
    scope: Type.String({ description: 'The scopes that the user has allowed, separated by spaces' }),
    created_at: Instant(),
    updated_at: Instant('When the user last allowed the client something')
  },
  { $id: 'Consent', description: 'What a user has allowed a client', examples: [CONSENT] }
)

export const ConsentPage = pageSchema(Type.Ref(ConsentView), {
  $id: 'ConsentPage',
  description: 'Consents, in the order of the client ids',
  example: CONSENT
})

export const ConsentParams = Type.Object({ client: PathId(CLIENT_ID_PATTERN, '`client_id` of the client') })

/** The last part of the path of one consent. No other text reaches the route. */
export const CONSENT_PATH = `/:client(${CLIENT_ID_PATTERN})`

/** Returns the JSON of a consent. */
export const toWire = ({ client, scopes, createdAt, updatedAt }: DescribedConsent): Static<typeof ConsentView> => ({
  client_id: client.id,
  client_name: client.name,
  scope: scopes.map(({ name }) => name).join(' '),
  created_at: iso(createdAt),
  updated_at: iso(updatedAt)
})
