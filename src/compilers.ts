import serializers from '@fastify/fast-json-stringify-compiler'
import { Ajv, type ValidateFunction } from 'ajv'

interface QuerySchema {
  properties?: Record<string, { type?: string }>
}

/** Converts the integers of a query to numbers, in place. Ajv's own conversion would also accept `1e400`, ` 7` and `0x7`. */
function convertIntegers(query: Record<string, unknown>, { properties = {} }: QuerySchema): void {
  for (const [name, { type }] of Object.entries(properties)) {
    const value = query[name]
    if (type === 'integer' && typeof value === 'string' && /^\d{1,15}$/.test(value)) query[name] = Number(value)
  }
}

/**
 * Returns the functions that build Fastify's compilers of validators and serializers. Each validator and serializer is compiled at its
 * first use, so that the app starts faster. A validator converts nothing but the integers of a query, which arrive as text.
 *
 * Fastify calls these functions again for every scope that adds a schema. All compilers share one Ajv and the compiled serializers.
 * `setValidatorCompiler` cannot do this, because Fastify drops its compiler in these scopes.
 */
export function compilersFactory() {
  const ajv = new Ajv({ allErrors: true, useDefaults: true, meta: false, validateSchema: false })
  const buildSerializer = serializers()
  const serializerByReference = new Map<string, ReturnType<ReturnType<typeof buildSerializer>>>()

  return {
    buildValidator(schemas: Record<string, object>) {
      for (const [id, schema] of Object.entries(schemas)) if (!(id in ajv.schemas)) ajv.addSchema(schema)
      return ({ schema, httpPart }: { schema: unknown; httpPart?: string }) => {
        let validate: ValidateFunction | undefined
        return (input: Record<string, unknown>) => {
          validate ??= ajv.compile(schema as object)
          if (httpPart === 'querystring') convertIntegers(input, schema as QuerySchema)
          return validate(input) || { error: validate.errors }
        }
      }
    },
    buildSerializer(...options: Parameters<typeof buildSerializer>) {
      const compile = buildSerializer(...options)
      return (route: Parameters<typeof compile>[0]) => {
        const { $ref: reference } = route.schema as { $ref?: string }
        let serialize: ReturnType<typeof compile> | undefined
        return (data: unknown) => {
          serialize ??= serializerByReference.get(reference ?? '') ?? compile(route)
          if (reference !== undefined) serializerByReference.set(reference, serialize)
          return serialize(data)
        }
      }
    }
  }
}
