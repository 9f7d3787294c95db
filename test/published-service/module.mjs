import fastify from 'fastify'
import guard from 'latchkey-guard'
import { createTokenClient } from 'latchkey-guard/client'
import use from './use.cjs'

await use(fastify, guard, createTokenClient)
