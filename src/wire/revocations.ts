import { type Static, Type } from '@sinclair/typebox'
import type { LogPage } from '../domain/revocation-log.ts'
import {
  IDENTIFIER_MAX,
  LOG_AUDIENCES_MAX,
  REVOCATIONS_AFTER_MAX,
  REVOCATIONS_MAX,
  REVOCATIONS_WAIT_MAX
} from '../limits.ts'

const Seq = (description: string) => Type.Integer({ minimum: 0, description })

export const RevocationView = Type.Object(
  {
    entries: Type.Array(
      Type.Object({
        seq: Seq('The number of the entry'),
        kind: Type.Unsafe<string>({
          type: 'string',
          enum: ['session', 'token', 'key', 'session_tokens', 'user', 'client', 'role', 'all'],
          description:
            '`session`, `token` and `key` revoke the object itself; `session_tokens`, `user`, `client` and `role` revoke every token of the object with a `rev` below `seq`, and `all` every token with a `rev` below `seq`'
        }),
        expires_in: Type.Integer({
          minimum: 0,
          description: 'Seconds after which no valid token is left that the entry revokes'
        }),
        id: Type.String({
          description:
            'Depends on `kind`: a `sid` for `session` and `session_tokens`, a `jti` for `token`, a `kid` for `key`, the `sub` of a user for `user`, a `client_id` for `client`, a name in `roles` for `role`, `*` for `all`'
        })
      }),
      { maxItems: REVOCATIONS_MAX, description: 'In the order of their numbers' }
    ),
    next: Seq('The number up to which the response is complete: the next `after`'),
    seq: Seq('The number of the last entry of the log, whether or not you may read it'),
    oldest: Seq('The smallest `after` for which no entry is missing')
  },
  {
    $id: 'RevocationLog',
    description: 'Revocations. An entry is kept until every token that it revokes has expired',
    examples: [
      {
        entries: [{ seq: 1042, kind: 'user', id: '0199d0a4-7c1e-7b8a-9d53-2f0f6c1a7e10', expires_in: 3660 }],
        next: 1043,
        seq: 1043,
        oldest: 977
      }
    ]
  }
)

export const RevocationQuery = Type.Object(
  {
    after: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: REVOCATIONS_AFTER_MAX,
        default: 0,
        description: 'The number of the last entry that you have read; 0 for none'
      })
    ),
    wait: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: REVOCATIONS_WAIT_MAX,
        default: 0,
        description: 'Seconds to wait while there is no new entry'
      })
    ),
    audience: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: LOG_AUDIENCES_MAX * (IDENTIFIER_MAX + 1),
        pattern: `^[^ ]+( [^ ]+){0,${LOG_AUDIENCES_MAX - 1}}$`,
        description: `Identifiers of resources that you serve, at most ${LOG_AUDIENCES_MAX}, separated by spaces. Without it, all that you serve`
      })
    )
  },
  { additionalProperties: false }
)

/** Returns the JSON of a part of the revocation log. */
export const toWire = ({ entries, next, seq, oldest }: LogPage): Static<typeof RevocationView> => ({
  entries: entries.map(({ expiresIn, ...entry }) => ({ ...entry, expires_in: expiresIn })),
  next,
  seq,
  oldest
})

/** Converts the query. */
export function fromWire({ after = 0, wait = 0, audience }: Static<typeof RevocationQuery>) {
  const audiences = audience === undefined ? null : [...new Set(audience.split(' '))]
  return { after, wait, audiences }
}
