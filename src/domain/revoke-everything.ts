import type { Caller } from './caller.ts'
import { DomainError, SetupError } from './errors.ts'
import type { KeyChains } from './key-chains.ts'
import type { Keys } from './keys.ts'
import type { StoredKey } from './model.ts'
import type { Clock } from './ports/clock.ts'
import type { Sealer } from './ports/sealer.ts'
import type { Store } from './ports/store.ts'
import type { RefreshTokens } from './refresh-tokens.ts'
import { CANARY } from './sealing.ts'

/** Revokes everything that was ever issued: for a restored database, which has forgotten the revocations since its backup. */
export function createRevokeEverything(deps: {
  store: Store
  keys: Keys
  keyChains: KeyChains
  refreshTokens: RefreshTokens
  sealer: Sealer
  clock: Clock
}) {
  const { store, keys, keyChains, refreshTokens, sealer, clock } = deps

  /** Generates the keys of every algorithm in use. */
  async function newKeys(): Promise<StoredKey[]> {
    const states = ['signing', 'next'] as const
    const pairs = (await keyChains.inUse()).map((alg) => Promise.all(states.map((state) => keys.generate(state, alg))))
    return (await Promise.all(pairs)).flat()
  }

  return {
    /**
     * In one transaction ends all sessions and all logins of browsers, retires all signing keys as compromised, deletes all refresh keys, creates new keys, and
     * appends an entry to the revocation log that revokes all tokens issued before. The entry has a higher number than the log ever had,
     * also after the backup, so that no guard misses it.
     * @throws DomainError conflict between a replacement of the sealing key and `reseal`
     */
    async revokeEverything(caller: Caller): Promise<{ sessions: number; keys: number }> {
      const canary = await store.sealed.get(CANARY.name)
      if (canary === null)
        throw new SetupError(
          'the database lacks the value "canary", with which Latchkey checks the sealing key: restore a backup of the database'
        )
      const revoked = sealer.isCurrent(canary)
        ? await store.keys.revokeEverything(caller, {
            canary,
            keys: await newKeys(),
            refreshKey: refreshTokens.generateKey(),
            clock: () => clock.now()
          })
        : null
      if (revoked === null)
        throw new DomainError('conflict', 'The sealing key is being replaced: run "latchkey key reseal" first')
      return revoked
    }
  }
}
