import t from 'tap'
import { basic } from '../basic.ts'
import { ISSUER, type TestApp } from '../helper.ts'
import { asOAuthError, asProblem, FORM, LOGIN, refusal, sendBytes, sharedApp } from '../http.ts'
import { compareAll } from '../rows.ts'

const LOGIN_FORM = new URLSearchParams(LOGIN).toString()
const app = await sharedApp()
const { token, inject } = app

type Response = Awaited<ReturnType<TestApp['token']>>
const invalid = (description: string) => asOAuthError(400, 'invalid_request', description)

t.test('a missing or empty grant_type, username or password is invalid_request [TE2]', async (t) => {
  const { grant_type: _, ...others } = LOGIN
  const rest = new URLSearchParams(others).toString()
  await compareAll(t, async (row) => {
    for (const form of [rest, `grant_type=&${rest}`, '', '&', 'x=y'])
      row(`form "${form}"`, refusal(await token(form)), invalid('The parameter grant_type is missing'))
    for (const name of ['username', 'password']) {
      const missing = invalid(`The parameter ${name} is missing`)
      const form = new URLSearchParams(LOGIN)
      form.set(name, '')
      row(`an empty ${name}`, refusal(await token(form.toString())), missing)
      form.delete(name)
      row(`no ${name}`, refusal(await token(form.toString())), missing)
    }
  })
})

t.test('an unknown grant_type, or one in another case, is unsupported_grant_type [TE3]', async (t) => {
  const types = ['Password', 'PASSWORD', 'password ', ' password', 'passwor', 'implicit', '__proto__', 'toString', '0']
  const unsupported = asOAuthError(400, 'unsupported_grant_type', 'The grant type is not supported')
  for (const grant_type of [...types, 'urn:ietf:params:oauth:grant-type:saml2-bearer'])
    t.strictSame(refusal(await token({ ...LOGIN, grant_type })), unsupported, grant_type)
})

t.test('a repeated parameter is invalid_request, except resource (RFC 8707) [TE4]', async (t) => {
  await compareAll(t, async (row) => {
    for (const repeated of [
      ...Object.keys(LOGIN).map((name) => `${name}=x`),
      'grant_type=password',
      'grant%5Ftype=password',
      'scope=profile&scope=profile',
      'scope=&scope=',
      'scope=profile&scope=',
      'scope&scope',
      'client_id=docs&client_id=docs',
      'client_secret=&client_secret=',
      'of_no_meaning=1&of_no_meaning=2',
      '__proto__=1&__proto__=2'
    ])
      row(repeated, refusal(await token(`${LOGIN_FORM}&${repeated}`)), invalid('A parameter is repeated'))
    const first = await token(`grant_type=&${LOGIN_FORM}`)
    row('an empty grant_type first', refusal(first), invalid('A parameter is repeated'))
  })
  t.equal((await token(`${LOGIN_FORM}&resource=${ISSUER}&resource=${ISSUER}`)).statusCode, 200)
})

t.test('an unknown parameter is ignored, and an empty one counts as missing [TE5]', async (t) => {
  const unknown = ['audience=x', 'x', '=x', '=', '&&', 'x=1=2', '__proto__=x', 'constructor=x&hasOwnProperty=y']
  const empty = ['scope=', 'scope', 'client_id=', 'client_id=&client_secret=', 'client_secret=', 'resource=']
  await compareAll(t, async (row) => {
    for (const more of [...unknown, ...empty]) {
      const response = await token(`${LOGIN_FORM}&${more}`)
      const { access_token: _, refresh_token: __, ...rest } = response.json()
      const expected = { token_type: 'Bearer', expires_in: 300, scope: 'profile' }
      row(more, [response.statusCode, rest], [200, expected])
    }
  })
})

t.test('parameters of OAuth in the query are invalid_request [TE6]', async (t) => {
  const refused = invalid('The parameters of OAuth must be in the form, not in the query')
  await compareAll(t, async (row) => {
    for (const query of [
      `username=alice&password=${encodeURIComponent(LOGIN.password)}`,
      LOGIN_FORM,
      'password=',
      'password',
      'password=x&password=y',
      'client_id=docs',
      'client_secret=x',
      'access_token=x',
      'refresh_token=x',
      'code=x&of_no_meaning=x',
      'p%61ssword=x'
    ]) {
      for (const url of [`/token?${query}`, `/token/?${query}`]) {
        const response = await inject({ method: 'POST', url, headers: { 'content-type': FORM }, payload: LOGIN_FORM })
        row(url, refusal(response), refused)
      }
    }
  })
  const login = { method: 'POST' as const, headers: { 'content-type': FORM }, payload: LOGIN_FORM }
  for (const query of ['of_no_meaning=x', '__proto__=x', 'api-version=1&utm_source=x', 'Password=x'])
    t.equal((await inject({ ...login, url: `/token?${query}` })).statusCode, 200, `another parameter: ${query}`)
  for (const url of ['/revoke?token=x', '/introspect?token=x', '/revoke?client_id=docs'])
    t.strictSame(refusal(await inject({ ...login, url })), refused, url)
  const length = LOGIN_FORM.length
  const fragment = await sendBytes(
    app.app,
    `POST /token#password=x HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\nContent-Length: ${length}\r\n\r\n${LOGIN_FORM}`
  )
  t.strictSame([fragment.status, fragment.body], [400, refused.body], 'in a fragment')
  const headers = { 'content-type': FORM }
  const without = await inject({ method: 'POST', url: `/token?${LOGIN_FORM}`, headers })
  t.strictSame([without.statusCode, without.json().error], [400, 'invalid_request'], 'a query without a form')
  const empty = await inject({ method: 'POST', url: '/token?', headers, payload: LOGIN_FORM })
  t.equal(empty.statusCode, 200, 'an empty query')
})

t.test('every method but POST is 405 with Allow, also with a form [TE7]', async (t) => {
  const refused = asOAuthError(405, 'invalid_request', 'The path does not have this method')
  await compareAll(t, async (row) => {
    for (const method of ['GET', 'PUT', 'HEAD', 'DELETE', 'PATCH', 'OPTIONS'] as const) {
      for (const url of ['/token', '/token/', '/token?grant_type=password']) {
        const response = await inject({ method, url })
        const expected = method === 'HEAD' ? { ...refused, body: '' } : refused
        row(`${method} ${url}`, [refusal(response), response.headers.allow], [expected, 'POST'])
      }
    }
    for (const method of ['PUT', 'PATCH', 'DELETE'] as const) {
      for (const type of [FORM, 'application/json', 'text/plain']) {
        const response = await inject({ method, url: '/token', headers: { 'content-type': type }, payload: LOGIN_FORM })
        row(`${method} ${type}`, [refusal(response), response.headers.allow], [refused, 'POST'])
      }
    }
  })
})

t.test('a trailing slash makes no difference, and any other path is 404 [TE7]', async (t) => {
  const post = (url: string) => inject({ method: 'POST', url, headers: { 'content-type': FORM }, payload: LOGIN_FORM })
  t.equal((await post('/token/')).statusCode, 200)
  for (const url of ['//token', '/token//', '/TOKEN', '/token/x', '/token;x', '/tokens'])
    t.strictSame(refusal(await post(url)), asProblem(404, 'The path does not exist'), url)
})

t.test('any other content type than a form in UTF-8 is 415, and the answer names the right type [TE8]', async (t) => {
  const multipart = `--b\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\npassword\r\n--b--\r\n`
  const bodies: [type: string | null, payload: string][] = [
    ['application/json', JSON.stringify(LOGIN)],
    ['application/json', ''],
    ['application/json', '{'],
    ['application/json; charset=utf-8', JSON.stringify(LOGIN)],
    [`application/json; x=${FORM}`, LOGIN_FORM],
    [`application/json, ${FORM}`, LOGIN_FORM],
    [`${FORM}, application/json`, LOGIN_FORM],
    ['application/vnd.api+json', JSON.stringify(LOGIN)],
    ['text/plain', LOGIN_FORM],
    ['text/plain; charset=utf-8', LOGIN_FORM],
    ['multipart/form-data; boundary=b', multipart],
    ['application/octet-stream', LOGIN_FORM],
    [`${FORM}x`, LOGIN_FORM],
    [`x${FORM}`, LOGIN_FORM],
    ['application/*', LOGIN_FORM],
    ['*/*', LOGIN_FORM],
    [`${FORM}; charset=iso-8859-1`, LOGIN_FORM],
    [`${FORM};Charset="UTF-16"`, LOGIN_FORM],
    [`${FORM}; charset=`, LOGIN_FORM],
    [`${FORM}; charset=utf-8; charset=latin1`, LOGIN_FORM],
    ['form', LOGIN_FORM],
    [null, LOGIN_FORM],
    [null, '']
  ]
  const refused = asOAuthError(415, 'invalid_request', `The body must be ${FORM} in UTF-8, and not compressed`)
  await compareAll(t, async (row) => {
    for (const [type, payload] of bodies) {
      const headers = type === null ? {} : { 'content-type': type }
      // A string would get a content type by itself.
      const response = await inject({ method: 'POST', url: '/token', headers, payload: Buffer.from(payload) })
      row(`${type}: ${payload}`, refusal(response), refused)
    }
  })
})

t.test('the content type of a form may be written in any way [TE8]', async (t) => {
  for (const type of [FORM.toUpperCase(), `${FORM}; charset=UTF-8`, `${FORM};charset="utf-8"`, `${FORM} ; x=y`])
    t.equal((await token(LOGIN, { 'content-type': type })).statusCode, 200, type)
})

t.test('a body over 16 KB is 413 [TE8]', async (t) => {
  const form = LOGIN_FORM
  const tooLarge = asOAuthError(413, 'invalid_request', 'The body is too large')
  t.equal((await token(form.padEnd(16_384, '&'))).statusCode, 200)
  for (const length of [16_385, 1_000_000])
    t.strictSame(refusal(await token(form.padEnd(length, '&'))), tooLarge, String(length))
})

t.test('a refusal of a hostile value is plain ASCII and repeats nothing of the request [TE9]', async (t) => {
  const check = (response: Response, name: string) => {
    const { error, error_description, ...more } = response.json()
    t.ok([400, 401, 405].includes(response.statusCode), `${name}: ${response.statusCode}`)
    t.strictSame(more, {}, name)
    t.match(error, /^[a-z_]+$/, name)
    t.match(error_description, /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/, name)
    t.notMatch(`${response.body}${JSON.stringify(response.headers)}`, 'zqx', name)
    t.notOk('x-injected' in response.headers, name)
  }
  for (const value of [
    '"zqx"',
    'zqx\\',
    'zqx\r\nx-injected: 1',
    '<script>zqx</script>',
    'zqx\u2028é🔑',
    "zqx';--",
    '\x7fzqx'
  ]) {
    const encoded = encodeURIComponent(value)
    for (const name of ['username', 'password', 'scope', 'grant_type', 'client_id', 'client_secret', 'resource'])
      check(await token({ ...LOGIN, [name]: value }), `${name}=${encoded}`)
    check(await token(`${encoded}=x`), `a parameter ${encoded}`)
    check(await token(`${encoded}=x&${encoded}=y`), `a repeated parameter ${encoded}`)
    check(await token(LOGIN, { authorization: basic(value, 'zqx') }), `Basic ${encoded}`)
    const url = `/token?${encoded}=${encoded}&scope=${encoded}`
    check(await inject({ method: 'POST', url, headers: { 'content-type': FORM }, payload: LOGIN_FORM }), url)
    check(await inject({ method: 'PUT', url }), `PUT ${url}`)
  }
})
