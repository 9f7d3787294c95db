import { randomUUIDv7 } from 'node:crypto'
import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { openDomain } from './open.ts'

// The concurrent case is in test/store: a user and a client added at the same time cannot get the same name, on either database.

const HAS_CLIENT = { code: 'conflict', message: 'The username is the id of a client: choose another name' }
const HAS_USER = { code: 'conflict', message: 'The client id is the name of a user: choose another id' }
const INVALID = {
  code: 'invalid',
  message: 'A client id has 1 to 255 printable ASCII characters and no space, and is not a UUID'
}
/** Returns a text in fullwidth characters, which PRECIS maps to the usual ones. */
const wide = (text: string) =>
  [...text].map((character) => String.fromCodePoint((character.codePointAt(0) as number) + 0xfee0)).join('')

t.test('a client id cannot be the name of a user, in upper or lower case [CA7]', async (t) => {
  const { auth, createUser } = await openDomain(t)
  const { users, clients } = auth
  const add = (id: string) => clients.create(OPERATOR, { id, name: id })
  await createUser('alice')
  await createUser(wide('Robot-1'))
  for (const id of ['robot-1', 'Robot-1', 'ROBOT-1', 'alice', 'ALICE']) await t.rejects(add(id), HAS_USER, id)
  t.strictSame(
    (await clients.list({ after: null, limit: 10 })).items.map(({ id }) => id),
    ['docs']
  )
  t.equal((await add('robot-11')).client.id, 'robot-11')
  await users.delete(OPERATOR, (await users.find('robot-1')).id)
  t.equal((await add('Robot-1')).client.id, 'Robot-1', 'the name of a deleted user is free again')
})

t.test('a username cannot be the id of a client, in any spelling [CA7]', async (t) => {
  const { auth, createUser } = await openDomain(t)
  const { users, clients } = auth
  await clients.create(OPERATOR, { id: 'Worker-1', name: 'Worker' })
  const alice = await createUser('alice')
  const spellings = ['worker-1', 'Worker-1', 'WORKER-1', wide('Worker-1'), wide('worker-1')]
  for (const name of [...spellings, 'docs', 'DOCS', wide('docs')]) {
    await t.rejects(createUser(name), HAS_CLIENT, name)
    await t.rejects(users.change(OPERATOR, alice, { username: name }), HAS_CLIENT, `${name} as a new name`)
    await t.rejects(users.find(name), { code: 'not_found' })
  }
  t.equal((await users.get(alice)).username, 'alice')
  await clients.change(OPERATOR, 'Worker-1', { disabled: true })
  await t.rejects(createUser('worker-1'), HAS_CLIENT, 'the id of a disabled client')
  await clients.delete(OPERATOR, 'Worker-1')
  t.type(await createUser('worker-1'), 'string', 'the id of a deleted client is free again')
})

t.test('a client id is no UUID, so it is never the id of a user [CA7]', async (t) => {
  const { auth, createUser } = await openDomain(t)
  const id = await createUser('alice')
  const add = async (id: string) => (await auth.clients.create(OPERATOR, { id, name: 'x' })).client.id
  for (const each of [id, id.toUpperCase(), randomUUIDv7(), '00000000-0000-0000-0000-000000000000'])
    await t.rejects(add(each), INVALID, each)
  // Other spellings of a UUID, which user ids never have.
  for (const each of [id.replaceAll('-', ''), `{${id}}`, `urn:uuid:${id}`, id.slice(1)]) t.equal(await add(each), each)
})
