import t, { type Test } from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { basic } from '../basic.ts'
import { build } from '../helper.ts'
import { FORM, sendBytes } from '../http.ts'

const SECRET = 'planted-secret-0815'

/** Builds an app whose log is kept. */
async function logged(t: Test) {
  const lines: string[] = []
  const stream = { write: (line: string) => void lines.push(line) }
  const { app, inject } = await build(t, { logger: { level: 'trace', stream } })
  return {
    app,
    inject,
    /** Returns what a request has logged. */
    async during(request: () => Promise<unknown>): Promise<string> {
      const before = lines.length
      await request()
      return lines.slice(before).join('')
    }
  }
}

t.test('neither the query nor the form of a request is in the log, however it ends [TE6]', async (t) => {
  const { app, inject, during } = await logged(t)
  await app.auth.users.create(OPERATOR, { username: 'carol', password: SECRET, roles: ['user'] })
  const login = `grant_type=password&username=carol&password=${SECRET}`
  const authorization = basic('docs', SECRET)

  const requests: [method: 'GET' | 'POST' | 'PUT', url: string, headers: object, payload: string, status: number][] = [
    ['POST', '/token', {}, login, 200],
    ['POST', '/token', {}, `${login}x`, 400],
    ['POST', '/token', {}, `${login}&client_secret=${SECRET}`, 401],
    ['POST', '/token', {}, `${login}&scope=${SECRET}`, 400],
    ['POST', '/token', {}, `${login}&${SECRET}=%zz`, 400],
    ['POST', '/token', { authorization }, login, 401],
    ['POST', '/token', { 'content-type': 'application/json' }, JSON.stringify({ password: SECRET }), 415],
    ['POST', `/token?password=${SECRET}`, {}, login, 400],
    ['POST', `/token?${SECRET}`, {}, login, 200],
    ['POST', `/token?password=${SECRET}%zz`, {}, login, 400],
    ['POST', `/token%zz?password=${SECRET}`, {}, login, 400],
    ['POST', `/tokens?password=${SECRET}`, {}, login, 404],
    ['GET', `/token?password=${SECRET}`, {}, '', 405],
    ['PUT', `/token/?password=${SECRET}`, {}, login, 405],
    ['GET', `/users/me?access_token=${SECRET}`, {}, '', 401],
    ['GET', '/users/me', { authorization: `Bearer ${SECRET}` }, '', 401]
  ]
  for (const [method, url, headers, payload, status] of requests) {
    const name = `${method} ${url} ${JSON.stringify(headers)} ${payload}`
    const lines = await during(async () => {
      const response = await inject({ method, url, headers: { 'content-type': FORM, ...headers }, payload })
      t.equal(response.statusCode, status, name)
    })
    t.match(lines, `"method":"${method}"`, 'the request is in the log')
    t.notMatch(lines, SECRET, name)
    t.notMatch(lines, authorization.slice('Basic '.length), name)
  }
})

t.test('the bytes of a request that the HTTP parser refuses are not in the log [TE6]', async (t) => {
  const { app, during } = await logged(t)
  for (const request of [
    `POST /token?password=${SECRET} HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\npassword=${SECRET}`,
    `POST /token HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${SECRET}\0\r\n\r\n`,
    `password=${SECRET}`
  ]) {
    const lines = await during(async () => t.equal((await sendBytes(app, request)).status, 400))
    t.match(lines, 'refused by Node.js')
    t.notMatch(lines, SECRET)
    t.notMatch(lines, [...Buffer.from(SECRET)].join(','), 'nor as a list of bytes')
  }
})
