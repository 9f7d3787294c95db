import { type Static, Type } from '@sinclair/typebox'
import type { NewSecret as AddedSecret } from '../domain/client-secrets.ts'
import type { ClientSecret } from '../domain/model.ts'
import { CLIENT_ID_PATTERN, SECRET_TTL_MAX, UUID_PATTERN } from '../limits.ts'
import { Instant, iso, isoOrNull, OrNull, PathId, seconds } from './schema.ts'

/** An example of the text of a secret. */
export const SECRET_TEXT = 'lks_3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
/** An example of a secret as responses show it, without its text. */
export const SECRET = {
  id: '0199d0a4-9a31-7d02-b5c1-7e2f9b3a4c10',
  created_at: '2026-11-22T09:00:00.000Z',
  client_secret_expires_at: 0,
  last_used_at: '2026-11-22T10:00:00.000Z'
}

export const ClientSecretView = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    created_at: Instant(),
    client_secret_expires_at: Type.Integer({ description: 'Seconds since the epoch; 0 for never' }),
    last_used_at: OrNull(Instant(), 'Precise to the hour; null for never')
  },
  { $id: 'ClientSecret', description: 'A client secret without its text', examples: [SECRET] }
)

const Ttl = (minimum: number, description: string) => Type.Integer({ minimum, maximum: SECRET_TTL_MAX, description })

export const SecretCreation = Type.Object(
  {
    expires_in: Type.Optional(Ttl(1, 'Lifetime of the secret, in seconds; without it the secret never expires')),
    others_expire_in: Type.Optional(Ttl(0, 'Longest remaining lifetime of the other secrets, in seconds'))
  },
  {
    $id: 'SecretCreation',
    additionalProperties: false,
    description: 'A new secret; `{}` for a secret that never expires',
    examples: [{ others_expire_in: 86_400 }]
  }
)

export const NewSecret = Type.Object(
  { ...ClientSecretView.properties, client_secret: Type.String({ description: 'The text, which is shown once' }) },
  {
    $id: 'NewSecret',
    description: 'The new secret',
    examples: [{ ...SECRET, last_used_at: null, client_secret: SECRET_TEXT }]
  }
)

export const SecretParams = Type.Object({
  id: PathId(CLIENT_ID_PATTERN, '`client_id` of the client'),
  secret: PathId(UUID_PATTERN, '`id` of the secret')
})

/** The path of one secret, after the path of the secrets of its client. */
export const SECRET_PATH = `/:secret(${UUID_PATTERN})`

/** Returns the JSON of a secret without its text. */
export const toWire = ({ id, createdAt, expiresAt, lastUsedAt }: ClientSecret): Static<typeof ClientSecretView> => ({
  id,
  created_at: iso(createdAt),
  client_secret_expires_at: expiresAt === null ? 0 : seconds(expiresAt),
  last_used_at: isoOrNull(lastUsedAt)
})

/** Returns the JSON of a new secret with its text. */
export const newToWire = ({ secret, stored }: AddedSecret): Static<typeof NewSecret> => ({
  ...toWire(stored),
  client_secret: secret
})

/** Converts the JSON of the lifetimes of a new secret and of the other secrets. */
export const inputFromWire = (body: Static<typeof SecretCreation>) => ({
  expiresIn: body.expires_in,
  othersExpireIn: body.others_expire_in
})
