import { setTimeout as sleep } from 'node:timers/promises'
import type { TokenClient } from 'latchkey-guard/client'

/** Asks for the orders, over and over, and prints what it gets, until the signal says that it is enough. */
export async function work(options: {
  client: TokenClient
  /** Where the orders are. */
  url: string
  intervalMs: number
  signal: AbortSignal
  print: (line: string) => void
}): Promise<void> {
  const { client, url, intervalMs, signal, print } = options
  while (!signal.aborted) {
    try {
      const response = await client.fetch(url, { signal })
      const body = await response.text()
      print(`${response.status} ${body}`)
    } catch (error) {
      if (!signal.aborted) print(`failed: ${(error as Error).message}`)
    }
    await sleep(intervalMs, undefined, { signal }).catch(() => {})
  }
}
