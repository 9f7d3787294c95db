import { type Static, Type } from '@sinclair/typebox'

export const Health = Type.Object({ status: Type.Literal('ok') }, { $id: 'Health', examples: [{ status: 'ok' }] })

/** The response of a service that works. */
export const HEALTHY: Static<typeof Health> = { status: 'ok' }
