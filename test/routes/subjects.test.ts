import { randomUUIDv7 } from 'node:crypto'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { OPERATOR } from '../../src/domain/caller.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { bootstrap } from '../../src/first-start.ts'
import { build, createDatabase, type Database, NOBODY, onEachDatabase, PASSWORD } from '../helper.ts'
import { sql } from '../sql.ts'

/** How many races of each kind. */
const ROUNDS = Number(process.env.LATCHKEY_ROUNDS ?? 8)

const HAS_CLIENT = { code: 'conflict', message: 'A client has this name for its id' }
const HAS_USER = { code: 'conflict', message: 'A user has this name' }
const NO_ID = {
  code: 'invalid',
  message: 'A client id has 1 to 255 printable ASCII characters and no space, and is not a UUID'
}
const wide = (text: string) =>
  [...text].map((character) => String.fromCodePoint((character.codePointAt(0) as number) + 0xfee0)).join('')

/** Two instances on one database. */
async function pair(test: Test, database: Database) {
  const at = await createDatabase(test, database, 'ready')
  return [await build(test, { at }), await build(test, { at })] as const
}

onEachDatabase(t, 'a client’s id is no user’s name, in no spelling of it [CA7]', async (t, database) => {
  const { app, createUser } = await build(t, { database })
  const { users, clients } = app.auth
  const add = (id: string) => clients.create(OPERATOR, { id, name: id })
  await createUser(wide('Robot-1'))
  for (const id of ['robot-1', 'Robot-1', 'ROBOT-1', 'alice', 'ALICE', 'admin', 'aDMIN'])
    await t.rejects(add(id), HAS_USER, id)
  t.strictSame(
    (await clients.list({ after: null, limit: 10 })).items.map(({ id }) => id),
    ['docs']
  )
  t.equal((await add('robot-11')).client.id, 'robot-11')
  await users.delete(OPERATOR, (await users.find('robot-1')).id)
  t.equal((await add('Robot-1')).client.id, 'Robot-1', 'a name that is free again')
})

onEachDatabase(t, 'a user’s name is no client’s id, in no spelling of it [CA7]', async (t, database) => {
  const { app, createUser } = await build(t, { database })
  const { users, clients } = app.auth
  await clients.create(OPERATOR, { id: 'Worker-1', name: 'Worker' })
  const { id } = await users.find('alice')
  const spellings = [
    'worker-1',
    'Worker-1',
    'WORKER-1',
    wide('Worker-1'),
    wide('worker-1'),
    'docs',
    'DOCS',
    wide('docs')
  ]
  for (const name of spellings) {
    await t.rejects(createUser(name), HAS_CLIENT, name)
    await t.rejects(users.change(OPERATOR, id, { username: name }), HAS_CLIENT, `${name}, as a new name`)
    await t.rejects(users.find(name), { code: 'not_found' })
  }
  t.equal((await users.get(id)).username, 'alice')
  await clients.change(OPERATOR, 'Worker-1', { disabled: true })
  await t.rejects(createUser('worker-1'), HAS_CLIENT, 'also of a disabled one')
  await clients.delete(OPERATOR, 'Worker-1')
  t.type(await createUser('worker-1'), 'string', 'a name that is free again')
})

t.test('the first admin has no client’s id for a name [CA7]', async (t) => {
  const world = await build(t)
  const message = `LATCHKEY_ADMIN_USERNAME, LATCHKEY_ADMIN_PASSWORD: ${HAS_CLIENT.message}`
  for (const name of ['docs', 'Docs', wide('docs')]) {
    await sql(world, 'delete from users;delete from user_roles;')
    const config = loadConfig({ ...world.env, LATCHKEY_ADMIN_USERNAME: name })
    await t.rejects(bootstrap(world.app, config, { mayBeginAnew: true }), { name: 'SetupError', message }, name)
  }
  t.strictSame(await sql(world, 'select id from users'), [])
})

onEachDatabase(t, 'a client’s id is no UUID, so no user’s id [CA7]', async (t, database) => {
  const { app } = await build(t, { database })
  const { id } = await app.auth.users.find('alice')
  for (const each of [id, id.toUpperCase(), NOBODY, randomUUIDv7(), '00000000-0000-0000-0000-000000000000'])
    await t.rejects(app.auth.clients.create(OPERATOR, { id: each, name: 'x' }), NO_ID, each)
  // Not as a user's id is written.
  for (const each of [id.replaceAll('-', ''), `{${id}}`, `urn:uuid:${id}`, id.slice(1)])
    t.equal((await app.auth.clients.create(OPERATOR, { id: each, name: 'x' })).client.id, each)
})

onEachDatabase(t, 'the token of a client names no user, and no user’s token a client [CA7]', async (t, database) => {
  const { app, token, get, login } = await build(t, { database })
  const grants = { grantTypes: ['client_credentials'], scopes: ['profile'], defaultScopes: ['profile'] }
  const { secret } = await app.auth.clients.create(OPERATOR, { id: 'worker', name: 'x', ...grants })
  const form = { grant_type: 'client_credentials', client_id: 'worker', client_secret: secret as string }
  const jwt = (await token(form)).json().access_token
  t.match(await app.auth.accessTokens.verify(jwt), {
    kind: 'client',
    sub: 'worker',
    clientId: 'worker',
    sid: null,
    roles: []
  })
  t.equal((await get('/users/me', jwt)).statusCode, 403)
  const { id } = await app.auth.users.find('alice')
  t.match(await app.auth.accessTokens.verify(await login('alice')), { kind: 'user', sub: id, clientId: 'docs' })
})

onEachDatabase(
  t,
  'of a user and a client of one name that are made on two instances at once exactly one is [CA7]',
  async (t, database) => {
    const instances = await pair(t, database)
    const names = ['robot', 'ROBOT', 'Robot'] as const
    const done = { created: 0, renamed: 0, client: 0 }
    for (let round = 0; round < ROUNDS; round++) {
      const [one, two] = (round % 2 === 0 ? instances : instances.toReversed()) as typeof instances
      const name = `${names[round % 3]}-${round}`
      const typed = round % 4 === 0 ? wide(name) : name.toLowerCase()
      const renames = round % 3 === 0
      const id = renames ? await one.createUser(`other-${round}`) : ''
      const results = await Promise.allSettled<unknown>([
        renames
          ? one.app.auth.users.change(OPERATOR, id, { username: typed })
          : one.app.auth.users.create(OPERATOR, { username: typed, password: PASSWORD, roles: [] }),
        two.app.auth.clients.create(OPERATOR, { id: name, name })
      ])
      const [user, client] = [
        await one.app.store.users.credentials(name.toLowerCase()),
        await two.app.store.clients.get(name)
      ]
      const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
      if (user !== null) done[renames ? 'renamed' : 'created']++
      else done.client++
      const [why] = refused
      const said = user === null ? HAS_CLIENT.message : HAS_USER.message
      if (
        refused.length !== 1 ||
        !(why instanceof DomainError) ||
        why.message !== said ||
        (user === null) === (client === null)
      )
        t.strictSame([refused.map(String), user === null, client === null], [[said], false, true], `round ${round}`)
    }
    t.equal(done.created + done.renamed + done.client, ROUNDS, JSON.stringify(done))
  }
)
