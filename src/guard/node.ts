/** The oldest version that loads this package also by `require`. */
const OLDEST = [22, 12] as const

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
  throw new Error(`latchkey-guard needs Node.js ${OLDEST.join('.')} or newer; this is ${process.versions.node}`)
