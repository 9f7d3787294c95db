const fastify = require('fastify')
const { default: guard } = require('latchkey-guard')
const { createTokenClient } = require('latchkey-guard/client')

require('./use.cjs')(fastify, guard, createTokenClient)
