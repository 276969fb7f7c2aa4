import { isIP } from 'node:net'

/** How many of the eight groups of an IPv6 address name its network: RFC 4291, section 2.5.4. */
const NETWORK_GROUPS = 4

/**
 * networkOf is what counts as one sender: an IPv4 address, or the /64 of an IPv6 address, in which a single
 * host may have every address. Any other text is its own network.
 */
export function networkOf(address: string): string {
  // IPv4-mapped, as in ::ffff:192.0.2.7, is an IPv4 address.
  if (isIP(address) !== 6 || address.includes('.')) return address
  const [head = '', tail] = address.split('::')
  const before = groupsOf(head)
  const after = tail === undefined ? [] : groupsOf(tail)
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0')
  const groups = [...before, ...zeros, ...after].slice(0, NETWORK_GROUPS)
  return groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')
}

function groupsOf(text: string): readonly string[] {
  return text === '' ? [] : text.split(':')
}
