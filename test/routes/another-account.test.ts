import t from 'tap'
import { authorizeUrl, createJar, pkce, responseOf } from '../jar.ts'
import { CALLBACK, openSignIn } from './sign-in-world.ts'

/** Returns the target of the link "Use another account". */
const otherOf = (body: string): string | undefined =>
  /<a href="([^"]*)">Use another account</.exec(body)?.[1]?.replaceAll('&amp;', '&')

t.test('at the consent another account continues the same request, and its user gets the code', async (t) => {
  const world = await openSignIn(t)
  await world.createUser('bob')
  const jar = createJar(world)
  const { verifier, challenge } = pkce()
  const params = {
    client_id: 'spa',
    redirect_uri: CALLBACK,
    scope: 'profile',
    state: 'a&b=ü',
    nonce: 'n',
    code_challenge: challenge
  }
  const url = authorizeUrl(params)
  const asked = await jar.signIn(url)
  const other = otherOf((await jar.get(String(asked.headers.location))).body) as string
  const { searchParams } = new URL(other, 'http://localhost:3000')
  t.strictSame(Object.fromEntries(searchParams), Object.fromEntries(new URL(url, 'http://localhost:3000').searchParams))

  const signedIn = await jar.signIn(other, 'bob')
  const page = await jar.get(String(signedIn.headers.location))
  t.match(page.body, 'You are signed in as bob.')
  const response = responseOf(await jar.submit(page, { decision: 'allow', 'scope:profile': 'on' }))
  t.equal(response.params.state, 'a&b=ü')
  const tokens = await world.redeem(response.params.code as string, verifier, { client_id: 'spa' })
  t.equal((await world.get('/users/me', tokens.json().access_token)).json().username, 'bob')

  const choice = await jar.get(url)
  t.match(choice.body, /<button[^>]*>.*bob/, 'with two accounts the next request asks which one')
  t.match(choice.body, /<button[^>]*>.*alice/)
})

t.test(
  'the pages of the account show the account used last, and the user switches to another without a password',
  async (t) => {
    const world = await openSignIn(t)
    await world.createUser('bob')
    const jar = createJar(world)
    await jar.signIn('/sign-in')
    const other = otherOf((await jar.get('/account')).body) as string
    t.match((await jar.get(other)).body, 'name="password"', 'with one account the user signs in with another one')
    await jar.signIn(other, 'bob')
    t.match((await jar.get('/account')).body, 'You are signed in as bob.')

    const choice = await jar.get(other)
    t.equal(otherOf(choice.body), '/sign-in')
    const [, alice = ''] = /name="login" value="([^"]+)"><span>alice/.exec(choice.body) ?? []
    const chosen = await jar.submit(choice, { login: alice })
    t.strictSame([chosen.statusCode, chosen.headers.location], [303, '/account'])
    t.match((await jar.get('/account')).body, 'You are signed in as alice.')
    t.match(
      (await jar.submit(choice, { login: 'x' })).body,
      /<button[^>]*>.*bob/,
      'an account that has left is asked again'
    )
  }
)
