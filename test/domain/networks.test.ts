import t from 'tap'
import { networkOf } from '../../src/domain/networks.ts'

t.test('an address has the same /24 (IPv4) or /48 (IPv6) network in every notation [BF4]', async (t) => {
  const table: [network: string, addresses: (string | null)[]][] = [
    [
      '203.0.113',
      [
        '203.0.113.0',
        '203.0.113.255',
        '203.0.113.7:5555',
        '::ffff:203.0.113.7',
        '::FFFF:203.0.113.8',
        '::ffff:cb00:7109',
        '0:0:0:0:0:ffff:203.0.113.7',
        '[::ffff:203.0.113.7]:443',
        '64:ff9b::203.0.113.7',
        '64:ff9b::cb00:7109'
      ]
    ],
    ['203.0.112', ['203.0.112.255', '::ffff:203.0.112.7', '64:ff9b::203.0.112.7']],
    ['64:ff9b:1', ['64:ff9b:1::203.0.112.7']],
    [
      '2001:db8:1',
      [
        '2001:db8:1::',
        '2001:DB8:0001:ffff:ffff:ffff:ffff:ffff',
        '2001:db8:1:2ab::1',
        '[2001:db8:1:2ab::1]',
        '[2001:db8:1:2ab::1]:443',
        '2001:db8:1:2ab::203.0.113.7'
      ]
    ],
    ['2001:db8:2', ['2001:db8:2::', '2001:db8:2:ffff::1']],
    ['2001:db8:0', ['2001:db8::', '2001:db8::2ff:0:0:1']],
    ['0:2:3', ['::2:3:4:5:6:203.0.113.7']],
    ['fe80:0:0', ['fe80::1%eth0', 'fe80::2']],
    ['0:0:0', ['::1', '::']],
    ['none', [null, '', 'unknown', '_hidden', '203.0.113', '1:2:3:4:5:6:7:8:9', '1::2::3', 'x'.repeat(10_000)]]
  ]
  for (const [network, addresses] of table) {
    for (const address of addresses) t.equal(networkOf(address), network, address?.slice(0, 50) ?? 'null')
  }
})
