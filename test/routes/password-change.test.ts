import t from 'tap'
import { build, PASSWORD } from '../helper.ts'
import { invalid } from './api.ts'

// test/domain/users.test.ts tests which passwords are accepted.

const NEW_PASSWORD = 'another horse battery staple'
const { send, login, get, token, createUser } = await build(t)
const change = (bearer: string, body: object) => send(bearer, 'POST', '/users/me/password', body)

t.test('a new password needs the current one, is valid at once, and ends the other sessions [PW9]', async (t) => {
  await createUser('bob')
  const [mine, other, bob] = [await login('alice'), await login('alice'), await login('bob')]
  for (const wrong of ['wrong', '', `${PASSWORD} `, PASSWORD.toUpperCase(), 'é'.repeat(512)]) {
    const response = await change(mine, { current_password: wrong, new_password: NEW_PASSWORD })
    t.strictSame([response.statusCode, response.json()], invalid('The current password is wrong'))
  }
  t.equal((await get('/users/me', other)).statusCode, 200, 'a wrong password ends nothing')

  const done = await change(mine, { current_password: PASSWORD, new_password: NEW_PASSWORD })
  t.strictSame([done.statusCode, done.body], [204, ''])
  t.equal((await get('/users/me', mine)).statusCode, 200)
  t.equal((await get('/users/me', other)).statusCode, 401)
  t.equal((await get('/users/me', bob)).statusCode, 200)
  t.equal((await token({ grant_type: 'password', username: 'alice', password: PASSWORD })).statusCode, 400)
  t.type(await login('alice', 'profile', NEW_PASSWORD), 'string')
})

t.test('a weak new password is 400 with the reason [PW5]', async (t) => {
  await createUser('carol')
  const response = await change(await login('carol'), {
    current_password: PASSWORD,
    new_password: 'passwordpassword'
  })
  t.strictSame([response.statusCode, response.json()], invalid('The password is too common'))
})

t.test('a body without both passwords as texts, or with more members, is 400 [AD3 HT6]', async (t) => {
  await createUser('dora')
  const bearer = await login('dora')
  for (const body of [
    {},
    { current_password: PASSWORD },
    { new_password: NEW_PASSWORD },
    { current_password: PASSWORD, new_password: [NEW_PASSWORD] },
    { current_password: PASSWORD, new_password: NEW_PASSWORD, sub: 'x' }
  ]) {
    const response = await change(bearer, body)
    t.equal(response.statusCode, 400, JSON.stringify(Object.keys(body)))
    t.equal(response.headers['content-type'], 'application/problem+json; charset=utf-8')
  }
  t.type(await login('dora'), 'string', 'the password is unchanged')
})
