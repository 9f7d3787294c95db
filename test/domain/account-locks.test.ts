import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { elsewhere, from, HOME } from './login-world.ts'
import { type Domain, openDomain, PASSWORD } from './open.ts'

const NEW_PASSWORD = 'a pass phrase from the operator'
const REFUSED = { code: 'invalid_grant', message: 'Incorrect username or password' }

/** Locks an account for all networks but `HOME`. */
async function lock({ login }: Domain, username: string): Promise<void> {
  await login(username, { caller: from(HOME) })
  let address = ''
  for (let failures = 0; failures < 100; failures++) {
    if (failures % 5 === 0) address = elsewhere()
    await login(username, { password: 'wrong', caller: from(address) }).catch(() => {})
  }
}

t.test('a locked account is unlocked by enabling the user, and by no other change [BF3]', async (t) => {
  const domain = await openDomain(t)
  const { auth, login, createUser } = domain
  const id = await createUser('victor')
  await lock(domain, 'victor')
  await t.rejects(login('VICTOR', { caller: from(elsewhere()) }), REFUSED)
  await auth.users.change(OPERATOR, id, { fullName: 'Victor' })
  await t.rejects(login('VICTOR', { caller: from(elsewhere()) }), REFUSED)
  await auth.users.change(OPERATOR, id, { disabled: true })
  await t.rejects(login('VICTOR', { caller: from(elsewhere()) }), REFUSED)
  await auth.users.change(OPERATOR, id, { disabled: false })
  await t.resolves(login('VICTOR', { caller: from(elsewhere()) }))
})

t.test('an unlock without another change is an event', async (t) => {
  const { auth, events, createUser } = await openDomain(t)
  const id = await createUser('victor')
  events.length = 0
  await auth.users.change(OPERATOR, id, { disabled: false })
  await auth.users.change(OPERATOR, id, { fullName: null })
  t.strictSame(
    events.map(({ type, subject, reason }) => [type, subject, reason]),
    [['user.changed', { user: id, username: 'victor' }, 'unlocked']]
  )
})

t.test('a locked account is unlocked by a new password from the operator [BF3]', async (t) => {
  const domain = await openDomain(t)
  const { auth, login, createUser } = domain
  const id = await createUser('victor')
  await lock(domain, 'victor')
  await auth.users.setPassword(OPERATOR, { id, password: NEW_PASSWORD })
  await t.rejects(login('victor', { caller: from(elsewhere()) }), REFUSED)
  await t.resolves(login('victor', { password: NEW_PASSWORD, caller: from(elsewhere()) }))
})

t.test(
  'the user of a locked account can change the password only from a known network, and the change unlocks the account [BF3]',
  async (t) => {
    const domain = await openDomain(t)
    const { auth, store, login, createUser } = domain
    const id = await createUser('victor')
    await lock(domain, 'victor')
    const [session] = await store.sessions.list(id, { after: null, limit: 1 }, 0)
    const change = (address: string) => {
      const caller = { ...from(address), kind: 'user', id, clientId: 'docs', sid: session?.id as string } as const
      return auth.users.changePassword(caller, { current: PASSWORD, next: NEW_PASSWORD })
    }
    await t.rejects(change(elsewhere()), { code: 'invalid', message: 'The current password is wrong' })
    await t.resolves(change(HOME))
    await t.resolves(login('victor', { password: NEW_PASSWORD, caller: from(elsewhere()) }))
  }
)

t.test('failed logins with an unknown name do not lock a user who is later created with this name [BF3]', async (t) => {
  const domain = await openDomain(t)
  const { createUser, login } = domain
  // Unlike the others, this lock begins with a login that fails, because there is no such user yet.
  await lock({ ...domain, login: (...args) => login(...args).catch(() => undefined as never) }, 'wanda')
  await createUser('wanda')
  await t.resolves(login('wanda', { caller: from(elsewhere()) }))
})
