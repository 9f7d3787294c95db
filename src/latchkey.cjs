#!/usr/bin/env node
'use strict'

// The command `latchkey` of the published package. Old versions of Node.js can read this file, so it can name the required version
// before it loads other files.
const required = require('../package.json').engines.node.match(/\d+/g).map(Number)
const current = process.versions.node.split('.').map(Number)
const args = process.argv.slice(2)

/** Variables that reduce the memory of the service, as in `npm start`. glibc reads them at the start of a process. */
const MEMORY = { MALLOC_ARENA_MAX: '1' }
const isServer = args.length === 0 || args[0] === 'serve'
const isConfigured = Object.keys(MEMORY).every((name) => name in process.env)

if (current[0] < required[0] || (current[0] === required[0] && current[1] < required[1])) {
  process.stderr.write(`latchkey needs Node.js ${required.join('.')} or newer; this is ${process.versions.node}\n`)
  process.exitCode = 1
} else if (isServer && !isConfigured && process.platform === 'linux' && process.channel === undefined) {
  // Replaces this process by the same command with these variables.
  const flags = process.execArgv.concat('--max-semi-space-size=4', __filename)
  process.execve(process.execPath, [process.execPath].concat(flags, args), Object.assign({}, process.env, MEMORY))
} else {
  require('./cli.js').main()
}
