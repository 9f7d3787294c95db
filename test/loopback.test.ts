import t from 'tap'
import { isLoopback } from '../src/loopback.ts'
import { compareAll } from './rows.ts'

const HOSTS: [host: string, loopback: boolean][] = [
  ['localhost', true],
  ['LOCALHOST', true],
  ['localhost.', true],
  ['auth.localhost', true],
  ['a.b.localhost', true],
  ['auth.localhost.', true],
  ['127.0.0.1', true],
  ['127.1', true],
  ['0x7f.1', true],
  ['2130706433', true],
  ['127.255.255.255', true],
  ['[::1]', true],
  ['[0:0:0:0:0:0:0:1]', true],
  ['[::ffff:127.0.0.1]', true],
  ['[::ffff:127.200.0.9]', true],
  ['localhost.example.com', false],
  ['notlocalhost', false],
  ['auth-localhost', false],
  ['127.0.0.1.example.com', false],
  ['128.0.0.1', false],
  ['126.255.255.255', false],
  ['0.0.0.0', false],
  ['10.0.0.1', false],
  ['[::]', false],
  ['[::2]', false],
  ['[::ffff:128.0.0.1]', false],
  ['[::ffff:126.255.255.255]', false],
  ['[::127.0.0.1]', false],
  ['[1::ffff:7f00:1]', false],
  ['[fe80::1]', false],
  ['latchkey', false]
]

t.test('the hosts of RFC 6761 §6.3, 127.0.0.0/8, ::1 and their mapped addresses are loopback, in every spelling', (t) =>
  compareAll(t, async (row) => {
    for (const [host, expected] of HOSTS) row(host, isLoopback(new URL(`http://${host}`).hostname), expected)
  })
)
