/**
 * Names that the service declares, so that the types know them:
 * `declare module 'latchkey-guard' { interface Declared { scope: 'orders:read' | 'orders:write' } }`
 */
// biome-ignore lint/suspicious/noEmptyInterface: the service adds the members
export interface Declared {}

/** The scopes that guards accept: the declared ones, or any text when the service declares none. */
export type ScopeName = Declared extends { scope: infer Scope extends string } ? Scope : string
