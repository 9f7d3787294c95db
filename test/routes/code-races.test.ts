import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { build, createDatabase, onEachDatabase } from '../helper.ts'
import { createJar, pkce } from '../jar.ts'
import { CALLBACK, signInOf } from './sign-in-world.ts'

/** The number of races. */
const ROUNDS = Number(process.env.LATCHKEY_ROUNDS ?? 2)
const PARALLEL = 50

onEachDatabase(
  t,
  'of 50 parallel redemptions of one code at most one succeeds, and its session and tokens are dead [AC5]',
  async (t, database) => {
    const at = await createDatabase(t, database, 'ready')
    const one = await build(t, { database, at })
    // Several processes may use PostgreSQL.
    const instances = database === 'sqlite' ? [one] : [one, await build(t, { database, at })]
    await one.app.auth.clients.create(OPERATOR, {
      id: 'own',
      name: 'own',
      method: 'none',
      firstParty: true,
      grantTypes: ['authorization_code', 'refresh_token'],
      scopes: ['profile'],
      redirectUris: [CALLBACK]
    })
    const { codeOf } = signInOf(one)
    const redeemers = instances.map((each) => signInOf(each).redeem)
    const jar = createJar(one)
    for (let round = 0; round < ROUNDS; round++) {
      const { verifier, challenge } = pkce()
      const code = await codeOf({ code_challenge: challenge }, jar)
      const answers = await Promise.all(
        Array.from({ length: PARALLEL / redeemers.length }, () =>
          redeemers.map((redeem) => redeem(code, verifier))
        ).flat()
      )
      const statuses = answers.map(({ statusCode }) => statusCode)
      const successes = answers.filter(({ statusCode }) => statusCode === 200)
      t.ok(successes.length <= 1, statuses.join(' '))
      // A busy database may refuse some for load.
      t.ok(
        statuses.every((status) => [200, 400, 503].includes(status)),
        statuses.join(' ')
      )
      for (const answer of successes) {
        const { access_token: token, refresh_token: refreshToken } = answer.json()
        for (const each of instances) {
          t.equal((await each.get('/users/me', token)).statusCode, 401)
          const form = { grant_type: 'refresh_token', client_id: 'own', refresh_token: refreshToken }
          t.equal((await each.token(form)).statusCode, 400)
        }
      }
    }
  }
)
