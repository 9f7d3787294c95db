// An `import` of `node:http` evaluates all of its exports, and some of them load undici, which costs time and memory at the start.
export const http = process.getBuiltinModule('node:http')
export const https = process.getBuiltinModule('node:https')
