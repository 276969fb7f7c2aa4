import type { LessorError } from '../../src/errors.ts'
import type {
  Connect,
  Connection,
  ConnectionTarget,
  PoolLimits,
  Rows,
  Running,
  Standing,
  TransactionCommand,
} from '../../src/pool/contract.ts'
import { type Statement, sql } from '../../src/pool/statement.ts'
import { Secret } from '../../src/secret.ts'

/** Clock that tests move. */
export class FakeClock {
  time = 1_000_000

  now(): number {
    return this.time
  }
}

export const LIMITS: PoolLimits = {
  maxEntries: 10,
  maxConnections: 4,
  sharedMaxConnections: 8,
  serverMaxConnections: 20,
  processMaxConnections: 40,
  maxOpening: 8,
  maxWaiting: 1000,
  idleMs: 60_000,
  maxIdleMs: 600_000,
  connectionIdleMs: 10_000,
  acquireTimeoutMs: 5_000,
  connectTimeoutMs: 5_000,
  statementTimeoutMs: 15_000,
  drainTimeoutMs: 30_000,
  thrashMs: 60_000,
  breakerBaseMs: 500,
  breakerMaxMs: 30_000,
}

export function target(tenantId: string, server = 'default'): ConnectionTarget {
  return {
    server,
    host: '127.0.0.1',
    port: 5432,
    database: 'app',
    user: tenantId,
    password: new Secret('secret'),
    tls: 'disable',
    parameters: {},
  }
}

const COMMANDS = { begin: sql`begin`, commit: sql`commit`, rollback: sql`rollback` }

interface Flight {
  readonly statement: Statement
  /** The tenant that it is bound to. */
  readonly binding: string | undefined
  readonly resolve: (rows: Rows) => void
  readonly reject: (error: Error) => void
  /** What its `Running` says. */
  isUndone: boolean
}

/** FakeConnection runs a statement until the test answers it. Misuse by the engine throws. */
export class FakeConnection implements Connection {
  readonly #driver: FakeDriver
  readonly target: ConnectionTarget
  readonly pid: number
  readonly flights: Flight[] = []
  /** The tenant that the open transaction is bound to. */
  #bound: string | undefined
  cancels = 0
  /** Whether a cancel request ends the statement. */
  obeys = true
  /** While it is set, the server takes no cancel request: they are under way until it resolves. */
  cancelsHeld: Promise<void> | undefined
  state: 'open' | 'closing' | 'gone' = 'open'
  standing: Standing | undefined
  /** Why the answers under way will be refused, though they still come. */
  refusal: LessorError | undefined
  #lose: () => void = () => {}
  readonly lost = new Promise<void>((resolve) => {
    this.#lose = resolve
  })

  get isUsable(): boolean {
    return this.state === 'open'
  }

  constructor(driver: FakeDriver, target: ConnectionTarget, pid: number) {
    this.#driver = driver
    this.target = target
    this.pid = pid
  }

  command(command: TransactionCommand, binding?: string): Running {
    return this.run(COMMANDS[command], binding)
  }

  copy(): never {
    throw new Error('bug: the engine copies nothing')
  }

  run(statement: Statement, binding?: string): Running {
    let flight: Flight | undefined
    const result = new Promise<Rows>((resolve, reject) => {
      if (this.state !== 'open') {
        reject(Object.assign(new Error('gone'), { code: 'CONNECTION_CLOSED' }))
        return
      }
      flight = { statement, binding, resolve, reject, isUndone: false }
      this.flights.push(flight)
      this.#driver.onSend(statement)
    })
    const refusal = () => this.refusal
    const isUndone = () => flight?.isUndone ?? false
    return {
      result,
      get refusal() {
        return refusal()
      },
      get isUndone() {
        return isUndone()
      },
      cancel: () => this.#cancel(),
    }
  }

  /** answer ends the statement that the server works on; its command tag is its first word unless given. */
  answer(outcome: 'ok' | 'error' = 'ok', command?: string): void {
    const flight = this.flights.shift()
    if (flight === undefined) return
    const rows = rowsFor(flight.statement, flight.binding ?? this.#bound ?? this.target.user, command)
    if (rows.command === 'BEGIN') this.#bound = flight.binding
    if (rows.command === 'COMMIT' || rows.command === 'ROLLBACK') this.#bound = undefined
    if (outcome === 'ok') flight.resolve(rows)
    else flight.reject(Object.assign(new Error('refused by the server'), { code: '22012' }))
    if (this.state === 'closing' && this.flights.length === 0) this.lose()
  }

  /** refuse ends the statement that the server works on with an error, after which it may be run again if `isUndone`. */
  refuse(error: Error, isUndone: boolean): void {
    const flight = this.flights.shift()
    if (flight === undefined) return
    flight.isUndone = isUndone
    flight.reject(error)
  }

  lose(): void {
    if (this.state === 'gone') return
    this.state = 'gone'
    this.#driver.live.delete(this)
    for (const flight of this.flights.splice(0)) {
      flight.reject(Object.assign(new Error('lost'), { code: 'CONNECTION_CLOSED' }))
    }
    this.#lose()
  }

  async close(): Promise<void> {
    if (this.state === 'gone') return
    this.state = 'closing'
    if (this.flights.length === 0) {
      await Promise.resolve()
      this.lose()
    }
    await this.lost
  }

  destroy(): void {
    this.lose()
  }

  async #cancel(): Promise<void> {
    this.cancels += 1
    this.#driver.onCancel(this)
    await this.cancelsHeld
    if (!this.obeys) return
    const flight = this.flights.shift()
    flight?.reject(Object.assign(new Error('canceling statement'), { code: '57014' }))
  }
}

function rowsFor(statement: Statement, user: string, tag?: string): Rows {
  const [text = ''] = statement.strings
  const rows: object[] = [{ user, value: statement.values[0] }]
  return Object.assign(rows, { command: tag ?? text.trim().split(' ')[0]?.toUpperCase() ?? '' })
}

interface Opening {
  readonly target: ConnectionTarget
  readonly finish: (error?: Error) => void
}

/** FakeDriver opens connections when the test says so, or at once. */
export class FakeDriver {
  readonly live = new Set<FakeConnection>()
  readonly openings = new Set<Opening>()
  /** Called after every change of what is live or opening. */
  onChange: () => void = () => {}
  /** Called when a connection to a server begins to open. */
  onOpening: (server: string) => void = () => {}
  onCancel: (connection: FakeConnection) => void = () => {}
  /** Called with each statement that is sent. */
  onSend: (statement: Statement) => void = () => {}
  automatic = true
  failNext: Error | undefined
  /** What servers report at a login. */
  standing: Standing | undefined
  #pids = 0

  readonly connect: Connect = (target, signal) =>
    new Promise((resolve, reject) => {
      const opening: Opening = {
        target,
        finish: (error) => {
          if (!this.openings.delete(opening)) return
          if (error !== undefined) {
            reject(error)
            return
          }
          this.#pids += 1
          const connection = new FakeConnection(this, target, this.#pids)
          connection.standing = this.standing
          this.live.add(connection)
          this.onChange()
          resolve(connection)
        },
      }
      this.openings.add(opening)
      this.onOpening(target.server)
      signal.addEventListener('abort', () => opening.finish(signal.reason), { once: true })
      this.onChange()
      const error = this.failNext
      this.failNext = undefined
      if (error !== undefined) opening.finish(error)
      else if (this.automatic) opening.finish()
    })
}

/** settle lets everything run that is due now. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
}
