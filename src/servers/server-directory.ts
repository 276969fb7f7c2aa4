import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../clock.ts'
import type { DatabaseAddress } from '../control/database-url.ts'
import { wayOf } from '../pool/contract.ts'
import type { Db } from '../pool/statement.ts'
import type { Vault } from '../vault/vault.ts'
import { serverNotFound } from './choose-server.ts'
import { type DataServer, DEFAULT_SERVER } from './data-server.ts'
import { KnownServer } from './known-server.ts'
import type { ServerAdminOptions } from './server-admin.ts'
import { openCredential } from './server-credentials.ts'
import { findCredential, listServers } from './server-store.ts'

export interface ServerDirectoryOptions {
  /** The control database. */
  readonly db: Db
  readonly vault: Pick<Vault, 'open'>
  readonly clock: Clock
  /** Address of the `default` server, with an administrator's login. */
  readonly address: DatabaseAddress
  readonly admin: Omit<ServerAdminOptions, 'address'>
  /** Called when a data server was added, or its connections have changed. */
  readonly onChange: () => void
  /** Called when a data server has another address. */
  readonly onMove: (server: string) => void
}

/** A process that hears of no changes, such as a command, looks again after so long. */
const MAX_AGE_MS = 10_000

/**
 * ServerDirectory knows the data servers as the control database has them. The address of `default` is this
 * process's own configuration, not its row: two processes may reach one server by different names.
 */
export class ServerDirectory {
  readonly #options: ServerDirectoryOptions
  readonly #known = new Map<string, KnownServer>()
  #readAt = Number.NEGATIVE_INFINITY
  #reading: Promise<void> | undefined
  #next: Promise<void> | undefined
  readonly #closing = new Set<Promise<void>>()

  constructor(options: ServerDirectoryOptions) {
    this.#options = options
    const { address, admin } = options
    this.default = new KnownServer({
      address: { ...address, name: DEFAULT_SERVER },
      row: undefined,
      isPrepared: false,
      admin,
      login: async () => address,
    })
    this.#known.set(DEFAULT_SERVER, this.default)
  }

  readonly default: KnownServer

  /** known are the data servers as last read, by name. */
  get known(): readonly KnownServer[] {
    return [...this.#known.values()]
  }

  /** find reads again when a data server is not known, or what is known is old. @throws LessorError SERVER_NOT_FOUND, CONTROL_UNAVAILABLE */
  async find(name: string): Promise<KnownServer> {
    if (name === DEFAULT_SERVER) return this.default
    if (this.#known.has(name)) await this.refresh()
    else await this.read()
    const found = this.#known.get(name)
    if (found === undefined) throw serverNotFound(name)
    return found
  }

  /** refresh reads again when what is known is old; while the control database is away that will do. */
  async refresh(): Promise<void> {
    if (this.#options.clock.now() - this.#readAt < MAX_AGE_MS) return
    await this.read().catch(() => {})
  }

  /** read resolves when a reading that began after the call has ended. @throws LessorError CONTROL_UNAVAILABLE */
  read(): Promise<void> {
    if (this.#reading === undefined) return this.#start()
    this.#next ??= this.#reading.then(
      () => this.#start(),
      () => this.#start(),
    )
    return this.#next
  }

  /** close lets what is under way end and closes the administrators' connections. */
  async close(): Promise<void> {
    await Promise.all([...this.known.map((each) => each.close()), ...this.#closing])
  }

  #start(): Promise<void> {
    this.#next = undefined
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(): Promise<void> {
    const askedAt = this.#options.clock.now()
    const rows = await listServers(this.#options.db)
    this.#readAt = askedAt
    let isNews = false
    for (const row of rows) isNews = this.#take(row) || isNews
    if (isNews) this.#options.onChange()
  }

  /** True when others have to know. */
  #take(row: DataServer): boolean {
    const known = this.#known.get(row.name)
    if (known !== undefined && (row.name === DEFAULT_SERVER || known.row?.generation === row.generation)) {
      const before = known.row?.maxConnections ?? null
      known.row = row
      return before !== row.maxConnections
    }
    const server: KnownServer = new KnownServer({
      address: row,
      row,
      isPrepared: known?.isPrepared ?? true,
      admin: this.#options.admin,
      login: () => this.#openLogin(row),
    })
    this.#known.set(row.name, server)
    if (known === undefined) return true
    this.#retire(known)
    if (!isDeepStrictEqual(known.address, server.address)) this.#options.onMove(row.name)
    return true
  }

  /** What an older way to the server has under way goes on to its end. */
  #retire(server: KnownServer): void {
    const closing: Promise<void> = server.close().finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
  }

  async #openLogin(row: DataServer): Promise<DatabaseAddress> {
    const { db, vault } = this.#options
    const { name, database } = row
    const sealed = await findCredential(db, name, 'admin')
    if (sealed === undefined) throw serverNotFound(name)
    const password = await openCredential(vault, name, sealed)
    return { ...wayOf(row), database, user: sealed.login, password }
  }
}
