import type { TSchema } from '@sinclair/typebox'
import { Ajv } from 'ajv'
import type { Test } from 'tap'
import { ClientSecretView } from '../../src/wire/client-secrets.ts'

const ajv = new Ajv({ allErrors: true, useDefaults: true, strict: false })
ajv.addFormat('uuid', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
ajv.addFormat('date-time', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
ajv.addSchema(ClientSecretView)

/** Returns whether a schema accepts a value. Sets the defaults of the value, as the service does. */
export const accepts = (schema: TSchema, value: unknown): boolean => ajv.compile(schema)(value) as boolean

/** Matches the refusal of an invalid value by the domain. */
export const INVALID = { code: 'invalid' }

/** A body at a limit, which schema and domain must accept, and one that exceeds it, which both must refuse. */
export interface Limit<Body> {
  name: string
  max: Body
  over: Body
}

/**
 * Checks that schema and domain have the same limits.
 * @param send gives a body to the domain, as a route does after the validation
 */
export async function sameLimits<Body>(
  t: Test,
  schema: TSchema,
  { limits, send }: { limits: Limit<Body>[]; send: (body: Body) => Promise<unknown> }
): Promise<void> {
  for (const { name, max, over } of limits) {
    t.ok(accepts(schema, max), `${name}: the schema accepts the limit`)
    await t.resolves(send(max), `${name}: the domain accepts the limit`)
    t.notOk(accepts(schema, over), `${name}: the schema refuses more`)
    await t.rejects(send(over), INVALID, `${name}: the domain refuses more`)
  }
}
