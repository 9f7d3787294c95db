import { createHmac, randomBytes } from 'node:crypto'
import { runOutsideRequest } from '../deadline.ts'
import type { Millis } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Sealer } from './ports/sealer.ts'
import type { Store } from './ports/store.ts'

/** The sealed value that holds the key of the draw. */
const KEY = { name: 'dummy-hashes', context: 'sealed_values/dummy-hashes' }
/** Stored hashes whose parameters are counted. More would cost time at every count and change little. */
const SAMPLE = 1000
const COUNT_EVERY: Millis = 10 * 60_000

/** The beginning of a PHC string: algorithm, version and parameters. */
const PARAMETERS = /^\$argon2(?:id|i|d)\$v=\d+\$[^$]{1,64}(?=\$)/

/** Returns how often each text of parameters begins one of the hashes. */
function countParameters(hashes: string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const hash of hashes) {
    const [parameters] = PARAMETERS.exec(hash) ?? []
    if (parameters !== undefined) counts.set(parameters, (counts.get(parameters) ?? 0) + 1)
  }
  return counts
}

const base64 = (bytes: Buffer): string => bytes.toString('base64').replaceAll('=', '')

/**
 * Makes the hash against which the password for an unknown name is verified. Users whose hashes have old parameters are refused faster
 * or more slowly than others, until they log in. So the parameters for an unknown name are drawn by a keyed hash of the name, in the
 * proportions of the stored hashes. All instances draw the same.
 */
export function createDummyHashes({ store, sealer, clock }: { store: Store; sealer: Sealer; clock: Clock }) {
  const ending = `$${base64(randomBytes(16))}$${base64(randomBytes(32))}`
  let key: Promise<Buffer> | undefined
  let counted: { at: Millis; counts: Promise<Map<string, number>> } | undefined

  async function loadKey(): Promise<Buffer> {
    if ((await store.sealed.get(KEY.name)) === null)
      await store.sealed.add(KEY.name, sealer.seal(randomBytes(32).toString('base64url'), KEY.context))
    return Buffer.from(sealer.open((await store.sealed.get(KEY.name)) as string, KEY.context), 'base64url')
  }

  /** Returns the key. Reads it once, and again after a failure. */
  function getKey(): Promise<Buffer> {
    key ??= runOutsideRequest(loadKey)
    key.catch(() => {
      key = undefined
    })
    return key
  }

  /** Returns the counts of the parameters. Counts again after some time. If that fails, the previous counts stay. */
  function getCounts(): Promise<Map<string, number>> {
    const now = clock.now()
    if (counted !== undefined && Math.abs(now - counted.at) < COUNT_EVERY) return counted.counts
    const previous = counted?.counts
    const counts = runOutsideRequest(() => store.users.hashSample(SAMPLE).then(countParameters))
    counted = {
      at: now,
      counts: previous === undefined ? counts : counts.catch(() => previous)
    }
    if (previous === undefined)
      counts.catch(() => {
        counted = undefined
      })
    return counted.counts
  }

  return {
    /**
     * Returns the hash for a name if nobody has it; null when no user has a hash. Called for each login, so that the time of the call
     * does not depend on whether the name exists.
     * @param name in canonical form
     */
    async of(name: string): Promise<string | null> {
      const [secret, counts] = await Promise.all([getKey(), getCounts()])
      // Draws an exponentially distributed number for each text of parameters, with its count as the rate. The least number wins, so each
      // wins in proportion to its count. When the counts change, a name moves only to parameters whose count grew more, as users do.
      const scored = [...counts].map(([parameters, count]) => {
        const drawn = createHmac('sha256', secret).update(`${parameters} ${name}`).digest().readUIntBE(0, 6)
        return { parameters, score: -Math.log((drawn + 1) / 2 ** 48) / count }
      })
      const [least] = scored.toSorted((a, b) => a.score - b.score)
      return least === undefined ? null : least.parameters + ending
    }
  }
}

export type DummyHashes = ReturnType<typeof createDummyHashes>
