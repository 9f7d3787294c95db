import { writeSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

/**
 * For `--import`: prints at the exit of the process the delays of its event loop in milliseconds, as one line of JSON on stdout. Each
 * delay includes the resolution. SIGCONT discards all earlier samples.
 */
const RESOLUTION = 1
const delay = monitorEventLoopDelay({ resolution: RESOLUTION })
delay.enable()
process.on('SIGCONT', () => delay.reset())
process.on('exit', () => {
  const ms = (nanoseconds: number) => Math.round(nanoseconds / 1e4) / 100
  const p99 = ms(delay.percentile(99))
  writeSync(1, `${JSON.stringify({ resolution: RESOLUTION, p99, max: ms(delay.max), samples: delay.count })}\n`)
})
