import t from 'tap'
import { createAddressCheck } from '../../src/domain/outgoing-addresses.ts'

const OUTSIDE = ['93.184.216.34', '172.32.0.1', '2606:4700::1111', '::ffff:93.184.216.34', '64:ff9b::5db8:d822']
const INSIDE = [
  ...['127.0.0.1', '10.1.2.3', '172.16.0.1', '192.168.1.1', '100.100.100.200', '::1', 'fd00:ec2::254'],
  ...['::ffff:10.1.2.3', '::ffff:7f00:1', '64:ff9b::a01:203'],
  ...['::7f00:1', '64:ff9b:1::a01:203', '2002:7f00:1::1', '2001::1']
]
const NEVER = [
  ...['0.0.0.0', '169.254.169.254', '224.0.0.1', '255.255.255.255', '::', 'fe80::1', 'ff02::1'],
  ...['::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe', '::ffff:0.0.0.0']
]

t.test('internal addresses are refused unless their network is listed, and link-local ones always', async (t) => {
  const [none, all] = [createAddressCheck([]), createAddressCheck(['0.0.0.0/1', '128.0.0.0/1', '::/1', '8000::/1'])]
  const some = createAddressCheck(['10.0.0.0/8', 'fd00:ec2::254'])
  const allowedBy = (isAllowed: (address: string) => boolean) => [...OUTSIDE, ...INSIDE, ...NEVER].filter(isAllowed)
  t.strictSame(allowedBy(none), OUTSIDE)
  t.strictSame(allowedBy(some), [...OUTSIDE, '10.1.2.3', 'fd00:ec2::254', '::ffff:10.1.2.3', '64:ff9b::a01:203'])
  t.strictSame(allowedBy(all), [...OUTSIDE, ...INSIDE])
})
