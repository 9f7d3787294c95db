/** Leaves a queue. A second call has no effect. */
export type Leave = () => void

export interface QueueOptions {
  /** Number of callers that are inside at the same time, at least 1. */
  concurrency: number
  /** Number of callers that wait at the same time at most. Without it the number has no limit. */
  maxWaiting?: number
  /** Milliseconds that one caller waits at most. Without it the wait has no limit. */
  maxWaitMs?: number
  /** Makes the error for a caller that cannot enter. */
  refuse: () => Error
}

interface Waiter {
  since: number
  enter: () => void
}

/** Admits callers in the order of their arrival, at most `concurrency` at the same time. Its state lives in this process. */
export function createQueue({ concurrency, maxWaiting = Number.POSITIVE_INFINITY, maxWaitMs, refuse }: QueueOptions) {
  const waiters: Waiter[] = []
  let inside = 0

  function leaveOnce(): Leave {
    let left = false
    return () => {
      if (left) return
      left = true
      const next = waiters.shift()
      if (next === undefined) inside--
      else next.enter()
    }
  }

  function wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter = { since: performance.now(), enter }
      const timer = maxWaitMs === undefined ? undefined : setTimeout(giveUp, maxWaitMs)
      function enter() {
        clearTimeout(timer)
        resolve()
      }
      function giveUp() {
        waiters.splice(waiters.indexOf(waiter), 1)
        reject(refuse())
      }
      waiters.push(waiter)
    })
  }

  return {
    /**
     * Waits for a place. The caller must call the result when it is done.
     * @throws the error of `refuse` when too many callers wait, or when the wait takes longer than `maxWaitMs`
     */
    async enter(): Promise<Leave> {
      if (inside < concurrency) inside++
      else if (waiters.length >= maxWaiting) throw refuse()
      else await wait()
      return leaveOnce()
    },

    /** Runs `work` in a place of the queue. @throws like `enter`, and whatever `work` throws */
    async run<T>(work: () => Promise<T>): Promise<T> {
      const leave = await this.enter()
      try {
        return await work()
      } finally {
        leave()
      }
    },

    /** Returns whether nobody is inside or waiting. */
    isIdle: (): boolean => inside === 0,

    /** Returns the number of waiting callers and how long the first of them has waited, in milliseconds. */
    status: (): { waiting: number; longestWaitMs: number } => ({
      waiting: waiters.length,
      longestWaitMs: waiters[0] === undefined ? 0 : performance.now() - waiters[0].since
    })
  }
}

/** Admits callers in a queue of their own for each key. A key that nobody uses takes no memory. */
export function createKeyedQueue(options: QueueOptions) {
  const queues = new Map<string, ReturnType<typeof createQueue>>()

  return {
    /** Waits for a place in the queue of the key. The caller must call the result when it is done. @throws like `enter` of a queue */
    async enter(key: string): Promise<Leave> {
      const queue = queues.get(key) ?? createQueue(options)
      queues.set(key, queue)
      const leave = await queue.enter()
      return () => {
        leave()
        // Not where the key has got another queue since: this may be the second call.
        if (queue.isIdle() && queues.get(key) === queue) queues.delete(key)
      }
    },

    /** Returns the number of keys in use. */
    size: (): number => queues.size
  }
}
