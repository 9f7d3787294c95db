import { DomainError } from './errors.ts'
import type { Millis } from './model.ts'

/** @param wait after which it may be tried again */
export const throttled = (wait: Millis, message: string): DomainError =>
  new DomainError('throttled', message, { retryAfter: Math.max(1, Math.ceil(wait / 1000)) })

/**
 * Whatever is about one key happens one after the other in this process: who waits for a row of the database that all others
 * want, too, waits here, and holds no connection.
 * @param most how many may wait for their turn
 * @param message for those who come when so many wait
 * @returns runs it when it is its turn; throws DomainError throttled
 */
export function createTurns(most: number, message: string) {
  const turns = new Map<string, { last: Promise<void>; waiting: number }>()

  return async <T>(key: string, run: () => Promise<T>): Promise<T> => {
    const turn = turns.get(key) ?? { last: Promise.resolve(), waiting: 0 }
    if (turn.waiting >= most) throw throttled(1000, message)
    const { promise, resolve: endTurn } = Promise.withResolvers<void>()
    const before = turn.last
    turns.set(key, Object.assign(turn, { last: promise, waiting: turn.waiting + 1 }))
    await before
    try {
      return await run()
    } finally {
      turn.waiting--
      if (turn.waiting === 0) turns.delete(key)
      endTurn()
    }
  }
}
