import t from 'tap'
import { OPERATOR } from '../../src/domain/caller.ts'
import { asLatin, mixesScripts } from '../../src/look-alikes.ts'
import { type Domain, openDomain, PASSWORD } from './open.ts'

const REFUSED = {
  code: 'conflict',
  message: 'The username mixes scripts and looks like the name of another user: choose another name'
}

const create = ({ auth }: Domain, username: string) =>
  auth.users.create(OPERATOR, { username, password: PASSWORD, roles: ['user'] })

t.test('a name that mixes scripts and looks like an existing name is refused', async (t) => {
  const domain = await openDomain(t)
  for (const name of ['alice', 'ABBA', 'страна', 'ραx.7']) await create(domain, name)
  for (const name of ['аlice', 'Аlice', 'alісе', 'ALIСE', 'АBBА', 'ABΒA', 'cтрана', 'paх.7'])
    await t.rejects(create(domain, name), REFUSED, name)
  for (const name of ['аlicia', 'Иvan', 'раура', 'alice2', 'иван', 'мосты', 'コーヒー豆', 'alicé'])
    await t.resolves(create(domain, name), name)
})

t.test('a user cannot be renamed to a look-alike, but can keep a name that mixes scripts', async (t) => {
  const domain = await openDomain(t)
  const { auth } = domain
  await create(domain, 'alice')
  const { id } = await create(domain, 'Иvan')
  await t.rejects(auth.users.change(OPERATOR, id, { username: 'аlice' }), REFUSED)
  await t.resolves(auth.users.change(OPERATOR, id, { username: 'ИVAN' }))
  await t.resolves(auth.users.change(OPERATOR, id, { username: 'Иvanа' }))
})

t.test('of look-alikes that are created at the same time, one is accepted', async (t) => {
  const domain = await openDomain(t)
  const results = await Promise.allSettled(['аdа-x', 'adа-x', 'аda-x'].map((name) => create(domain, name)))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
})

t.test('every look-alike has one Latin letter, and a name with both mixes scripts', async (t) => {
  for (const letter of 'АВЕКМНОРСТХаеорсухіјѕԁԛԝһӏΑΒΕΖΗΙΚΜΝΟΡΤΥΧανορικυχγօոսցզհᎪᏢᎬ') {
    t.match(asLatin(letter), /^[A-Za-z]$/, letter)
    t.ok(mixesScripts(`x${letter}`), letter)
  }
  t.equal(asLatin('alice-7é李'), 'alice-7é李')
  for (const name of ['alice', 'страна', 'αλφα', '李alice', 'アa', 'a1_-.']) t.notOk(mixesScripts(name), name)
})
