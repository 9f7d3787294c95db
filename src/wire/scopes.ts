import { type Static, Type } from '@sinclair/typebox'
import type { Scopes } from '../domain/scopes.ts'
import { pageSchema } from './pages.ts'

const ScopeView = Type.Object({
  name: Type.String(),
  description: Type.String(),
  resource: Type.String({ description: 'The URI of the resource that the scope belongs to: `aud` of its tokens' })
})

export const ScopePage = pageSchema(ScopeView, {
  $id: 'ScopePage',
  description: 'Scopes, by name',
  example: { name: 'profile', description: 'See your name and your roles', resource: 'https://id.example.com' }
})

type ListedScope = Awaited<ReturnType<Scopes['list']>>['items'][number]

/** Returns the JSON of a scope. */
export const toWire = ({ name, description, resource }: ListedScope): Static<typeof ScopeView> => ({
  name,
  description,
  resource
})
