import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { openDomain, PASSWORD } from './open.ts'

const REFUSED = { code: 'invalid_grant', message: 'Incorrect username or password' }

t.test('all spellings of a name are one user [PW8]', async (t) => {
  const { auth, createUser, login } = await openDomain(t)
  const id = await createUser('Jürgen')
  t.equal((await auth.users.get(id)).username, 'Jürgen')
  for (const same of ['jürgen', 'JÜRGEN', 'Ju\u0308rgen', 'Ｊürgen']) {
    await t.rejects(createUser(same), { code: 'conflict', message: 'The username is taken' }, same)
    await t.resolves(login(same), same)
    t.equal((await auth.users.find(same)).id, id)
  }
})

t.test('a name that PRECIS does not allow is refused, and logs nobody in [PW8]', async (t) => {
  const { auth, createUser, login } = await openDomain(t)
  const message =
    'A username has 1 to 64 letters, digits and punctuation characters, no spaces, and is written in one direction (RFC 8265)'
  for (const name of [
    '',
    ' ',
    'a b',
    ' jürgen',
    'a\u200bb',
    '😀',
    'ﬁsh',
    'a'.repeat(65),
    'אa',
    '\u202ealice',
    'a\tb'
  ]) {
    await t.rejects(createUser(name), { code: 'invalid', message }, JSON.stringify(name))
    await t.rejects(login(name || 'x'), REFUSED)
  }
  t.strictSame((await auth.users.list({ after: null, limit: 10 })).items, [])
})

t.test('a password is the same in NFC and NFD; case and spaces matter [PW6]', async (t) => {
  const { auth, login } = await openDomain(t)
  const password = ' Crème brûlée à la carte '
  await auth.users.create(OPERATOR, { username: 'alice', password: password.normalize('NFD'), roles: ['user'] })
  for (const form of ['NFC', 'NFD']) await t.resolves(login('alice', { password: password.normalize(form) }))
  for (const other of [
    password.trim(),
    password.toLowerCase(),
    password.replaceAll(' ', '\u00a0'),
    password.replaceAll('è', 'e')
  ])
    await t.rejects(login('alice', { password: other }), REFUSED, other)
})

t.test('a new password that is short, common, too long or the name of the user is refused [PW4 PW5]', async (t) => {
  const { auth, createUser } = await openDomain(t)
  const id = await createUser('alice')
  const caller = { ...OPERATOR, kind: 'user', id, clientId: 'docs', sid: 'any' } as const
  const add = (password: string, username = 'bob') =>
    auth.users.create(OPERATOR, {
      username,
      password,
      roles: [],
      email: 'paranoid@example.com',
      fullName: 'Marvin Android'
    })
  for (const [password, message] of [
    ['fourteen chars', 'A password has at least 15 characters'],
    ['🔑'.repeat(14), 'A password has at least 15 characters'],
    ['passwordpassword', 'The password is too common'],
    ['aaaaaaaaaaaaaaaaaaaa', 'The password is too common'],
    ['123456789012345', 'The password is too common'],
    ['é'.repeat(513), 'A password has at most 1024 bytes']
  ] as const) {
    const refused = { code: 'invalid', message }
    await t.rejects(add(password), refused, password)
    await t.rejects(auth.users.changePassword(caller, { current: PASSWORD, next: password }), refused)
    await t.rejects(auth.users.setPassword(OPERATOR, { id, password }), refused)
  }
  const own = {
    code: 'invalid',
    message: 'The password consists of the name or e-mail address of the user, or of the name of the service'
  }
  for (const password of ['marvinmarvin1234', 'Paranoid-Android-42', 'latchkey-latchkey'])
    await t.rejects(add(password, 'marvin'), own, password)
})

t.test('a password of at least 15 characters of any kind is accepted [PW4 PW5]', async (t) => {
  const { auth } = await openDomain(t)
  for (const [index, password] of [
    'fifteen chars !',
    '            é à ç ñ',
    'no digits no capitals',
    '🔑🔒🗝🔐🔏🔓🛡🪪🚪🏠🏡🏢🏬🏭🏯'
  ].entries())
    await t.resolves(auth.users.create(OPERATOR, { username: `u${index}`, password, roles: [] }), password)
})

t.test('LATCHKEY_PASSWORD_MIN_LENGTH sets the least length of a new password [PW4]', async (t) => {
  const { auth } = await openDomain(t, { settings: { LATCHKEY_PASSWORD_MIN_LENGTH: '8' } })
  const add = (password: string) => auth.users.create(OPERATOR, { username: 'bob', password, roles: [] })
  await t.rejects(add('7 chars'), { code: 'invalid', message: 'A password has at least 8 characters' })
  await t.resolves(add('8 chars!'))
})
