import { BlockList, isIP } from 'node:net'

const PREFIX = /^(?:0|[1-9]\d{0,2})$/

/** TrustedNetworks is the networks whose callers are believed; empty, it believes nobody. */
export class TrustedNetworks {
  // Node's BlockList is a list of networks, whatever for; here it lists the welcome ones. It takes an
  // IPv4-mapped IPv6 address (::ffff:10.0.0.1, in any spelling) for the IPv4 address that it is.
  readonly #networks = new BlockList()

  /**
   * @param cidrs networks such as `10.0.0.0/8` or `fd00::/8`, or single addresses
   * @throws Error that names the first one that is neither
   */
  constructor(cidrs: readonly string[]) {
    for (const cidr of cidrs) this.#add(cidr)
  }

  /** includes says whether an address lies in one of the networks; a text that is no address does not. */
  includes(address: string): boolean {
    const family = isIP(address)
    if (family === 0) return false
    return this.#networks.check(address, family === 4 ? 'ipv4' : 'ipv6')
  }

  #add(cidr: string): void {
    const [address = '', prefix, ...rest] = cidr.split('/')
    const family = isIP(address)
    const widest = family === 4 ? 32 : 128
    const bits = prefix === undefined ? widest : Number(prefix)
    const wellFormed = rest.length === 0 && (prefix === undefined || PREFIX.test(prefix))
    // A zone (fe80::1%eth0) names an interface, which a network has none of.
    if (family === 0 || !wellFormed || bits > widest || address.includes('%')) {
      throw new Error(`"${cidr}" is not a network such as 10.0.0.0/8, fd00::/8 or 192.0.2.7`)
    }
    this.#networks.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6')
  }
}
