import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import type { LightMyRequestResponse } from 'fastify'

interface Media {
  schema: { $ref?: string }
  example?: unknown
}
export interface Operation {
  operationId?: string
  summary?: string
  description?: string
  security?: object[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<
    string,
    { headers?: Record<string, { schema: { type?: string } }>; content?: Record<string, Media> }
  >
}
export interface Document {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, { examples?: unknown[] }> }
}

export const DOCUMENT = 'openapi.json'

let loaded: ReturnType<typeof load> | undefined

function load() {
  const document = JSON.parse(readFileSync(join(process.env.TEST_READY as string, DOCUMENT), 'utf8')) as Document
  const ajv = new Ajv2020({ strict: false, meta: false, validateSchema: false })
  ajv.addFormat('uuid', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  ajv.addFormat('date-time', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  ajv.addSchema(document, 'document')
  const paths = Object.entries(document.paths).map(([path, operations]) => {
    const pattern = path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')
    return { pattern: new RegExp(`^${pattern}/?$`), exact: !path.includes('{'), operations }
  })
  const validators = new Map<string | object, ValidateFunction>()
  const validator = (schema: { $ref?: string; type?: string }): ValidateFunction => {
    const { $ref: reference } = schema
    const key = reference ?? schema
    const validate = validators.get(key) ?? ajv.compile(reference ? { $ref: `document${reference}` } : schema)
    validators.set(key, validate)
    return validate
  }
  return { document, validator, paths: paths.toSorted((a, b) => Number(b.exact) - Number(a.exact)) }
}

/** Returns the document of an app with the usual settings, and a validator for each of its schemas. */
export function documented(): ReturnType<typeof load> {
  loaded ??= load()
  return loaded
}

const path = (url: string): string => {
  try {
    return decodeURI(url.replace(/^https?:\/\/[^/]*/, '').split('?', 1)[0] as string)
  } catch {
    return url
  }
}

/**
 * Compares an answer with the document of its operation. Ignores paths that are not in the document.
 * @throws Error when the status, the media type, a header or the body is not documented
 */
export function assertDocumented(method: string, url: string, response: LightMyRequestResponse): void {
  const { paths, validator } = documented()
  const match = paths.find(({ pattern }) => pattern.test(path(url)))
  const operation = match?.operations[method.toLowerCase()]
  if (operation === undefined) return
  // A trailing slash may name no route.
  if (response.statusCode === 404 && path(url).endsWith('/')) return
  const { statusCode, headers, body } = response
  const name = `${method} ${url.slice(0, 100)}: ${statusCode}`
  const described = operation.responses[statusCode]
  if (described === undefined) throw new Error(`${name} is not in the document: ${body.slice(0, 200)}`)
  for (const [header, { schema }] of Object.entries(described.headers ?? {})) {
    const value = headers[header.toLowerCase()]
    if (!validator(schema)(schema.type === 'integer' ? Number(value) : value))
      throw new Error(`${name} has no valid header ${header}: ${value}`)
  }
  const [type = ''] = String(headers['content-type'] ?? '').split(';')
  if (described.content === undefined) {
    if (body !== '') throw new Error(`${name} has an undocumented body`)
    return
  }
  const media = described.content[type]
  if (media === undefined) throw new Error(`${name} has the undocumented type ${type}`)
  const validate = validator(media.schema)
  if (!validate(type === 'text/html' ? body : JSON.parse(body)))
    throw new Error(`${name}: ${JSON.stringify(validate.errors)}: ${body}`)
}
