import t from 'tap'
import { openSignIn } from './sign-in-world.ts'

const HOUR = 3600

t.test('a login in a browser ends after its idle time and after its absolute time', async (t) => {
  for (const [settings, idle, absolute] of [
    [{}, 12 * HOUR, 30 * 24 * HOUR],
    [{ LATCHKEY_LOGIN_IDLE_TTL: '600', LATCHKEY_LOGIN_ABSOLUTE_TTL: '3600' }, 600, HOUR],
    [{ LATCHKEY_LOGIN_IDLE_TTL: '3600', LATCHKEY_LOGIN_ABSOLUTE_TTL: '600' }, 600, 600]
  ] as [Record<string, string>, number, number][]) {
    const { auth, clock, signInWithToken } = await openSignIn(t, settings)
    const { token: unused } = await signInWithToken()
    const { token, login } = await signInWithToken()
    const start = clock.now()
    t.strictSame([login.idleExpiresAt - start, login.expiresAt - start], [idle * 1000, absolute * 1000])
    const step = idle - 1
    for (let at = step; at < absolute; at += step) {
      clock.advance(step)
      t.ok(await auth.logins.use(token), `used after ${at} s`)
      if (at > step) t.equal(await auth.logins.use(unused), null, 'a login that nobody used has ended')
    }
    clock.advance(absolute - (clock.now() - start) / 1000)
    t.equal(await auth.logins.use(token), null)
  }
})
