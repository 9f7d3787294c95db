import { type Static, Type } from '@sinclair/typebox'
import type { StoredKey } from '../domain/model.ts'
import { KID_PATTERN } from '../limits.ts'
import { pageSchema } from './pages.ts'
import { Instant, iso, isoOrNull, OrNull, PathId } from './schema.ts'

const KEY = {
  kid: 'cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s',
  alg: 'ES256',
  state: 'verifying',
  created_at: '2026-09-22T09:00:00.000Z',
  signs_since_at: '2026-10-22T09:00:00.000Z',
  verifies_until_at: '2026-11-21T10:01:00.000Z',
  retired_at: null
}

export const KeyView = Type.Object(
  {
    kid: Type.String({ description: 'The thumbprint (RFC 7638), in the header of every token that the key signed' }),
    alg: Type.String(),
    state: Type.Union(
      (['next', 'signing', 'verifying', 'retired'] as const).map((state) => Type.Literal(state)),
      {
        description:
          '`next` is published and signs after the next rotation; `verifying` no longer signs; `retired` no longer verifies'
      }
    ),
    created_at: Instant('When the key was published'),
    signs_since_at: OrNull(Instant(), 'When the key began to sign; null if it never signed'),
    verifies_until_at: OrNull(
      Instant(),
      'When the last token of the key expires; null while the key is `next` or `signing`, and if it was retired in one of these states'
    ),
    retired_at: OrNull(Instant(), 'null while the key is published')
  },
  { $id: 'Key', description: 'A key that signs tokens, without its private part', examples: [KEY] }
)

export const KeyPage = pageSchema(Type.Ref(KeyView), {
  $id: 'KeyPage',
  description: 'Keys, the newest first',
  example: KEY
})

export const KeyRetirement = Type.Object(
  {
    compromised: Type.Boolean({
      description:
        'true retires the key at once, and every token that it signed becomes invalid; false requires that all of these tokens have expired'
    })
  },
  {
    $id: 'KeyRetirement',
    additionalProperties: false,
    description: 'Why a key is retired',
    examples: [{ compromised: true }]
  }
)

export const KeyParams = Type.Object({ kid: PathId(KID_PATTERN, '`kid` of the key') })

/** The path of one key. */
export const KEY_PATH = `/keys/:kid(${KID_PATTERN})`

/** Returns the JSON of a key without its private part. */
export const toWire = (key: StoredKey): Static<typeof KeyView> => ({
  kid: key.kid,
  alg: key.alg,
  state: key.state,
  created_at: iso(key.createdAt),
  signs_since_at: isoOrNull(key.signsSinceAt),
  verifies_until_at: isoOrNull(key.verifiesUntilAt),
  retired_at: isoOrNull(key.retiredAt)
})

/** Converts the JSON of the reason for a retirement. */
export const retirementFromWire = ({ compromised }: Static<typeof KeyRetirement>) => ({ compromised })
