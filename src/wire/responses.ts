import { type TSchema, Type } from '@sinclair/typebox'

/** Documents a response with a JSON body. */
export const json = (description: string, schema: TSchema) => ({
  description,
  content: { 'application/json': { schema: Type.Ref(schema) } }
})

/** Documents a response that is a page for a browser, and JSON for other programs. */
export function jsonOrPage(description: string, schema: TSchema) {
  const { content } = json(description, schema)
  return {
    description,
    content: { ...content, 'text/html': { schema: { type: 'string' }, example: '<!doctype html>' } }
  }
}

/** Documents a response that is a page for a browser. */
export const page = (description: string) => ({
  description,
  content: { 'text/html': { schema: { type: 'string' }, example: '<!doctype html>' } }
})

/** Documents a redirect of a browser. */
export const redirect = (description: string) => ({
  description,
  type: 'null',
  headers: { Location: { type: 'string', description: 'Where the browser goes' } }
})

/**
 * Options of a route whose parameters are only documented. The domain checks them: at `/authorize` the client must get the refusal, and at
 * `/logout` an invalid parameter is ignored. A repeated parameter is a list.
 */
export const unchecked = { validatorCompiler: () => () => true }

/** Documents a 201 response with the new object. */
export const created = (description: string, schema: TSchema) => ({
  ...json(description, schema),
  headers: { Location: { type: 'string', description: 'URL of the new object' } }
})

/** Documents a response without a body. */
export const empty = (description: string) => ({ description, type: 'null' })

const TITLES = { 404: 'Not Found', 409: 'Conflict' }

/** Documents an error that only some routes send. The errors plugin adds the errors that every route can send. */
export const problem = (status: keyof typeof TITLES, detail: string) => {
  const title = TITLES[status]
  const example = { type: 'about:blank', title, status, detail }
  return { description: title, content: { 'application/problem+json': { schema: Type.Ref('Problem'), example } } }
}
