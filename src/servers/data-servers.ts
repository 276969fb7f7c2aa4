import type { DatabaseAddress } from '../control/database-url.ts'
import { LessorError } from '../errors.ts'
import type { Placement } from '../placement/placement.ts'
import type { Db, ScriptDb } from '../pool/statement.ts'
import { type DataServer, DEFAULT_SERVER } from './data-server.ts'
import { ServerAdmin } from './server-admin.ts'
import { listServers, saveServer } from './server-store.ts'

/** ServerAddress is where tenants connect to. */
export type ServerAddress = Pick<DataServer, 'name' | 'host' | 'port' | 'database' | 'tls'>

export interface DataServersOptions {
  readonly db: Db
  /** Address of the `default` server, with an administrator's login. */
  readonly address: DatabaseAddress
  readonly admin?: {
    readonly maxConnections?: number
    readonly connectTimeoutMs?: number
    readonly statementTimeoutMs?: number
  }
}

/**
 * DataServers knows the data servers and holds the administrators' connections to them. For now
 * there is one, `default`. Its address is this process's own configuration, not its row: two
 * processes may reach one server by different names.
 */
export class DataServers {
  readonly #db: Db
  readonly #address: ServerAddress
  readonly #admin: ServerAdmin

  constructor(options: DataServersOptions) {
    const { host, port, database, tls } = options.address
    this.#db = options.db
    this.#address = { name: DEFAULT_SERVER, host, port, database, tls }
    this.#admin = new ServerAdmin({ address: options.address, ...options.admin })
  }

  /**
   * start makes the server ready for the placements and enters it into the control database.
   * @throws LessorError PLACEMENT_UNAVAILABLE when it is too old for one, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async start(placements: Iterable<Placement>): Promise<void> {
    for (const placement of placements) await placement.prepare(this.#admin)
    await saveServer(this.#db, this.#address)
  }

  /** address tells where a server is, without a look-up. @throws LessorError SERVER_NOT_FOUND */
  address(name: string): ServerAddress {
    this.#assertKnown(name)
    return this.#address
  }

  /** admin is an administrator's Db to a server. @throws LessorError SERVER_NOT_FOUND */
  admin(name: string): ScriptDb {
    this.#assertKnown(name)
    return this.#admin
  }

  /** ping resolves when a server answers its administrator. @throws LessorError SERVER_NOT_FOUND, SERVER_UNAVAILABLE */
  async ping(name: string): Promise<void> {
    this.#assertKnown(name)
    await this.#admin.ping()
  }

  list(): Promise<readonly DataServer[]> {
    return listServers(this.#db)
  }

  /** close lets running statements end and closes the administrators' connections. Memoised. */
  close(): Promise<void> {
    return this.#admin.close()
  }

  #assertKnown(name: string): void {
    if (name !== DEFAULT_SERVER) {
      throw new LessorError('SERVER_NOT_FOUND', `There is no data server "${name}".`)
    }
  }
}
