#!/usr/bin/env node
'use strict'

// The command `latchkey` of the published package. An old Node.js must be able to read this file, so it says what is needed
// before anything else is read.
const wanted = require('../package.json').engines.node.match(/\d+/g).map(Number)
const found = process.versions.node.split('.').map(Number)
const args = process.argv.slice(2)

/** What the service is given to stay small, as by `npm start`; glibc reads it when a process begins. */
const MEMORY = { MALLOC_MMAP_THRESHOLD_: '1048576' }
const isServer = args.length === 0 || args[0] === 'serve'
const isSmall = Object.keys(MEMORY).every((name) => name in process.env)

if (found[0] < wanted[0] || (found[0] === wanted[0] && found[1] < wanted[1])) {
  process.stderr.write(`latchkey needs Node.js ${wanted.join('.')} or newer; this is ${process.versions.node}\n`)
  process.exitCode = 1
} else if (isServer && !isSmall && process.platform === 'linux' && process.channel === undefined) {
  // The same process once more, with other settings of memory.
  const flags = process.execArgv.concat('--max-semi-space-size=2', __filename)
  process.execve(process.execPath, [process.execPath].concat(flags, args), Object.assign({}, process.env, MEMORY))
} else {
  require('./cli.js').main()
}
