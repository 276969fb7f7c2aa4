import type { ServerWay } from '../pool/contract.ts'
import type { Capabilities } from './capabilities.ts'

/** DEFAULT_SERVER is the name of the first data server, which the control database's URL describes. */
export const DEFAULT_SERVER = 'default'

/** SERVER_NAME_PATTERN is what a data server may be called. */
export const SERVER_NAME_PATTERN = '^[a-z0-9][a-z0-9_.-]{0,62}$'

/** Labels is what operators say of a data server, such as its region. */
export type Labels = Readonly<Record<string, string>>

/** DataServer is a PostgreSQL server that holds tenants. */
export interface DataServer extends ServerWay {
  readonly name: string
  readonly database: string
  readonly labels: Labels
  /** Connections over all nodes; null stands for SERVER_MAX_CONNECTIONS. */
  readonly maxConnections: number | null
  /** Null until the first probe. */
  readonly capabilities: Capabilities | null
  readonly probedAt: Date | null
  /** The mark in its database (database-mark.ts); null until it was read or written for the first time. */
  readonly mark: string | null
  /** Goes up with every change of the address or of a login. */
  readonly generation: number
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** ServerAddress is where tenants connect to. */
export type ServerAddress = ServerWay & Pick<DataServer, 'name' | 'database'>
