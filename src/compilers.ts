import serializers from '@fastify/fast-json-stringify-compiler'
import { Ajv } from 'ajv'

interface QuerySchema {
  properties?: Record<string, { type?: string }>
}

/** Ajv would make a number of `1e400`, ` 7` and `0x7` too. */
function withIntegers(input: Record<string, unknown>, { properties = {} }: QuerySchema): void {
  for (const [name, { type }] of Object.entries(properties)) {
    const value = input[name]
    if (type === 'integer' && typeof value === 'string' && /^\d{1,15}$/.test(value)) input[name] = Number(value)
  }
}

/**
 * What Fastify makes validators and serialisers with. Input is taken as it is, but for integers in a query, which come as
 * text. Fastify asks for new compilers at every route of a scope that adds a schema (and drops what was set on the app
 * by `setValidatorCompiler`); one of each for the app makes its start several times faster.
 */
export function compilersFactory() {
  const ajv = new Ajv({ allErrors: true, useDefaults: true, meta: false, validateSchema: false })
  const buildSerializer = serializers()
  const serializerOf = new Map<string, ReturnType<ReturnType<typeof buildSerializer>>>()

  return {
    buildValidator(shared: Record<string, object>) {
      for (const [id, schema] of Object.entries(shared)) if (!(id in ajv.schemas)) ajv.addSchema(schema)
      return ({ schema, httpPart }: { schema: unknown; httpPart?: string }) => {
        const validate = ajv.compile(schema as object)
        if (httpPart !== 'querystring') return validate
        return (input: Record<string, unknown>) => {
          withIntegers(input, schema as QuerySchema)
          return validate(input) || { error: validate.errors }
        }
      }
    },
    buildSerializer(...options: Parameters<typeof buildSerializer>) {
      const compile = buildSerializer(...options)
      return (route: Parameters<typeof compile>[0]) => {
        const { $ref: reference } = route.schema as { $ref?: string }
        const serialize = serializerOf.get(reference ?? '') ?? compile(route)
        if (reference !== undefined) serializerOf.set(reference, serialize)
        return serialize
      }
    }
  }
}
