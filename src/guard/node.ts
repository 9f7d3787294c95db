const [major = 0] = process.versions.node.split('.').map(Number)
if (major < 22) throw new Error(`latchkey-guard needs Node.js 22 or newer; this is ${process.versions.node}`)
