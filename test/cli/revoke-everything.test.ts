import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { build, createDatabase, environment, PASSWORD } from '../helper.ts'
import { plant } from '../secrets.ts'
import { sql } from '../sql.ts'
import { command, keyboard } from './command.ts'
import { startService, systemClock } from './instances.ts'
import { freePort } from './process.ts'

const AUDIENCE = 'https://orders.example'

t.test(
  'after a restore and revoke-everything no old token works, at Latchkey and at a running guard [F27]',
  async (t) => {
    const at = await createDatabase(t, 'sqlite', 'ready')
    const [file, copy] = [join(at.dataDir, 'latchkey.db'), join(at.dataDir, 'copy.db')]
    const port = await freePort()
    const issuer = `http://localhost:${port}`
    const env = { ...environment(at), LATCHKEY_ISSUER: issuer }
    const latchkey = async (line: string, stdin = '') => {
      const { code, stdout, stderr } = await command(env, line.split(' '), stdin)
      if (code !== 0) throw new Error(`${line}: ${stderr}`)
      return stdout
    }
    const start = async (ownPort = port) => {
      const { app } = await build(t, { at, env: { LATCHKEY_ISSUER: issuer }, clock: systemClock, logger: false })
      await app.listen({ host: '127.0.0.1', port: ownPort })
      return app
    }
    const post = async (path: string, form: Record<string, string>) => {
      const response = await fetch(issuer + path, { method: 'POST', body: new URLSearchParams(form) })
      const text = await response.text()
      const answer = text === '' ? {} : JSON.parse(text)
      plant(...(answer.access_token ?? '').split('.').slice(2), answer.refresh_token)
      return { status: response.status, ...answer }
    }
    const login = (username: string) =>
      post('/token', {
        grant_type: 'password',
        client_id: 'shop',
        username,
        password: PASSWORD,
        scope: 'orders:read'
      })
    const refresh = (token: string) =>
      post('/token', { grant_type: 'refresh_token', client_id: 'shop', refresh_token: token })
    /** Asks Latchkey whether a token is valid. */
    const introspect = async (token: string, origin = issuer) => {
      const headers = { authorization: `Basic ${Buffer.from(`guard:${secret}`).toString('base64')}` }
      const body = new URLSearchParams({ token })
      return (
        (await (await fetch(`${origin}/introspect`, { method: 'POST', headers, body })).json()) as { active: boolean }
      ).active
    }

    const first = await start()
    const guard =
      'client add Guard --id guard --grant client_credentials --scope revocations:read --scope tokens:introspect --json'
    const secret: string = JSON.parse(await latchkey(guard)).client_secret
    plant(secret)
    await latchkey(`resource add orders ${AUDIENCE} --introspect guard --scope orders:read=Orders`)
    await latchkey(
      'client add Shop --id shop --public --first-party --grant password --grant refresh_token --scope orders:read'
    )
    await latchkey('role add clerk --scope orders:read')
    for (const name of ['bob', 'carol']) await latchkey(`user add ${name} --role clerk`, `${PASSWORD}\n`)
    const service = await startService(t, {
      issuer,
      upstream: issuer,
      audience: AUDIENCE,
      clientId: 'guard',
      clientSecret: secret,
      staleAfter: 30,
      scope: 'orders:read'
    })
    const accepted = async (tokens: string[]) =>
      Promise.all(tokens.map(async (token) => [await introspect(token), await service.call(token)]))
    const until = async (tokens: string[], expected: unknown[][]) => {
      for (let tries = 0; tries < 200 && JSON.stringify(await accepted(tokens)) !== JSON.stringify(expected); tries++)
        await sleep(20)
      return accepted(tokens)
    }
    const [valid, invalid] = [
      [true, 200],
      [false, 401]
    ]

    const seq = async () =>
      Number((await sql<{ seq: number }>({ env }, "select seq from counters where name = 'revocations'"))[0]?.seq)
    const old = await login('bob')
    await sql({ env }, `vacuum into '${copy}'`)
    const backedUp = await seq()
    const later = await login('bob')
    // After two rotations a key signs that the backup does not know. A rotation requires a next key that verifiers have had time to read.
    for (let count = 0; count < 2; count++) {
      await sql({ env }, "update signing_keys set created_at = 0 where state = 'next'")
      await latchkey('key rotate')
    }
    const lost = await login('carol')
    const [oldToken, laterToken, lostToken] = [old, later, lost].map(({ access_token: token }) => token) as string[]
    const tokens = [oldToken, laterToken, lostToken] as string[]
    t.strictSame(await accepted(tokens), [valid, valid, valid])
    await latchkey('user disable bob')
    t.strictSame(await until(tokens, [invalid, invalid, valid]), [invalid, invalid, valid])
    // The guard has read past the backup, by less than the three entries that `revoke-everything` appends: one for all tokens and two for keys.
    // If their numbers followed those of the backup, the guard would read the last of them and miss the first, which revokes all tokens.
    t.ok((await seq()) > backedUp && (await seq()) < backedUp + 3)

    await first.close()
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
    copyFileSync(copy, file)
    // The guard does not reach this server.
    const hiddenPort = await freePort()
    const hidden = await start(hiddenPort)
    const origin = `http://localhost:${hiddenPort}`
    t.equal(await introspect(oldToken as string, origin), true, 'the restored database does not know what was revoked')
    t.equal(await service.call(lostToken as string), 200, 'the guard does not know that the key is lost')

    const result = await latchkey('revoke-everything --yes')
    t.equal(
      result,
      'sessions that have ended: 1; keys that were replaced: 2; every token issued until now is invalid, and every user is signed out in every browser\n'
    )
    t.strictSame(
      [await introspect(oldToken as string, origin), await introspect(lostToken as string, origin)],
      [false, false]
    )
    await hidden.close()
    const second = await start()
    t.strictSame(await until(tokens, [invalid, invalid, invalid]), [invalid, invalid, invalid])
    t.equal((await refresh(old.refresh_token)).error, 'invalid_grant')
    t.equal((await refresh(lost.refresh_token)).error, 'invalid_grant')
    const fresh = await login('bob')
    t.strictSame(await until([fresh.access_token], [valid]), [valid])
    t.equal((await refresh(fresh.refresh_token)).status, 200)
    await second.close()
  }
)

t.test('revoke-everything asks first, and changes nothing without the answer', async (t) => {
  const env = environment(await createDatabase(t, 'sqlite', 'ready'))
  const keys = () => sql({ env }, 'select kid, state from signing_keys order by kid')
  const before = await keys()
  const refused = await command(env, ['revoke-everything'])
  t.strictSame([refused.code, refused.stderr], [2, 'there is no terminal to ask on: add --yes to confirm\n'])
  const unsure = await command(env, ['revoke-everything'], keyboard('yes\n').stream)
  t.equal(unsure.code, 1)
  t.ok(unsure.stderr.endsWith('the names differ, nothing was changed\n'))
  t.strictSame(await keys(), before)
  const sure = await command(env, ['revoke-everything', '--json'], keyboard('revoke-everything\n').stream)
  t.strictSame([sure.code, JSON.parse(sure.stdout)], [0, { sessions: 0, keys: 2 }])
  t.notSame(await keys(), before)
})
