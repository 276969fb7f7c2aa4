import type { TlsMode } from '../pool/contract.ts'

/** DEFAULT_SERVER is the name of the first data server, which the control database's URL describes. */
export const DEFAULT_SERVER = 'default'

/** DataServer is a PostgreSQL server that holds tenants. */
export interface DataServer {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly database: string
  readonly tls: TlsMode
  readonly createdAt: Date
  readonly updatedAt: Date
}
