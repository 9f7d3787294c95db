import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { newUser } from '../store/rows.ts'
import { openDomain, PASSWORD } from './open.ts'

/** Opens the domain with a user `alice` who has no password. */
async function open(t: Test) {
  const domain = await openDomain(t)
  const user = newUser({ username: 'alice', roles: ['user'], passwordHash: null })
  await domain.store.users.create(OPERATOR, user)
  return { ...domain, user }
}

t.test('a login of a user without a password is refused like a wrong password, and the log says why', async (t) => {
  const { createUser, login, events, hasher } = await open(t)
  await createUser('bob')
  const refusal = (run: Promise<unknown>) =>
    run.then(
      () => 'accepted',
      ({ code, message }) => ({ code, message })
    )
  const wrong = await refusal(login('bob', { password: 'wrong' }))
  t.strictSame(await refusal(login('alice')), wrong)
  t.match(events.at(-1), { type: 'login.failed', subject: { username: 'alice' }, reason: 'no password' })
  // Even if the hash in place of the missing one matched.
  hasher.verify = async (_hash, _password, visit) => {
    await visit?.onEntered()
    return true
  }
  t.strictSame(await refusal(login('alice')), wrong)
})

t.test('a user without a password cannot change it, and can log in after somebody has set it', async (t) => {
  const { auth, login, user } = await open(t)
  const caller = { ...OPERATOR, kind: 'user', id: user.id, clientId: 'docs', sid: user.id } as const
  const change = auth.users.changePassword(caller, { current: '', next: 'another horse battery staple' })
  await t.rejects(change, { code: 'invalid', reason: 'password_wrong' })
  await auth.users.setPassword(OPERATOR, { id: user.id, password: PASSWORD })
  await t.resolves(login('alice'))
})
