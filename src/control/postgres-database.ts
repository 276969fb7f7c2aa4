import { type ErrorCode, LessorError } from '../errors.ts'
import type { Rows } from '../pool/contract.ts'
import { type ScriptDb, type Statement, sql } from '../pool/statement.ts'
import { refusal } from '../pool/statement-kind.ts'
import { Transaction } from '../pool/transaction.ts'
import { whileCrowded } from '../pool/while-crowded.ts'
import type { DatabaseAddress } from './database-url.ts'
import { Lane } from './lane.ts'
import { Lanes } from './lanes.ts'
import { isUnreachable } from './unreachable.ts'

export interface PostgresDatabaseOptions {
  readonly address: DatabaseAddress
  readonly applicationName: string
  readonly maxConnections: number
  readonly connectTimeoutMs: number
  /** Longest run of one statement, enforced by the server; 0 leaves the server's own limit. */
  readonly statementTimeoutMs: number
  /** How long an unused connection stays open. */
  readonly idleMs: number
  /** Longest wait for running statements in `close()`. */
  readonly closeTimeoutMs: number
  /** Code of the LessorError that stands for a server that cannot be used. */
  readonly unavailable: ErrorCode
  /** Settings of its sessions, besides its own. */
  readonly parameters?: Readonly<Record<string, string>>
  /** Stands around each statement of a session, which the process id names; runs it once. */
  readonly watch?: Watch
}

/** Watch runs a statement of the backend `pid` and may look at what becomes of it meanwhile. */
export type Watch = <T>(pid: number, statement: () => Promise<T>) => Promise<T>

const PING = sql`select 1`
const UNWATCHED: Watch = (_, statement) => statement()

/**
 * PostgresDatabase is the service's own door to a database, over a few connections. It connects at the
 * first statement; who finds them all in use waits for a turn. Tenants never go through it.
 */
export class PostgresDatabase implements ScriptDb {
  readonly #options: PostgresDatabaseOptions
  readonly #lanes: Lanes
  /** Longest wait for an answer; undefined when statements have no limit. */
  readonly #patienceMs: number | undefined
  readonly #watch: Watch

  constructor(options: PostgresDatabaseOptions) {
    this.#options = options
    this.#watch = options.watch ?? UNWATCHED
    const { connectTimeoutMs, idleMs, maxConnections: max, statementTimeoutMs } = options
    this.#patienceMs = statementTimeoutMs === 0 ? undefined : statementTimeoutMs + connectTimeoutMs
    const waitMs = this.#patienceMs && this.#patienceMs + connectTimeoutMs
    this.#lanes = new Lanes({ max, idleMs, waitMs, open: () => this.#open() })
  }

  query<Row extends object = Record<string, unknown>>(statement: Statement): Promise<readonly Row[]> {
    const refused = refusal(statement)
    if (refused !== undefined) return Promise.reject(refused)
    // Row is the caller's word for what its own SQL returns.
    return this.#use((lane) => this.#watch(lane.pid, () => lane.send(statement))) as Promise<
      Rows & readonly Row[]
    >
  }

  script(text: string): Promise<void> {
    return this.#use((lane) => this.#watch(lane.pid, () => lane.script(text)))
  }

  transaction<T>(fn: (tx: ScriptDb) => Promise<T>): Promise<T> {
    return this.#use(async (lane) => {
      const tx = new LaneTransaction(lane, this.#watch)
      try {
        return await tx.run(fn)
      } finally {
        if (!tx.isOver) lane.destroy()
      }
    })
  }

  /** ping resolves when the database answers. */
  async ping(): Promise<void> {
    await this.query(PING)
  }

  /** close lets running statements end, cuts them at the deadline, and closes the connections. Memoised. */
  close(): Promise<void> {
    return this.#lanes.close(this.#options.closeTimeoutMs)
  }

  async #open(): Promise<Lane> {
    const { address, applicationName, connectTimeoutMs, parameters, statementTimeoutMs } = this.#options
    const target = {
      ...address,
      server: applicationName,
      parameters: {
        application_name: applicationName,
        DateStyle: 'ISO',
        statement_timeout: String(statementTimeoutMs),
        ...parameters,
      },
    }
    try {
      return await whileCrowded(() => Lane.open(target, { connectTimeoutMs, patienceMs: this.#patienceMs }))
    } catch (error) {
      throw this.#cannotUse(error)
    }
  }

  async #use<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
    try {
      return await this.#lanes.use(work)
    } catch (error) {
      throw isUnreachable(error) ? this.#cannotUse(error) : error
    }
  }

  #cannotUse(cause: unknown): LessorError {
    return new LessorError(this.#options.unavailable, undefined, { cause, retryAfterSeconds: 1 })
  }
}

/** LaneTransaction is a transaction of an administrator. */
class LaneTransaction extends Transaction implements ScriptDb {
  readonly #lane: Lane
  readonly #watch: Watch

  constructor(lane: Lane, watch: Watch) {
    super({
      send: (statement) => watch(lane.pid, () => lane.send(statement)),
      command: (command) => watch(lane.pid, () => lane.command(command)),
    })
    this.#lane = lane
    this.#watch = watch
  }

  async script(text: string): Promise<void> {
    this.assertOpen()
    await this.#watch(this.#lane.pid, () => this.#lane.script(text))
  }
}
