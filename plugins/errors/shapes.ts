import type { FastifyReply } from 'fastify'
import type { Failure, Shape } from './failure.ts'
import { oauth } from './oauth.ts'
import { page, reasonOf } from './page.ts'
import { problem } from './problem.ts'

export const SHAPES = { oauth, problem, page } satisfies Record<string, Shape>
export type ShapeName = keyof typeof SHAPES

/** Sends a failure in a shape. Forbids caches to store the response. */
export function sendFailure(
  reply: FastifyReply,
  failure: Failure,
  name: ShapeName
): FastifyReply | Promise<FastifyReply> {
  const shape = SHAPES[name]
  reply.code(failure.status).headers({ ...failure.headers, 'cache-control': 'no-store' })
  if (name === 'page')
    return reply.page('error', { reason: reasonOf(failure), retryAfter: Number(failure.headers?.['retry-after'] ?? 0) })
  return reply.type(shape.mediaType).send(shape.body(failure))
}
