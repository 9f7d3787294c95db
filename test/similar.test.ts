import t from 'tap'
import { didYouMean } from '../src/similar.ts'

const NAMES = ['orders:read', 'orders:write', 'profile', 'admin']

t.test('a mistyped name is answered with the most similar one', async (t) => {
  for (const [text, name] of [
    ['order:read', 'orders:read'],
    ['orders:raed', 'orders:read'],
    ['orders_wirte', 'orders:write'],
    ['Profile', 'profile'],
    ['admn', 'admin'],
    ['amdin', 'admin']
  ] as const)
    t.equal(didYouMean(text, NAMES), `, did you mean "${name}"?`, text)
})

t.test('a name that is like none of them gets no proposal', async (t) => {
  for (const text of ['', 'a', 'ad', 'user', 'administrator', 'orders', 'profile'.repeat(10)])
    t.equal(didYouMean(text, NAMES), '', text)
  t.equal(didYouMean('admin', []), '')
})

t.test('a long name and long proposals are not compared', async (t) => {
  const long = 'x'.repeat(1_000_000)
  t.equal(didYouMean(long, [`${long}y`]), '')
  t.equal(
    didYouMean(
      'x'.repeat(60),
      Array.from({ length: 1000 }, () => long)
    ),
    ''
  )
})
