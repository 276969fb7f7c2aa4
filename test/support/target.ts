import type { ConnectionTarget } from '../../src/pool/contract.ts'
import { Secret } from '../../src/secret.ts'

/** targetOf is what a database's URL says, as the engine takes it. */
export function targetOf(url: string, changes: Partial<ConnectionTarget> = {}): ConnectionTarget {
  const { hostname, port, username, password, pathname } = new URL(url)
  return {
    server: 'default',
    host: hostname,
    port: Number(port),
    database: pathname.slice(1),
    user: decodeURIComponent(username),
    password: new Secret(decodeURIComponent(password)),
    tls: 'disable',
    parameters: {},
    ...changes,
  }
}
