import type { FastifyReply } from 'fastify'
import type { Failure, Shape } from './failure.ts'
import { oauth } from './oauth.ts'
import { problem } from './problem.ts'

export const SHAPES = { oauth, problem } satisfies Record<string, Shape>
export type ShapeName = keyof typeof SHAPES

/** Sends a failure in a shape. Forbids caches to store the response. */
export function sendFailure(reply: FastifyReply, failure: Failure, name: ShapeName): FastifyReply {
  const shape = SHAPES[name]
  return reply
    .code(failure.status)
    .headers({ ...failure.headers, 'cache-control': 'no-store' })
    .type(shape.mediaType)
    .send(shape.body(failure))
}
