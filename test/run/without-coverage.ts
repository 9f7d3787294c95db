import asyncHooks from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'

/**
 * Every test process of a run without coverage loads this file first. It switches off work of tap that no test needs, and that costs a
 * fifth of the CPU of all tests:
 * - tap reads source maps. The code runs as it is written, so it has none.
 * - tap follows each asynchronous operation, to name the test that threw an error outside of its promises. Without this hook the error
 *   ends the process, and tap names the test that was running.
 */
asyncHooks.createHook = () => {
  const hook = { enable: () => hook, disable: () => hook }
  return hook as asyncHooks.AsyncHook
}
syncBuiltinESMExports()
process.setSourceMapsEnabled(false)
process.setSourceMapsEnabled = () => {}
