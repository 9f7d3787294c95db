import t from 'tap'
import { databases } from '../helper.ts'
import { drill } from './key-drill.ts'

/** `npm run drill:keys` is the long form. */
const LONG = process.env.LATCHKEY_DRILL === 'long'
const SIZE = LONG ? { rotations: 40, seconds: 60 } : { rotations: 3, seconds: 3.6 }

for (const database of databases) {
  t.test(
    `F25 KS2 keys rotate under load and no token is refused, but at once those of a compromised key (${database})`,
    async (t) => {
      const outcome = await drill(t, database, SIZE)
      const { refused, errors, compromised, ...numbers } = outcome
      const { statuses, after, locally, guarded } = compromised
      for (const line of [
        `${database}: ${numbers.rotations} rotations in ${numbers.seconds} s, ${numbers.keys} keys published at the end`,
        `${numbers.issued} tokens issued, ${numbers.verified} verified by the JWKS, ${numbers.accepted} accepted by another request, ${numbers.guarded} by guards`,
        `${refused.length} refused, ${errors.length} errors`,
        `compromised: ${statuses.join(', ')} after ${after.join(', ')} ms, refused by the JWKS after ${locally} ms, by guards after ${guarded} ms`
      ])
        t.comment(line)
      t.strictSame([refused, errors], [[], []], JSON.stringify(numbers))
      t.equal(numbers.rotations, SIZE.rotations)
      t.equal(numbers.keys, SIZE.rotations + 2)
      t.ok(
        Math.min(numbers.issued, numbers.verified, numbers.accepted, numbers.guarded) > SIZE.rotations * 8,
        'there was load'
      )
      t.strictSame(compromised.statuses, database === 'sqlite' ? [401] : [401, 401])
      t.ok(Math.max(locally, guarded) < 5000, 'within half a second, or ten times that on a busy machine')
    }
  )
}
