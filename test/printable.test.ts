import t from 'tap'
import { printable, printableLine } from '../src/printable.ts'

const SAFE = [
  '',
  'plain text',
  'two\nlines',
  'Ünïcödé, 漢字, שלום, مرحبا',
  'a\u200db',
  '\u{1f469}\u200d\u{1f52c}',
  '"\\u202e"'
]

t.test('control and bidi characters become escapes that JSON reads as the same character [UA10]', async (t) => {
  for (let point = 0; point < 0x3000; point++) {
    const character = String.fromCodePoint(point)
    const isSafe = character === '\n' || !/\p{Cc}|\p{Bidi_Control}|\p{Zl}|\p{Zp}/u.test(character)
    const shown = printable(`a${character}b`)
    const expected = isSafe ? `a${character}b` : `a\\u${point.toString(16).padStart(4, '0')}b`
    if (shown !== expected) t.equal(shown, expected, point.toString(16))
    const json = JSON.stringify({ text: `a${character}b` })
    if (JSON.parse(printable(json)).text !== `a${character}b`) t.fail(`${point.toString(16)} changes in JSON`)
  }
  t.equal(printable('\u001b[2J\u202ex\u0007'), '\\u001b[2J\\u202ex\\u0007')
})

t.test('other text stays as it is, and a line stays one line', async (t) => {
  for (const text of SAFE) t.equal(printable(text), text)
  t.equal(printableLine('a\nb\u0085c'), 'a\\nb\\u0085c')
})
