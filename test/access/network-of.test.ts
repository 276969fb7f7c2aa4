import t from 'tap'
import { networkOf } from '../../src/access/network-of.ts'

t.test('an IPv4 address is one sender, an IPv6 address is one with its /64', async (t) => {
  const networks: Record<string, string> = {
    '192.0.2.7': '192.0.2.7',
    '::ffff:192.0.2.7': '::ffff:192.0.2.7',
    '2001:db8:1:2:3:4:5:6': '2001:db8:1:2',
    '2001:0DB8:0001:0002::1': '2001:db8:1:2',
    '2001:db8:1:2::': '2001:db8:1:2',
    '2001:db8::5:6': '2001:db8:0:0',
    'fe80::1%eth0': 'fe80:0:0:0',
    '::1': '0:0:0:0',
    '::': '0:0:0:0',
    '': '',
    '/run/lessor.sock': '/run/lessor.sock',
  }
  t.strictSame(Object.fromEntries(Object.keys(networks).map((text) => [text, networkOf(text)])), networks)
})
