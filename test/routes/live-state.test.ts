import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { accepted, answer, answers, createForge, forbidden, INVALID_TOKEN } from '../forge.ts'
import { build } from '../helper.ts'
import { sql } from '../sql.ts'

// test/domain/live-state.test.ts tests which current states make a token invalid.

const SCOPES = 'account profile users:read'

const world = await build(t)
const { app, clock, createUser, get, login } = world
const { auth, store } = app
await auth.roles.create(OPERATOR, { name: 'reader', description: 'Reads', scopes: ['users:read'] })

let users = 0
/** Logs in a new user who may read everything. */
async function enter(roles = ['admin', 'user', 'reader']) {
  const username = `user${users++}`
  const id = await createUser(username, roles)
  const token = await login(username, SCOPES)
  return { id, token, forge: await createForge(world, token) }
}

t.test('every operation refuses a token as soon as its session has ended [SC5]', async (t) => {
  const [ended, other] = [await enter(), await enter()]
  await accepted(t, world, ended.token)
  await store.sessions.end(OPERATOR, { id: ended.forge.claims.sid, now: clock.now() })
  await answers(t, world, ended.token, INVALID_TOKEN)
  await accepted(t, world, other.token)
})

t.test('every operation refuses the tokens of a disabled and of a deleted user [SC5]', async (t) => {
  const [disabled, deleted] = [await enter(), await enter()]
  for (const { token } of [disabled, deleted]) await accepted(t, world, token)
  await auth.users.change(OPERATOR, disabled.id, { disabled: true })
  await auth.users.delete(OPERATOR, deleted.id)
  for (const { token } of [disabled, deleted]) await answers(t, world, token, INVALID_TOKEN)
})

t.test('every operation refuses a token with the session of another user [SC4]', async (t) => {
  const [mallory, alice] = [await enter(), await enter()]
  await answers(t, world, mallory.forge.token({}, { sid: alice.forge.claims.sid }), INVALID_TOKEN)
})

t.test('every operation refuses a token whose key is retired [KS2]', async (t) => {
  const { token, forge } = await enter()
  const state = (name: string) =>
    sql(world, `update signing_keys set state = '${name}' where kid = '${forge.header.kid}'`)
  await state('verifying')
  await accepted(t, world, token)
  await state('retired')
  await answers(t, world, token, INVALID_TOKEN)
  const jwks = await world.inject({ method: 'GET', url: '/.well-known/jwks.json' })
  t.equal(jwks.json().keys.length, (await store.keys.list()).length, 'the retired key is not published')
  await state('signing')
  await accepted(t, world, token)
})

t.test('a removed role or scope is 403 at the next request, with the missing scope [SC3 SC4]', async (t) => {
  const { id, token, forge } = await enter()
  await accepted(t, world, token)
  const read = async (url: string) => answer(await get(url, token))
  const change = (roles: string[]) => auth.users.change(OPERATOR, id, { roles })
  await change(['user', 'reader'])
  t.strictSame(await read('/users'), forbidden({ role: 'admin' }))
  t.strictSame((await get('/users/me', token)).json().roles, ['reader', 'user'])
  await change(['user'])
  t.strictSame(await read('/users'), forbidden({ scope: 'users:read', role: 'admin' }))
  await change([])
  t.strictSame(await read('/users/me/sessions'), forbidden({ scope: 'account' }))
  await change(['admin'])
  await accepted(t, world, token)

  await change(['user'])
  const greedy = forge.token({}, { scope: SCOPES, roles: ['admin'] })
  t.strictSame((await get('/users/me', greedy)).json().roles, ['user'])
  t.strictSame(
    answer(await get('/users', greedy)),
    forbidden({ scope: 'users:read', role: 'admin' }),
    'claims of a token give no rights'
  )
})
