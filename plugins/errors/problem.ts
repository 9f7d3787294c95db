import { defined } from '../../src/defined.ts'
import { http } from '../../src/node-http.ts'
import type { Shape } from './failure.ts'

const PROBLEM = {
  $id: 'Problem',
  description: 'An error, RFC 9457',
  type: 'object',
  required: ['type', 'title', 'status', 'detail'],
  properties: {
    type: { type: 'string', description: 'Always `about:blank`: the status says everything (RFC 9457 §4.2.1)' },
    title: { type: 'string', description: 'The name of the status' },
    status: { type: 'integer' },
    detail: { type: 'string', description: 'The reason' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['pointer', 'detail'],
        properties: {
          pointer: { type: 'string', description: 'A JSON pointer to the invalid part: `/body/email`' },
          detail: { type: 'string', description: 'The reason' }
        }
      }
    }
  }
}

/** The format of problem details (RFC 9457 §3), for every endpoint that names no other shape. */
export const problem: Shape = {
  mediaType: 'application/problem+json',
  accepts: 'application/json',
  schema: PROBLEM,
  body: ({ status, detail, errors }) => ({
    type: 'about:blank',
    title: http.STATUS_CODES[status] ?? 'Error',
    status,
    detail,
    ...defined({ errors })
  })
}
