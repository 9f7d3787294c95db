import { createForge } from '../forge.ts'
import { ISSUER, PASSWORD, type TestApp } from '../helper.ts'
import { createForgeries } from './index.ts'

/**
 * Makes forged tokens for an app, as `createForgeries` does.
 * @param valid an access token of a user of that app
 */
export async function forgeriesFor(
  world: Pick<TestApp, 'app' | 'env' | 'inject'> & { clock: { now(): number } },
  valid: string,
  audience = ISSUER
) {
  const { app, clock, env, inject } = world
  const keys = await app.store.keys.list()
  const sealingKey = env.LATCHKEY_SEALING_KEY as string
  return createForgeries({
    forge: await createForge(world, valid),
    valid,
    issuer: ISSUER,
    audience,
    now: clock.now(),
    jwks: (await inject({ method: 'GET', url: '/.well-known/jwks.json' })).body,
    nextKid: keys.find((key) => key.state === 'next')?.kid as string,
    secrets: [
      ['the sealing key', Buffer.from(sealingKey, 'base64')],
      ['the sealing key as text', sealingKey],
      ['the password', PASSWORD]
    ]
  })
}
