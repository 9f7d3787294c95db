import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import * as wire from '../../src/wire/roles.ts'
import * as scopeWire from '../../src/wire/scopes.ts'
import { ISSUER, openDomain } from '../domain/open.ts'
import { accepts, sameLimits } from './schema.ts'

const EDITOR = { name: 'editor', description: 'May edit articles', scopes: ['profile'] }

t.test('a role is written with its members only', async (t) => {
  t.strictSame(wire.toWire({ ...EDITOR, ...{ later: 'x' } }), EDITOR)
  t.ok(accepts(wire.RoleView, wire.toWire(EDITOR)))
})

t.test('a new role is read with the documented defaults', async (t) => {
  const body: { name: string; description?: string } = { name: 'editor' }
  t.strictSame(wire.inputFromWire(body), { name: 'editor', description: '', scopes: [] })
  t.ok(accepts(wire.RoleCreation, body))
  t.strictSame(body, { name: 'editor', description: '', scopes: [] })
})

t.test('a change holds the given members only', async (t) => {
  t.strictSame(wire.editFromWire({}), {})
  t.strictSame(wire.editFromWire({ description: '' }), { description: '' })
  t.strictSame(wire.editFromWire({ scopes: [] }), { scopes: [] })
})

t.test('a stored value is returned as it was sent', async (t) => {
  const { roles } = (await openDomain(t)).auth
  t.strictSame(wire.toWire(await roles.create(OPERATOR, wire.inputFromWire(EDITOR))), EDITOR)
  const edit = { description: '', scopes: ['roles:read', 'users:read'] }
  t.strictSame(wire.toWire(await roles.change(OPERATOR, 'editor', wire.editFromWire(edit))), {
    name: 'editor',
    ...edit
  })
})

t.test('schema and domain have the same limits for a role', async (t) => {
  const { roles } = (await openDomain(t)).auth
  await sameLimits(t, wire.RoleCreation, {
    limits: [
      { name: 'name', max: { name: 'x'.repeat(64) }, over: { name: 'x'.repeat(65) } },
      {
        name: 'description',
        max: { name: 'a', description: '𝐀'.repeat(200) },
        over: { name: 'b', description: '𝐀'.repeat(201) }
      },
      { name: 'line', max: { name: 'c', description: 'a b' }, over: { name: 'd', description: 'a\u0085b' } }
    ],
    send: (body) => roles.create(OPERATOR, wire.inputFromWire(body))
  })
})

t.test('schema and domain accept the same names of roles', async (t) => {
  const { roles } = (await openDomain(t)).auth
  const accepted = async (name: string) => {
    try {
      await roles.create(OPERATOR, { name, description: '', scopes: [] })
      return true
    } catch (error) {
      if (error instanceof DomainError && error.code === 'invalid') return false
      throw error
    }
  }
  for (const name of ['a', 'a-b_c.9', 'aé', 'A', '9a', '-a', '.a', '_a', 'a b', 'a:b', '', 'a\n', 'a/b'])
    t.equal(await accepted(name), accepts(wire.RoleCreation, { name }), JSON.stringify(name))
})

t.test('the schema limits the number of scopes of a role', async (t) => {
  const scopes = (count: number) => ({ scopes: Array.from({ length: count }, (_, n) => `s:${n}`) })
  t.ok(accepts(wire.RoleChanges, scopes(200)))
  t.notOk(accepts(wire.RoleChanges, scopes(201)))
  t.notOk(accepts(wire.RoleChanges, { scopes: ['profile', 'profile'] }))
  t.notOk(accepts(wire.RoleChanges, { name: 'other' }))
})

t.test('a scope is written with the URI of its resource', async (t) => {
  const { scopes } = (await openDomain(t)).auth
  const { items } = await scopes.list({ after: 'keys:write', limit: 1 })
  t.strictSame(items.map(scopeWire.toWire), [{ name: 'openid', description: 'Know who you are', resource: ISSUER }])
})
