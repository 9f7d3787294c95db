import t, { type Test } from 'tap'
import { accepted, answer, answers, createForge, type Forge, forbidden, INVALID_TOKEN, READABLE } from '../forge.ts'
import { build, type Database, onOneDatabase, type TestApp } from '../helper.ts'
import { sql } from '../sql.ts'

const SCOPES = 'profile users:read'
const HOUR = 3600

interface World extends TestApp {
  /** SQL from outside. */
  run: (sql: string) => Promise<unknown>
  /** A new login of a new user who may call every guarded path, and what can be forged from its token. */
  stranger: (roles?: string[]) => Promise<Forge & { good: string }>
}

/** A server with a second client `other` and a role `reader` that has the scope `users:read`. */
async function settle(t: Test, database: Database): Promise<World> {
  const world = await build(t, { database })
  const { env, createUser, login } = world
  const run = (text: string) => sql({ env }, text)
  await run(`insert into roles (name, description, created_at, updated_at) values ('reader', 'Reads', 0, 0);
    insert into role_scopes (role, scope) values ('reader', 'users:read');
    insert into clients (id, name, kind, first_party, resources, redirect_uris, revoked_seq, grant_types, session_idle_ttl, session_absolute_ttl, created_at, updated_at)
      values ('other', 'Other', 'public', 1, '', '', 0, 'password', 3600, 43200, 0, 0);
    insert into client_scopes (client_id, scope, is_default) values ('other', 'profile', 1), ('other', 'users:read', 1)`)
  let count = 0
  const stranger: World['stranger'] = async (roles = ['admin', 'user', 'reader']) => {
    const name = `user${count++}`
    await createUser(name, roles)
    const good = await login(name, SCOPES)
    return { ...(await createForge(world, good)), good }
  }
  return { ...world, run, stranger }
}

/** The token was good, by a call that the service may remember; then this happens; then the next request is refused. */
async function dies(t: Test, world: World, tokens: string[], happens: () => unknown): Promise<void> {
  for (const token of tokens) await accepted(t, world, token)
  await happens()
  for (const token of tokens) await answers(t, world, token, INVALID_TOKEN)
}

onOneDatabase(t, 'a token is worth what the state of this instant says', async (t, database) => {
  const world = await settle(t, database)
  const { app, clock, env, get, run, stranger } = world

  t.test('a session that is another user’s, another client’s or nobody’s is refused [SC4]', async (t) => {
    const mallory = await stranger()
    const alice = await stranger()
    await accepted(t, world, mallory.token())
    const { sub, sid } = alice.claims
    const forgeries: Record<string, unknown>[] = [
      { sid },
      { sub },
      { client_id: 'other' },
      { client_id: 'nobody' },
      { sid: '01234567-89ab-7def-8123-456789abcdef' },
      { sid: 'unknown' },
      { sid: mallory.claims.sid.toUpperCase() },
      { sid: ` ${mallory.claims.sid}` },
      { sid: `${mallory.claims.sid}' or '1'='1` },
      { sub: mallory.claims.sub.toUpperCase() },
      { sub: 'docs' },
      { sub: '01234567-89ab-7def-8123-456789abcdef' }
    ]
    for (const forgery of forgeries) await answers(t, world, mallory.token({}, forgery), INVALID_TOKEN)
    await accepted(t, world, alice.token({}, { jti: 'another' }))
  })

  t.test('a claim that no database can keep is refused like any other [JW10]', async (t) => {
    const { token, claims } = await stranger()
    for (const text of ['\0', `${claims.sid}\0`, '\ud800', `${claims.sid}\udfff`, '\u{10ffff}', 'x'.repeat(4000)]) {
      for (const name of ['sid', 'sub', 'client_id']) {
        t.comment(`${name} ${JSON.stringify(text.slice(0, 50))}`)
        await answers(t, world, token({}, { [name]: text }), INVALID_TOKEN)
      }
      await answers(t, world, token({}, { sid: undefined, sub: text, client_id: text }), INVALID_TOKEN)
    }
  })

  t.test('a session that has ended takes its tokens with it, and no other [SC5]', async (t) => {
    const { good, token, claims } = await stranger()
    const another = await stranger()
    await dies(t, world, [good, token({}, { jti: 'x' })], () =>
      run(`update sessions set ended_at = ${clock.now()} where id = '${claims.sid}'`)
    )
    await accepted(t, world, another.good)
  })

  t.test('a session that was deleted takes its tokens with it [SC5]', async (t) => {
    const { good, claims } = await stranger()
    await dies(t, world, [good], () => run(`delete from sessions where id = '${claims.sid}'`))
  })

  t.test('a session ends when it was idle too long, to the millisecond [RF7]', async (t) => {
    const { token, claims } = await stranger()
    const lasting = token({}, { exp: claims.iat + 100 * HOUR })
    clock.advance(HOUR - 0.001)
    await dies(t, world, [lasting], () => clock.advance(0.001))
  })

  t.test('a session ends at its absolute lifetime, however busy it was [RF7]', async (t) => {
    const { token, claims } = await stranger()
    const lasting = token({}, { exp: claims.iat + 100 * HOUR })
    await run(`update sessions set idle_expires_at = ${clock.now() + 100 * HOUR * 1000} where id = '${claims.sid}'`)
    clock.advance(12 * HOUR - 0.001)
    await dies(t, world, [lasting], () => clock.advance(0.001))
  })

  t.test('a token that was good before is refused from its exp on, to the millisecond [JW8]', async (t) => {
    const { good } = await stranger()
    clock.advance(299.999)
    await dies(t, world, [good], () => clock.advance(0.001))
  })

  t.test('a token of a clock that is ahead is good from five seconds before its iat on [JW8]', async (t) => {
    const { token, claims } = await stranger()
    const ahead = token({}, { iat: claims.iat + 7 })
    clock.advance(1.999)
    await answers(t, world, ahead, INVALID_TOKEN)
    clock.advance(0.001)
    await accepted(t, world, ahead)
  })

  t.test('a user who is disabled is refused at the next request [SC5]', async (t) => {
    const { good, token, claims } = await stranger()
    const another = await stranger()
    await dies(t, world, [good, token({}, { jti: 'x' })], () =>
      run(`update users set disabled_at = ${clock.now()} where id = '${claims.sub}'`)
    )
    await accepted(t, world, another.good)
  })

  t.test('a user who was deleted is refused at the next request [SC5]', async (t) => {
    const { good, claims } = await stranger()
    await dies(t, world, [good], () => run(`delete from users where id = '${claims.sub}'`))
  })

  t.test('a client that is disabled takes the tokens of its users with it [SC6]', async (t) => {
    const { good } = await stranger()
    await dies(t, world, [good], () => run(`update clients set disabled_at = ${clock.now()} where id = 'docs'`))
    await run(`update clients set disabled_at = null where id = 'docs'`)
    await accepted(t, world, good)
  })

  t.test('the client of /docs that is switched off by a setting takes its tokens with it [SC6]', async (t) => {
    const { good } = await stranger()
    const at = { url: env.LATCHKEY_DATABASE_URL as string, dataDir: env.LATCHKEY_DATA_DIR as string }
    const closed = await build(t, { at, env: { LATCHKEY_DOCS: 'false' } })
    closed.clock.advance((clock.now() - closed.clock.now()) / 1000)
    await accepted(t, world, good)
    await answers(t, closed, good, INVALID_TOKEN)
  })

  t.test('a client that is gone takes its own tokens and those of its users with it [SC6]', async (t) => {
    const { token, claims } = await stranger()
    await run(`update sessions set client_id = 'other' where id = '${claims.sid}'`)
    const ofUser = token({}, { client_id: 'other' })
    const itsOwn = token({}, { client_id: 'other', sub: 'other', sid: undefined })
    await accepted(t, world, ofUser)
    await answers(t, world, token(), INVALID_TOKEN)
    t.strictSame(answer(await get('/users/me', itsOwn)), forbidden())
    await run(`update clients set disabled_at = 1 where id = 'other'`)
    for (const each of [ofUser, itsOwn]) await answers(t, world, each, INVALID_TOKEN)
    await run(`update clients set disabled_at = null where id = 'other'`)
    await accepted(t, world, ofUser)
    await run(`delete from clients where id = 'other'`)
    for (const each of [ofUser, itsOwn]) await answers(t, world, each, INVALID_TOKEN)
  })

  t.test('a client’s own token is of a client that exists, and never a user’s [CA7]', async (t) => {
    const { token, claims } = await stranger()
    const own = { sid: undefined }
    for (const path of READABLE)
      t.strictSame(answer(await get(path, token({}, { ...own, sub: 'docs' }))), forbidden(), path)
    const forgeries: Record<string, unknown>[] = [
      { ...own, sub: 'nobody', client_id: 'nobody' },
      { ...own, client_id: claims.sub },
      { ...own },
      { ...own, sub: 'nobody' },
      { ...own, sub: 'DOCS', client_id: 'DOCS' },
      { sub: 'docs' },
      { sub: 'docs', client_id: 'docs', sid: 'unknown' }
    ]
    for (const forgery of forgeries) await answers(t, world, token({}, forgery), INVALID_TOKEN)
  })

  t.test('a role that was removed is gone at the next request [SC4]', async (t) => {
    const { good, claims } = await stranger()
    await accepted(t, world, good)
    await run(`delete from user_roles where user_id = '${claims.sub}' and role = 'admin'`)
    t.strictSame(answer(await get('/users', good)), forbidden())
    t.strictSame((await get('/users/me', good)).json().roles, ['reader', 'user'])
    await run(`delete from user_roles where user_id = '${claims.sub}' and role = 'reader'`)
    t.strictSame(answer(await get('/users', good)), forbidden('users:read'))
    await run(`delete from user_roles where user_id = '${claims.sub}'`)
    t.strictSame(answer(await get('/users/me', good)), forbidden('profile'))
    await run(`insert into user_roles (user_id, role) values ('${claims.sub}', 'admin')`)
    await accepted(t, world, good)
  })

  t.test('a scope that a role has lost is gone at the next request [SC4]', async (t) => {
    const { good } = await stranger(['admin'])
    await accepted(t, world, good)
    await run(`delete from role_scopes where role = 'admin' and scope = 'users:read'`)
    t.strictSame(answer(await get('/users', good)), forbidden('users:read'))
    t.equal((await get('/users/me', good)).statusCode, 200)
    await run(`insert into role_scopes (role, scope) values ('admin', 'users:read')`)
    await accepted(t, world, good)
  })

  t.test('a scope that the client has lost is gone at the next request [SC6]', async (t) => {
    const { good } = await stranger()
    await accepted(t, world, good)
    await run(`delete from client_scopes where client_id = 'docs' and scope = 'users:read'`)
    t.strictSame(answer(await get('/users', good)), forbidden('users:read'))
    t.equal((await get('/users/me', good)).statusCode, 200)
    await run(`insert into client_scopes (client_id, scope, is_default) values ('docs', 'users:read', 0)`)
    await accepted(t, world, good)
  })

  t.test('what a token claims is no more than its user may [SC3]', async (t) => {
    const { token, claims } = await stranger(['user'])
    t.equal(claims.scope, 'profile')
    const greedy = token({}, { scope: SCOPES, roles: ['admin'] })
    t.strictSame((await get('/users/me', greedy)).json().roles, ['user'])
    t.strictSame(answer(await get('/users', greedy)), forbidden('users:read'))
    await run(`insert into user_roles (user_id, role) values ('${claims.sub}', 'reader')`)
    t.strictSame(answer(await get('/users', greedy)), forbidden())
  })

  t.test('a scope that the token does not hold is not given, whatever its user may [SC3]', async (t) => {
    const { token } = await stranger()
    const reaches: [scope: string, me: string | null, users: string | null][] = [
      ['profile', null, 'users:read'],
      ['users:read', 'profile', null],
      ['', 'profile', 'users:read'],
      ['Profile USERS:READ', 'profile', 'users:read'],
      ['profile,users:read', 'profile', 'users:read'],
      ['profile\tusers:read', 'profile', 'users:read'],
      ['profileusers:read', 'profile', 'users:read'],
      ['* users:* users:read:all', 'profile', 'users:read'],
      ['users:read  profile', null, null]
    ]
    for (const [scope, ...lacks] of reaches) {
      for (const [index, path] of READABLE.entries()) {
        const lack = lacks[index]
        const response = await get(path, token({}, { scope }))
        if (lack == null) t.equal(response.statusCode, 200, `${path} with "${scope}"`)
        else t.strictSame(answer(response), forbidden(lack), `${path} with "${scope}"`)
      }
    }
  })

  t.test('a key verifies until it is retired, and is dead at the next request then [KS2]', async (t) => {
    const { good, header, token } = await stranger()
    const unseen = token({}, { jti: 'unseen' })
    const state = (name: string) => run(`update signing_keys set state = '${name}' where kid = '${header.kid}'`)
    await accepted(t, world, good)
    await state('verifying')
    await dies(t, world, [good, token({}, { jti: 'seen' })], () => state('retired'))
    await answers(t, world, unseen, INVALID_TOKEN)
    t.strictSame(
      (await world.inject({ method: 'GET', url: '/.well-known/jwks.json' })).json().keys.length,
      (await app.store.keys.list()).length
    )
    await state('signing')
    await accepted(t, world, good)
  })

  t.test('a key that was deleted is dead at the next request [KS2]', async (t) => {
    const { good, header, token } = await stranger()
    const unseen = token({}, { jti: 'unseen' })
    await dies(t, world, [good], () => run(`delete from signing_keys where kid = '${header.kid}'`))
    await answers(t, world, unseen, INVALID_TOKEN)
  })

  t.test('after all of this a new login of the other key works', async (t) => {
    await run(`update signing_keys set state = 'signing' where state = 'next'`)
    const { good } = await stranger()
    await accepted(t, world, good)
  })
})
