import fc from 'fast-check'
import t from 'tap'
import { TrustedNetworks } from '../../src/access/trusted-networks.ts'
import { holds } from '../support/holds.ts'
import { throwsLike } from '../support/like.ts'

t.test('an empty list trusts nobody', async (t) => {
  const networks = new TrustedNetworks([])
  for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1', '0.0.0.0'])
    t.notOk(networks.includes(address))
})

t.test('a network holds its own addresses and no others', async (t) => {
  const networks = new TrustedNetworks([
    '10.0.0.0/8',
    '192.168.1.16/28',
    'fd00::/8',
    '203.0.113.7',
    '2001:db8::5',
  ])
  const inside = ['10.0.0.0', '10.255.255.255', '192.168.1.16', '192.168.1.31', '203.0.113.7']
  inside.push('fd00::1', 'fdff:ffff::1', '2001:db8::5', '2001:0DB8:0:0::0005')
  for (const address of inside) t.ok(networks.includes(address), address)
  const outside = ['9.255.255.255', '11.0.0.0', '192.168.1.15', '192.168.1.32', '203.0.113.6', '203.0.113.8']
  outside.push('fc00::1', 'fe00::1', '2001:db8::4', '::1', '::10.0.0.1', '64:ff9b::10.0.0.1')
  for (const address of outside) t.notOk(networks.includes(address), address)
})

t.test('an IPv4-mapped address counts as the IPv4 address that it is, in any spelling', async (t) => {
  const networks = new TrustedNetworks(['10.0.0.0/8'])
  for (const address of [
    '::ffff:10.1.2.3',
    '::FFFF:10.1.2.3',
    '::ffff:a01:203',
    '0:0:0:0:0:ffff:0a01:0203',
  ]) {
    t.ok(networks.includes(address), address)
  }
  for (const address of ['::ffff:11.1.2.3', '::ffff:b01:203']) t.notOk(networks.includes(address), address)
})

t.test('a network may be written in IPv4-mapped form', async (t) => {
  const networks = new TrustedNetworks(['::ffff:10.0.0.0/104'])
  t.ok(networks.includes('10.1.2.3'))
  t.ok(networks.includes('::ffff:10.1.2.3'))
  t.notOk(networks.includes('11.1.2.3'))
})

t.test('IPv4 as a whole is not IPv6 as a whole', async (t) => {
  const networks = new TrustedNetworks(['0.0.0.0/0'])
  t.ok(networks.includes('::ffff:8.8.8.8'))
  t.notOk(networks.includes('2001:db8::1'))
  t.notOk(networks.includes('::1'))
})

t.test('what is no address lies in no network', async (t) => {
  const networks = new TrustedNetworks(['0.0.0.0/0', '::/0'])
  const none = [
    '',
    'unknown',
    'localhost',
    '10.0.0.1:80',
    '[::1]',
    '10.1',
    '0x7f.0.0.1',
    '127.0.0.1, 10.0.0.1',
    ' ::1',
  ]
  for (const text of none) t.notOk(networks.includes(text), JSON.stringify(text))
})

t.test('membership is a comparison of the first bits', async (t) => {
  const dotted = (n: number) => [24, 16, 8, 0].map((shift) => (n >>> shift) & 255).join('.')
  const word = fc.integer({ min: 0, max: 0xffffffff })
  // Neighbours, so that about half of them share a prefix.
  const near = fc.tuple(word, fc.nat({ max: 31 })).map(([n, bit]) => [n, (n ^ (1 << bit)) >>> 0] as const)
  await holds(
    t,
    fc.property(near, fc.integer({ min: 0, max: 32 }), ([network, address], prefix) => {
      const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0
      const expected = ((network ^ address) & mask) === 0
      const networks = new TrustedNetworks([`${dotted(network)}/${prefix}`])
      return (
        networks.includes(dotted(address)) === expected &&
        networks.includes(`::ffff:${dotted(address)}`) === expected
      )
    }),
  )
})

t.test('a malformed network is refused by name', async (t) => {
  const wrong = [
    '',
    '/',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    '10.0.0.0/8/8',
    '10.0.0/8',
  ]
  wrong.push('::/129', 'fe80::%eth0/10', 'loopback', '10.0.0.0/255.0.0.0', ' 10.0.0.0/8', '10.0.0.0/1e1')
  for (const cidr of wrong) {
    throwsLike(t, () => new TrustedNetworks(['127.0.0.0/8', cidr]), {
      message: `"${cidr}" is not a network such as 10.0.0.0/8, fd00::/8 or 192.0.2.7`,
    })
  }
})
