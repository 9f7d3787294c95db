import t from 'tap'
import { build, NO_KEY, NOBODY } from '../helper.ts'
import { FORM, receiveAll } from '../http.ts'

const { app, login } = await build(t)
const token = await login('admin', 'account profile users:write roles:write clients:write resources:write keys:write')

const statusOf = async (bytes: string) => Number((await receiveAll(app, bytes)).split(' ')[1])

/** Every operation that takes no body, with an object that does not exist. */
const PLACES = [
  'DELETE /users/me/sessions',
  `DELETE /users/me/sessions/${NOBODY}`,
  `DELETE /users/${NOBODY}`,
  `DELETE /users/${NOBODY}/sessions`,
  `DELETE /users/${NOBODY}/sessions/${NOBODY}`,
  'DELETE /users/me/consents/none',
  'DELETE /roles/none',
  'DELETE /clients/none',
  `DELETE /clients/none/secrets/${NOBODY}`,
  'DELETE /resources/none',
  'POST /keys/rotate'
]
/** Headers that clients send with every request, and what follows them when there is no body. */
const EMPTY: [headers: string, rest: string][] = [
  ['Content-Type: application/json\r\n', ''],
  ['Content-Type: application/json\r\nContent-Length: 0\r\n', ''],
  ['Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'],
  ['Content-Type: application/json; charset=utf-8\r\nContent-Length: 0\r\n', ''],
  [`Content-Type: ${FORM}\r\nContent-Length: 0\r\n`, ''],
  ['Content-Type: text/plain; charset=latin1\r\n', ''],
  ['Content-Length: 0\r\n', '']
]

t.test('an operation without a body accepts every content type when the request has no body', async (t) => {
  const { paths = {} } = app.swagger() as unknown as { paths: Record<string, Record<string, { requestBody?: object }>> }
  const documented = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([method, { requestBody }]) => method !== 'get' && requestBody === undefined)
      .map(([method]) => `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, '*')}`)
  )
  t.strictSame(
    PLACES.map((place) => place.replaceAll(NOBODY, '*').replaceAll('none', '*')).toSorted(),
    documented.toSorted(),
    'the list is complete'
  )
  for (const place of PLACES) {
    for (const [headers, rest] of EMPTY) {
      // This operation ends the session of its token.
      const bearer = place === 'DELETE /users/me/sessions' ? await login('alice') : token
      const head = `${place} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${bearer}\r\n`
      const status = await statusOf(`${head}${headers}\r\n${rest}`)
      // The second rotation is too early: 409.
      t.ok([200, 204, 404, 409].includes(status), `${place} ${JSON.stringify(headers)}: ${status}`)
    }
  }
})

t.test('an operation with a body refuses a request without one: 400', async (t) => {
  for (const place of ['PATCH /users/me', 'POST /users', `POST /keys/${NO_KEY}/retire`]) {
    const head = `${place} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n`
    const status = await statusOf(`${head}Content-Type: application/json\r\nContent-Length: 0\r\n\r\n`)
    t.equal(status, 400, place)
  }
})
