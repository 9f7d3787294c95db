import type { Principal } from '../token/principal.ts'
import { type Refusal, refusal } from '../token/refusal.ts'

/** The requirements of a guard. The guards of a route are merged into one demand. */
export interface Demand {
  user: boolean
  scopes: string[]
  roles: string[]
}

/** Returns one demand that requires everything that these demands require. */
export const merge = (demands: Demand[]): Demand => ({
  user: demands.some((each) => each.user),
  scopes: [...new Set(demands.flatMap((each) => each.scopes))],
  roles: [...new Set(demands.flatMap((each) => each.roles))]
})

const namesOf = (what: string, names: string[]): string[] =>
  names.length === 0 ? [] : [`the ${what}${names.length > 1 ? 's' : ''} ${names.join(', ')}`]

/** Returns what a principal lacks; null when it satisfies the demand. The message is also for the caller. */
export function lacking({ user, scopes, roles }: Demand, principal: Principal): Refusal | null {
  if (user && principal.kind !== 'user') return refusal('not_a_user', 'The token is not a token of a user')
  const missingScopes = scopes.filter((scope) => !principal.scopes.includes(scope))
  const missingRoles = roles.filter((role) => !principal.roles.includes(role))
  const missing = [...namesOf('scope', missingScopes), ...namesOf('role', missingRoles)]
  if (missing.length === 0) return null
  return refusal(
    missingScopes.length > 0 ? 'missing_scope' : 'missing_role',
    `The token lacks ${missing.join(' and ')}`
  )
}

const quoted = (names: string[]): string => names.map((name) => `\`${name}\``).join(', ')

/** Describes a demand for the OpenAPI document. */
export function describe({ user, scopes, roles }: Demand): string {
  const needs = [
    ...(scopes.length > 0 ? [`the scope ${quoted(scopes)}`] : []),
    ...(roles.length > 0 ? [`the role ${quoted(roles)}`] : [])
  ]
  return `Needs ${user ? 'a user’s token' : 'a token'}${needs.length > 0 ? ` with ${needs.join(' and ')}` : ''}.`
}
