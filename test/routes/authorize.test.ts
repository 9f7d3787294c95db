import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { ISSUER } from '../helper.ts'
import { authorizeUrl, createJar, pkce, responseOf } from '../jar.ts'
import { CALLBACK, openSignIn } from './sign-in-world.ts'

const lines: { msg: string; refused?: string }[] = []
const world = await openSignIn(t, {
  logger: { level: 'info', stream: { write: (line: string) => void lines.push(JSON.parse(line)) } }
})
const { register } = world
await register('two', { redirectUris: [CALLBACK, 'https://app.example/other'] })
await register('old', { method: 'client_secret_basic', requirePkce: false, firstParty: true })
await register('native', {
  applicationType: 'native',
  firstParty: true,
  redirectUris: [
    'http://127.0.0.1/callback',
    'http://[::1]:4321/callback',
    'com.example.app:/callback',
    'http://localhost:3000/callback'
  ]
})
await register('worker', { grantTypes: ['client_credentials'], method: 'client_secret_basic' })
await register('off')
await world.app.auth.clients.change(OPERATOR, 'off', { disabled: true })

/** A request of the first-party client, with other parameters. */
const url = (more: Record<string, string | undefined> = {}) =>
  authorizeUrl({ client_id: 'own', redirect_uri: CALLBACK, ...more })

const jar = createJar(world)
await jar.signIn(url())
const ask = (more: Record<string, string | undefined>) => jar.get(url(more))

t.test('a request without a right client or redirect URI is a page with 400 and no Location [AC1]', async (t) => {
  const cases: Record<string, string | undefined>[] = [
    { client_id: undefined },
    { client_id: 'nobody' },
    { client_id: 'OWN' },
    { client_id: 'off' },
    { redirect_uri: 'https://evil.example/' },
    { redirect_uri: `${CALLBACK}/` },
    { redirect_uri: 'http://app.example/callback' },
    { client_id: 'two', redirect_uri: undefined }
  ]
  for (const more of cases) {
    const { statusCode, headers } = await ask({ ...more, state: 'a state' })
    t.strictSame(
      [statusCode, headers['content-type'], headers.location, headers['cache-control']],
      [400, 'text/html; charset=utf-8', undefined, 'no-store'],
      JSON.stringify(more)
    )
  }
  t.equal(responseOf(await ask({ redirect_uri: undefined })).to, CALLBACK, 'the only redirect URI may be left out')
})

t.test('only the port of a loopback address is free [AC2]', async (t) => {
  const to = async (redirect_uri: string) => {
    const answer = await ask({ client_id: 'native', redirect_uri })
    return answer.statusCode === 303 ? String(answer.headers.location).split('?')[0] : answer.statusCode
  }
  for (const uri of [
    'http://127.0.0.1/callback',
    'http://127.0.0.1:50123/callback',
    'http://[::1]:1/callback',
    'com.example.app:/callback',
    'http://localhost:3000/callback'
  ])
    t.equal(await to(uri), uri)
  for (const uri of [
    'http://127.0.0.1:50123/other',
    'http://localhost:50123/callback',
    'https://127.0.0.1:50123/callback',
    'http://127.0.0.2:50123/callback',
    'com.example.app:/callback/more'
  ])
    t.equal(await to(uri), 400, uri)
})

t.test('every other refusal goes back to the client, with state and iss [AC3, AC8, AC9]', async (t) => {
  const cases: [Record<string, string | undefined>, string][] = [
    [{ code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
    [{ code_challenge_method: 'plain' }, 'invalid_request'],
    [{ code_challenge_method: undefined }, 'invalid_request'],
    [{ code_challenge: 'short' }, 'invalid_request'],
    [{ client_id: 'old', code_challenge: undefined }, 'invalid_request'],
    [{ response_type: 'token' }, 'unsupported_response_type'],
    [{ response_type: 'code id_token' }, 'unsupported_response_type'],
    [{ response_type: undefined }, 'invalid_request'],
    [{ response_mode: 'fragment' }, 'invalid_request'],
    [{ request: 'a.b.c' }, 'request_not_supported'],
    [{ request_uri: 'https://app.example/request' }, 'request_uri_not_supported'],
    [{ scope: 'nothing:here' }, 'invalid_scope'],
    [{ resource: 'https://unknown.example' }, 'invalid_target'],
    [{ prompt: 'none login' }, 'invalid_request'],
    [{ max_age: '-1' }, 'invalid_request'],
    [{ id_token_hint: 'a.b.c' }, 'invalid_request'],
    [{ client_id: 'worker' }, 'unauthorized_client'],
    [{ client_id: 'spa', prompt: 'none' }, 'consent_required']
  ]
  lines.length = 0
  for (const [more, error] of cases) {
    const answer = await ask({ state: ' s+t/ä%&=#"\'', ...more })
    const { to, params } = responseOf(answer)
    t.equal(answer.statusCode, 303)
    const { error_description: description = '', ...rest } = params
    t.strictSame([to, rest], [CALLBACK, { error, state: ' s+t/ä%&=#"\'', iss: ISSUER }], JSON.stringify(more))
    t.match(description, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
    const logged = lines.splice(0).filter(({ refused }) => refused !== undefined)
    t.match(logged, [{ msg: `The app at ${CALLBACK} gets an error: ${description}`, refused: error }])
    t.equal(logged.length, 1)
  }
  const { params } = responseOf(await createJar(world).get(url({ prompt: 'none' })))
  t.strictSame([params.error, params.iss], ['login_required', ISSUER])
  t.notOk('state' in params, 'no state comes back if none was sent')
})

t.test('a client that may leave PKCE out gets a code without it [AC3]', async (t) => {
  const { params } = responseOf(
    await ask({ client_id: 'old', code_challenge: undefined, code_challenge_method: undefined })
  )
  t.match(params.code, /^[\w-]{43}$/)
})

t.test('state comes back byte by byte, and iss with it [AC8]', async (t) => {
  for (const state of [
    'a',
    '+',
    '%2B',
    'a b',
    '&code=x',
    'ü😀',
    '"<>\\^`{|}',
    "!'()*~-._",
    'a\nb\tc\r',
    '=',
    's'.repeat(4096)
  ]) {
    const answer = await ask({ state })
    const query = String(answer.headers.location).split('?')[1] as string
    const raw = Object.fromEntries(query.split('&').map((pair) => pair.split('=') as [string, string]))
    t.strictSame(Object.keys(raw), ['code', 'state', 'iss'])
    t.equal(decodeURIComponent(raw.state as string), state, 'also for clients that do not decode +')
    t.equal(responseOf(answer).params.state, state)
    t.equal(responseOf(answer).params.iss, ISSUER)
  }
})

t.test('a form is an authorization request too (OpenID Connect Core 1.0 §3.1.2.1)', async (t) => {
  const form = url({ state: 'a state' }).split('?')[1] as string
  const foreign = { origin: 'https://app.example', 'sec-fetch-site': 'cross-site' }
  for (const sent of [form, `${form}&state=twice`, `${form}&request=a.b.c`, `${form}&nothing=here`]) {
    const answer = await createJar(world).post('/authorize', sent, foreign)
    t.strictSame([answer.statusCode, answer.cookies], [303, []])
    const next = await jar.get(String(answer.headers.location))
    const expected = await jar.get(`/authorize?${sent}`)
    t.strictSame({ ...responseOf(next).params, code: '' }, { ...responseOf(expected).params, code: '' })
  }
  const long = `${form}&scope=${'s'.repeat(4000)}&login_hint=${encodeURIComponent('ü'.repeat(500))}&nonce=${encodeURIComponent('ü'.repeat(500))}`
  t.match(
    responseOf(await jar.post('/authorize', `${long}&ui_locales=${encodeURIComponent('ü'.repeat(500))}`, foreign))
      .params,
    {
      error: 'invalid_request',
      error_description: 'The request is longer than 10240 bytes'
    }
  )
  for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x'])
    t.equal((await jar.post('/authorize', '{}', { ...foreign, 'content-type': type })).statusCode, 415)
})

t.test('the response is added to the query of a redirect URI, and never to a fragment', async (t) => {
  const uris = ['https://app.example/cb?a=b', 'https://app.example/cb?', 'https://app.example/cb?a=b&']
  await register('queries', { firstParty: true, redirectUris: uris })
  for (const uri of uris) {
    const { location } = (await ask({ client_id: 'queries', redirect_uri: uri, state: 'x' })).headers
    t.match(
      location,
      new RegExp(`^${uri.replaceAll('?', '\\?')}${uri === uris[0] ? '&' : ''}code=[\\w-]{43}&state=x&iss=`)
    )
  }
})

t.test('the response mode form_post is a page with a form for the client and nobody else', async (t) => {
  const answer = await ask({ response_mode: 'form_post', state: '"><script>alert(1)</script>' })
  t.equal(answer.statusCode, 200)
  t.match(answer.body, /<form [^>]*action="https:\/\/app\.example\/callback"/)
  t.match(answer.body, /name="code" value="[\w-]{43}"/)
  t.match(answer.body, `name="iss" value="${ISSUER}"`)
  t.notMatch(answer.body, '<script>alert')
  t.match(await ask({ response_mode: 'form_post', prompt: 'none', client_id: 'spa' }), {
    statusCode: 200,
    body: 'consent_required'
  })
})

t.test('a code is exchanged for tokens once, by its client and with its verifier [AC4, AC5, AC7]', async (t) => {
  const { codeOf, redeem, signedIn } = world
  const { response, code, verifier } = await signedIn()
  t.equal(response.statusCode, 200)
  const { access_token: token, refresh_token: refreshToken } = response.json()
  t.equal((await world.get('/users/me', token)).statusCode, 200)
  t.match((await redeem(code, verifier)).json(), { error: 'invalid_grant' })
  t.equal((await world.get('/users/me', token)).statusCode, 401, 'a code that comes twice ends its session')
  t.equal(
    (await world.token({ grant_type: 'refresh_token', client_id: 'own', refresh_token: refreshToken })).statusCode,
    400
  )

  const cases: Record<string, string | undefined>[] = [
    { code_verifier: undefined },
    { code_verifier: 'wrong'.repeat(10) },
    { redirect_uri: 'https://app.example/other' },
    { redirect_uri: undefined },
    { client_id: 'spa' }
  ]
  for (const wrong of cases) {
    const pair = pkce()
    const burnt = await codeOf({ code_challenge: pair.challenge })
    t.match((await redeem(burnt, pair.verifier, wrong)).json(), { error: 'invalid_grant' })
    t.match((await redeem(burnt, pair.verifier)).json(), { error: 'invalid_grant' }, 'the code is burnt')
  }
})

t.test('a code is refused after a minute [AC6]', async (t) => {
  const { codeOf, redeem, clock } = world
  const { verifier, challenge } = pkce()
  const code = await codeOf({ code_challenge: challenge })
  clock.advance(61)
  t.match((await redeem(code, verifier)).json(), { error: 'invalid_grant' })
})
