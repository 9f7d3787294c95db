import t from 'tap'
import { databases } from '../helper.ts'
import { drill } from './key-drill.ts'

/** `npm run drill:keys` is the long form. */
const LONG = process.env.LATCHKEY_DRILL === 'long'
const SIZE = LONG
  ? { rotations: 40, seconds: 60, clients: 8, pause: 20 }
  : { rotations: 2, seconds: 2.2, clients: 3, pause: 60 }

for (const database of databases) {
  t.test(
    `keys rotate under load and no token is refused, except tokens of a compromised key, which are refused at once (${database}) [F25 KS2]`,
    async (t) => {
      const outcome = await drill(t, database, SIZE)
      const { refused, errors, compromised, ...numbers } = outcome
      for (const line of [
        `${database}: ${numbers.rotations} rotations in ${numbers.seconds} s, ${numbers.keys} keys published at the end`,
        `${numbers.issued} tokens issued, ${numbers.verified} verified by the JWKS, ${numbers.accepted} accepted by another request, ${numbers.guarded} by guards, ${numbers.identified} ID tokens`,
        `${refused.length} refused, ${errors.length} errors`
      ])
        t.comment(line)
      t.strictSame([refused, errors], [[], []], JSON.stringify(numbers))
      t.equal(numbers.rotations, SIZE.rotations)
      t.equal(numbers.keys, 2 * (SIZE.rotations + 2), 'the keys of both algorithms')
      t.ok(
        Math.min(numbers.issued, numbers.verified, numbers.accepted, numbers.guarded, numbers.identified) > 0,
        'there was load'
      )
      t.strictSame(compromised, { statuses: database === 'sqlite' ? [401] : [401, 401], guarded: true, locally: true })
    }
  )
}
