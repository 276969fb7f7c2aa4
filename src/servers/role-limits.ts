import { type ScriptDb, sql } from '../pool/statement.ts'

export interface ConnectionLimitFacts {
  /** Sessions that one login may have; 0 when it goes by the others. */
  readonly connectionLimit: number
  /** Connections that one process opens for a tenant. */
  readonly poolConnections: number
  /** Live processes. */
  readonly nodes: number
}

/**
 * connectionLimitOf is how many sessions one login of a tenant may have: twice what the pools of all processes may open
 * with it, so that a program of the tenant's own, or a process that has just come, finds room.
 */
export function connectionLimitOf({ connectionLimit, nodes, poolConnections }: ConnectionLimitFacts): number {
  return connectionLimit === 0 ? 2 * poolConnections * Math.max(1, nodes) : connectionLimit
}

export interface ConnectionLimitsOptions {
  readonly servers: { names(): readonly string[]; admin(server: string): Promise<ScriptDb> }
  /** The tenants' logins of a data server, a page at a time. */
  readonly logins: (server: string) => AsyncIterable<readonly string[]>
  /** Whether this process looks after a data server. Two at once do no harm. */
  readonly isKeeper: (server: string) => boolean
  readonly limit: () => number
  readonly intervalMs: number
  readonly onRaised: (server: string, count: number, limit: number) => void
  readonly onProblem: (server: string, error: unknown) => void
  /** Called before each turn; what it returns is called after it, with for how many data servers it has failed. */
  readonly beginTurn?: () => (failures: number) => void
}

/**
 * ConnectionLimits raises the limits of logins that were made when fewer processes lived, or with another setting. None
 * is lowered, and one that has 0 or no limit was given that by hand.
 */
export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions
  /** What all logins of a data server have at least. */
  readonly #done = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #stopped = false

  constructor(options: ConnectionLimitsOptions) {
    this.#options = options
  }

  /** start begins after the first interval, when the number of processes is known, and goes on until `stop`. */
  start(): void {
    this.#timer ??= setInterval(() => void this.turn(), this.#options.intervalMs).unref()
  }

  /** turn looks at each data server whose limit is a new one; one that is under way is joined. Never rejects. */
  turn(): Promise<void> {
    this.#running ??= this.#turn().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** stop resolves when nothing runs any more. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    await this.#running
  }

  async #turn(): Promise<void> {
    const { beginTurn, isKeeper, onProblem, servers } = this.#options
    const endTurn = beginTurn?.()
    let failures = 0
    for (const server of servers.names()) {
      if (!isKeeper(server)) this.#done.delete(server)
      else
        await this.#raise(server).catch((error: unknown) => {
          failures += 1
          onProblem(server, error)
        })
    }
    endTurn?.(failures)
  }

  /** @throws the first refusal, when all others have been raised */
  async #raise(server: string): Promise<void> {
    const { limit, logins, onRaised, servers } = this.#options
    const wanted = limit()
    if (wanted <= (this.#done.get(server) ?? 0)) return
    const admin = await servers.admin(server)
    const refusals: unknown[] = []
    let raised = 0
    for await (const names of logins(server)) {
      const rows = await admin.query<{ script: string }>(sql`
        select format('alter role %I connection limit %s', rolname, ${wanted}::integer) as script
        from pg_roles where rolname = any(${[...names]}::text[]) and rolconnlimit between 1 and ${wanted}::integer - 1`)
      for (const { script } of rows) {
        if (this.#stopped) return
        try {
          await admin.script(script)
          raised += 1
        } catch (error) {
          refusals.push(error)
        }
      }
    }
    if (raised > 0) onRaised(server, raised, wanted)
    if (refusals.length > 0) throw refusals[0]
    this.#done.set(server, wanted)
  }
}
