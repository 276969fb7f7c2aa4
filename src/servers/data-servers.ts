import { type Clock, systemClock } from '../clock.ts'
import type { ChangeLog } from '../control/changes.ts'
import type { ControlDb } from '../control/control-database.ts'
import type { DatabaseAddress } from '../control/database-url.ts'
import { isLessorError, LessorError } from '../errors.ts'
import type { AdminDb, Placement, RoleLimits } from '../placement/placement.ts'
import type { PlacementName } from '../tenants/tenant.ts'
import type { Vault } from '../vault/vault.ts'
import { answersWithin } from './answers-within.ts'
import { assertDirect } from './assert-direct.ts'
import { type Candidate, rankServers, type ServerWish } from './choose-server.ts'
import type { DataServer, ServerAddress } from './data-server.ts'
import type { KnownServer } from './known-server.ts'
import { isUnsuitable, Marks } from './marks.ts'
import { preparePlacements } from './prepare-placements.ts'
import { type RegisterRequest, Registration, type ServerPatch } from './registration.ts'
import { ensureRowLogin, type RowLogin, type RuntimePlacement } from './row-login.ts'
import { ServerDirectory } from './server-directory.ts'
import { readLoads, saveServer } from './server-store.ts'

export type { ServerAddress } from './data-server.ts'

export interface DataServersOptions {
  /** The control database. */
  readonly db: ControlDb
  readonly vault: Pick<Vault, 'seal' | 'open' | 'keyId'>
  /** Address of the `default` server, with an administrator's login. */
  readonly address: DatabaseAddress
  /** Connections of a data server over all nodes where its row does not say; 80 by default. */
  readonly budget?: number
  /** Of the login of `row`; its connections are bounded by the server's budget alone. */
  readonly limits?: Omit<RoleLimits, 'connectionLimit'>
  readonly clock?: Clock
  /** Where the other processes hear of data servers; without it there are none. */
  readonly changes?: Pick<ChangeLog, 'publish'>
  readonly admin?: {
    readonly maxConnections?: number
    readonly connectTimeoutMs?: number
    readonly statementTimeoutMs?: number
  }
  /** Called when a data server was added, or its connections have changed. */
  readonly onChange?: () => void
  /** Called when a data server has another address, so that its tenants have to be connected anew. */
  readonly onMove?: (server: string) => void
  /** Hears what could not be made ready on a data server; it is tried again, or the placement is not carried. */
  readonly onProblem?: (server: string, error: unknown) => void
}

/** ServerView is a data server with what is known of it now. */
export interface ServerView extends DataServer {
  readonly tenants: number
  /** Connections over all nodes. */
  readonly budget: number
}

const BUDGET = 80
const LIMITS = { statementTimeoutMs: 30_000, idleInTransactionTimeoutMs: 30_000, tempFileLimitKb: 1_048_576 }
/** A server that was just heard is not asked again. */
const HEARD_MS = 5_000
const PING_MS = 2_000

/**
 * DataServers knows the data servers, holds the administrators' connections to them, and says which one a
 * new tenant goes to. One of them, `default`, is that of the configuration; operators register others.
 */
export class DataServers {
  readonly #options: DataServersOptions
  readonly #clock: Clock
  readonly #directory: ServerDirectory
  readonly #registration: Registration
  readonly #marks: Marks
  #placements: ReadonlyMap<PlacementName, Placement> = new Map()
  /** When each server last answered. */
  readonly #heard = new Map<string, number>()
  #probing: Promise<void> | undefined

  constructor(options: DataServersOptions) {
    const { db, vault, address, admin = {}, changes } = options
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#directory = new ServerDirectory({
      db,
      vault,
      clock: this.#clock,
      address,
      admin,
      onChange: () => options.onChange?.(),
      onMove: (server) => options.onMove?.(server),
    })
    this.#marks = new Marks(db)
    this.#registration = new Registration({
      db,
      vault,
      changes,
      admin,
      directory: this.#directory,
      marks: this.#marks,
    })
  }

  /**
   * check refuses a control database that cannot be used: behind a connection pooler, or not the one that it should be
   * (Marks.assertControl). Call it before the migrations: it changes nothing.
   * @throws LessorError SERVER_UNSUITABLE that says what was found and what would be right; CONTROL_UNAVAILABLE
   */
  async check(): Promise<void> {
    await this.#assertDirect(this.#options.address, 'DATABASE_URL', 'CONTROL_UNAVAILABLE')
    await this.#marks.assertControl()
  }

  /**
   * start makes the data servers ready for the placements and enters the first one into the control
   * database. One that was registered may be away; it is made ready later (`tend`).
   * @throws LessorError PLACEMENT_UNAVAILABLE when the first one carries none, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async start(placements: Iterable<Placement>): Promise<void> {
    this.#placements = new Map([...placements].map((each) => [each.name, each]))
    const first = this.#directory.default
    const error = await this.#prepare(first)
    if (error !== undefined && first.lacks.size === this.#placements.size) throw error
    await saveServer(this.#options.db, first.address)
    await this.#marks.learn(await first.admin(), first.name)
    await this.#directory.read()
    for (const each of this.#directory.known) if (each !== first) each.isPrepared = false
    await Promise.all([this.#makeRuntime(first), this.tend()])
  }

  /** tend makes ready what could not be made ready at the start, and resolves with how many servers still are not. Never rejects. */
  async tend(): Promise<number> {
    const left = this.#directory.known.filter((each) => !each.isPrepared)
    let failures = 0
    await Promise.all(
      left.map(async (server) => {
        try {
          await this.#admit(server)
          await this.#prepare(server)
          await this.#learn(server)
          await this.#makeRuntime(server)
        } catch (error) {
          failures += 1
          this.#options.onProblem?.(server.name, error)
        }
      }),
    )
    return failures
  }

  /** address tells where a server is. @throws LessorError SERVER_NOT_FOUND, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE */
  async address(name: string): Promise<ServerAddress> {
    return (await this.#find(name)).address
  }

  /**
   * admin is an administrator's Db to a server.
   * @throws LessorError SERVER_NOT_FOUND, SERVER_UNAVAILABLE, VAULT_OPEN_FAILED, CONTROL_UNAVAILABLE
   */
  async admin(name: string): Promise<AdminDb> {
    return (await this.#find(name)).admin()
  }

  /**
   * login is where an administrator of a server logs in, and as whom.
   * @throws LessorError SERVER_NOT_FOUND, SERVER_UNAVAILABLE, VAULT_OPEN_FAILED, CONTROL_UNAVAILABLE
   */
  async login(name: string): Promise<DatabaseAddress> {
    return (await this.#find(name)).login()
  }

  /**
   * runtime is the login of all tenants of the placement `row` on a server.
   * @throws LessorError SERVER_NOT_FOUND, PLACEMENT_UNAVAILABLE, VAULT_OPEN_FAILED, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE
   */
  async runtime(name: string): Promise<RowLogin> {
    const server = await this.#find(name)
    const placement = this.#runtimePlacement()
    if (placement === undefined) throw new LessorError('PLACEMENT_UNAVAILABLE')
    return server.runtime(async () => {
      const { db, vault, limits = LIMITS } = this.#options
      return ensureRowLogin({ db, vault, placement, limits }, name, await server.admin())
    })
  }

  /**
   * choose names the server for a new tenant: the one that is asked for, else of those that carry the
   * placement and have the labels the one with the fewest tenants for its connections.
   * @throws LessorError SERVER_NOT_FOUND; PLACEMENT_UNAVAILABLE that names the servers and what each lacks;
   *   SERVER_UNAVAILABLE when none of several answers; CONTROL_UNAVAILABLE
   */
  async choose(wish: ServerWish): Promise<string> {
    await (wish.server === undefined ? this.#directory.refresh() : this.#directory.find(wish.server))
    const ranked = await this.#rank(wish)
    // Whoever makes the tenant finds out about the only one.
    if (ranked.length === 1 && ranked[0] !== undefined) return ranked[0]
    for (const name of ranked) if (await this.#answers(name)) return name
    throw new LessorError('SERVER_UNAVAILABLE', `No data server of these answers: ${ranked.join(', ')}.`, {
      retryAfterSeconds: 1,
    })
  }

  /** ping resolves when a server answers its administrator. @throws LessorError SERVER_NOT_FOUND, SERVER_UNAVAILABLE */
  async ping(name: string): Promise<void> {
    const admin = await (await this.#directory.find(name)).admin()
    await admin.ping()
    this.#heard.set(name, this.#clock.now())
  }

  /** names are the servers as this process knows them now, without a look-up. */
  names(): readonly string[] {
    return this.#directory.known.map(({ name }) => name)
  }

  /** budgets are the servers' connections over all nodes, as this process knows them now. */
  budgets(): readonly { readonly name: string; readonly budget: number }[] {
    return this.#directory.known.map((each) => ({ name: each.name, budget: this.#budget(each) }))
  }

  /** reload reads the servers again, as after a change in another process. @throws LessorError CONTROL_UNAVAILABLE */
  reload(): Promise<void> {
    return this.#directory.read()
  }

  /** list resolves with all servers by name; one that was never probed is probed now, if it answers. @throws LessorError CONTROL_UNAVAILABLE */
  async list(): Promise<readonly ServerView[]> {
    await this.#directory.read()
    await this.#probeUnprobed()
    const loads = new Map((await readLoads(this.#options.db)).map((each) => [each.server, each.tenants]))
    return this.#directory.known
      .flatMap((each) =>
        each.row === undefined
          ? []
          : [{ ...each.row, tenants: loads.get(each.name) ?? 0, budget: this.#budget(each) }],
      )
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** get resolves with one server. @throws LessorError SERVER_NOT_FOUND, CONTROL_UNAVAILABLE */
  async get(name: string): Promise<ServerView> {
    const found = (await this.list()).find((each) => each.name === name)
    if (found !== undefined) return found
    throw new LessorError('SERVER_NOT_FOUND', `There is no data server "${name}".`)
  }

  /** register makes a server ready and enters it; see Registration. @throws what Registration.register throws */
  async register(request: RegisterRequest): Promise<ServerView> {
    await this.#registration.register(request, this.#placements)
    const server = await this.#directory.find(request.name)
    // What is not there yet is made at its first use.
    await this.#makeRuntime(server)
    return this.get(request.name)
  }

  /** update changes a server; see Registration. @throws what Registration.update throws */
  async update(name: string, patch: ServerPatch): Promise<ServerView> {
    await this.#registration.update(name, patch, this.#placements)
    return this.get(name)
  }

  /** probe finds out again what a server can do. @throws what Registration.probe throws */
  async probe(name: string): Promise<ServerView> {
    await this.#registration.probe(name, this.#placements)
    return this.get(name)
  }

  /** close lets running statements end and closes the administrators' connections. */
  async close(): Promise<void> {
    // Who asked for it hears why it failed.
    await this.#probing?.catch(() => {})
    await this.#directory.close()
  }

  /** A server that is not what it was registered as is not used. @throws LessorError SERVER_NOT_FOUND, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE */
  async #find(name: string): Promise<KnownServer> {
    const server = await this.#directory.find(name)
    if (server.refusal === undefined) return server
    // Tenants' callers see this; the log has the rest.
    throw new LessorError(
      'SERVER_UNAVAILABLE',
      'What answers at the address of the data server is not the database that it was registered with.',
      { cause: server.refusal, retryAfterSeconds: 1 },
    )
  }

  /** Sees that a registered server is still what it was. @throws LessorError SERVER_UNSUITABLE, SERVER_UNAVAILABLE, CONTROL_UNAVAILABLE */
  async #admit(server: KnownServer): Promise<void> {
    const { name, row } = server
    try {
      await this.#assertDirect(await server.login(), `The address of the data server "${name}"`)
      await this.#marks.assertSame(await server.admin(), { name, mark: row?.mark ?? null })
      server.refusal = undefined
    } catch (error) {
      if (isUnsuitable(error)) {
        server.refusal = error
        // What was opened before is there by mistake.
        this.#options.onMove?.(name)
      }
      throw error
    }
  }

  async #assertDirect(
    address: DatabaseAddress,
    what: string,
    unavailable: 'SERVER_UNAVAILABLE' | 'CONTROL_UNAVAILABLE' = 'SERVER_UNAVAILABLE',
  ): Promise<void> {
    const { connectTimeoutMs } = this.#options.admin ?? {}
    await assertDirect({ address, what, unavailable, ...(connectTimeoutMs && { connectTimeoutMs }) })
  }

  /** A server of a version without marks gets its own. */
  async #learn(server: KnownServer): Promise<void> {
    const { row } = server
    if (row === undefined || row.mark !== null) return
    server.row = { ...row, mark: await this.#marks.learn(await server.admin(), server.name) }
  }

  /** Resolves with the first refusal, if there was one. @throws LessorError SERVER_UNAVAILABLE */
  async #prepare(server: KnownServer): Promise<unknown> {
    // What an earlier probe found does not keep the first one from what it can do by now.
    const carried = server === this.#directory.default ? undefined : server.row?.capabilities?.placements
    const wanted = [...this.#placements.values()].filter(({ name }) => carried?.includes(name) ?? true)
    const { problems, error } = await preparePlacements(await server.admin(), wanted)
    server.lacks.clear()
    for (const { placement, reason } of problems) {
      server.lacks.set(placement, reason)
      this.#options.onProblem?.(
        server.name,
        new LessorError('PLACEMENT_UNAVAILABLE', `${placement}: ${reason}.`),
      )
    }
    server.isPrepared = true
    return error
  }

  /** Never rejects: it is tried again when it is needed. */
  async #makeRuntime(server: KnownServer): Promise<void> {
    if (this.#runtimePlacement() === undefined || server.lack('row') !== undefined) return
    await this.runtime(server.name).catch((error: unknown) => this.#options.onProblem?.(server.name, error))
  }

  #runtimePlacement(): RuntimePlacement | undefined {
    const row = this.#placements.get('row')
    return row !== undefined && 'provisionRuntime' in row ? (row as Placement & RuntimePlacement) : undefined
  }

  /** Refuses only by what the servers' rows say now: another process may just have changed them. */
  async #rank(wish: ServerWish): Promise<readonly string[]> {
    try {
      return rankServers(await this.#candidates(wish.placement), wish)
    } catch (error) {
      if (!isLessorError(error, 'PLACEMENT_UNAVAILABLE')) throw error
      await this.#directory.read()
      return rankServers(await this.#candidates(wish.placement), wish)
    }
  }

  async #candidates(placement: PlacementName): Promise<readonly Candidate[]> {
    const { known } = this.#directory
    const loads = known.length > 1 ? await readLoads(this.#options.db) : []
    return known.map((each) => ({
      name: each.name,
      labels: each.row?.labels ?? {},
      budget: this.#budget(each),
      tenants: loads.find(({ server }) => server === each.name)?.tenants ?? 0,
      lack: each.lack(placement),
    }))
  }

  async #answers(name: string): Promise<boolean> {
    const heard = this.#heard.get(name) ?? Number.NEGATIVE_INFINITY
    if (this.#clock.now() - heard < HEARD_MS) return true
    return answersWithin(this.ping(name), PING_MS)
  }

  #probeUnprobed(): Promise<void> {
    this.#probing ??= this.#probeAll().finally(() => {
      this.#probing = undefined
    })
    return this.#probing
  }

  async #probeAll(): Promise<void> {
    if (this.#placements.size === 0) return
    for (const { name, row } of this.#directory.known) {
      if (row === undefined || row.capabilities !== null) continue
      try {
        await this.#registration.probe(name, this.#placements)
      } catch (error) {
        if (isLessorError(error, 'CONTROL_UNAVAILABLE')) throw error
        this.#options.onProblem?.(name, error)
      }
    }
  }

  #budget(server: KnownServer): number {
    return server.row?.maxConnections ?? this.#options.budget ?? BUDGET
  }
}
