import { RequestOver, timeLeft } from './deadline.ts'

/** Leaves a queue. A second call has no effect. */
export type Leave = () => void

export interface QueueOptions {
  /** Maximum number of callers that are inside at the same time, at least 1. */
  concurrency: number
  /** Maximum number of callers that wait at the same time. Without it the number has no limit. */
  maxWaiting?: number
  /** Maximum wait of one caller, in milliseconds. Without it only the deadline of the request limits the wait. */
  maxWaitMs?: number
  /** Returns the error for a caller that cannot enter. */
  refuse: () => Error
}

interface Waiter {
  since: number
  enter: () => void
}

/** Creates a queue that admits callers in the order of their arrival. Its state is in this process. */
export function createQueue({
  concurrency,
  maxWaiting = Number.POSITIVE_INFINITY,
  maxWaitMs = Number.POSITIVE_INFINITY,
  refuse
}: QueueOptions) {
  /** In the order of their arrival. An array would leave its former contents in the old generation, where they keep requests alive. */
  const waiters = new Set<Waiter>()
  const firstWaiter = () => waiters.values().next().value
  let inside = 0

  function leaveOnce(): Leave {
    let left = false
    return () => {
      if (left) return
      left = true
      const next = firstWaiter()
      if (next === undefined) inside--
      else {
        waiters.delete(next)
        next.enter()
      }
    }
  }

  function wait(): Promise<void> {
    const left = timeLeft()
    const longest = Math.min(left, maxWaitMs)
    return new Promise((resolve, reject) => {
      const waiter = { since: performance.now(), enter }
      const timer = longest === Number.POSITIVE_INFINITY ? undefined : setTimeout(giveUp, longest)
      function enter() {
        clearTimeout(timer)
        resolve()
      }
      function giveUp() {
        waiters.delete(waiter)
        reject(left < maxWaitMs ? new RequestOver({ callerLeft: false }) : refuse())
      }
      waiters.add(waiter)
    })
  }

  return {
    /**
     * Waits until the caller may enter. The caller must call the returned function when it is done.
     * @throws the error of `refuse` when too many callers wait, or when the wait takes longer than `maxWaitMs`;
     *   RequestOver at the deadline of the request
     */
    async enter(): Promise<Leave> {
      if (inside < concurrency) inside++
      else if (waiters.size >= maxWaiting) throw refuse()
      else await wait()
      return leaveOnce()
    },

    /** Enters the queue, runs `work` and leaves the queue. @throws the errors of `enter` and of `work` */
    async run<T>(work: () => Promise<T>): Promise<T> {
      const leave = await this.enter()
      try {
        return await work()
      } finally {
        leave()
      }
    },

    /** Returns whether no caller is inside or waits. */
    isIdle: (): boolean => inside === 0,

    /** Returns the number of waiting callers and how long the first of them has waited, in milliseconds. */
    status(): { waiting: number; longestWaitMs: number } {
      const first = firstWaiter()
      return { waiting: waiters.size, longestWaitMs: first === undefined ? 0 : performance.now() - first.since }
    }
  }
}

/** Creates a separate queue for each key. A key without callers takes no memory. */
export function createKeyedQueue(options: QueueOptions) {
  const queues = new Map<string, ReturnType<typeof createQueue>>()

  return {
    /** Enters the queue of a key. The caller must call the returned function when it is done. @throws the errors of `enter` of a queue */
    async enter(key: string): Promise<Leave> {
      const queue = queues.get(key) ?? createQueue(options)
      queues.set(key, queue)
      const leave = await queue.enter()
      return () => {
        leave()
        // At a second call of this function the key may already have a new queue, which must stay.
        if (queue.isIdle() && queues.get(key) === queue) queues.delete(key)
      }
    },

    /** Returns the number of keys in use. */
    size: (): number => queues.size
  }
}
