import { randomUUID } from 'node:crypto'
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import type { Logger } from './http/logger.ts'
import { type CanaryOptions, canaryStages } from './isolation/canaries.ts'
import { type CatalogReport, checkCatalog } from './isolation/check-catalog.ts'
import { IsolationCheck } from './isolation/isolation-check.ts'
import { IsolationJob } from './isolation/isolation-job.ts'
import type { IsolationReport } from './isolation/report.ts'
import { runIsolation } from './isolation/run-isolation.ts'
import { orUntried, type Untried } from './isolation/untried.ts'
import type { Connect, Pools } from './pool/contract.ts'
import type { DataServers } from './servers/data-servers.ts'
import type { Tasks } from './tasks.ts'

export interface IsolationServicesOptions extends Omit<CanaryOptions, 'signal' | 'onUntried' | 'servers'> {
  readonly config: Config
  readonly logger: Logger
  readonly clock: Clock
  readonly servers: CanaryOptions['servers'] & Pick<DataServers, 'names'>
  readonly connect: Connect
  readonly pools: Pick<Pools, 'reserve'>
  readonly tasks: Pick<Tasks, 'begin'>
}

/** A run that takes longer has met a server that hangs. */
const TIMEOUT_MS = 120_000
/** Operators who ask one after the other get one answer. */
const FRESH_MS = 30_000

/** createIsolationServices wires the proof that a running service makes of its walls. Nothing runs before `job.start`. */
export function createIsolationServices(options: IsolationServicesOptions) {
  const { config, logger, clock, servers, connect, pools, tasks } = options

  /** The proof's connections count as everybody's do. */
  const counted: Connect = async (target, signal) => {
    const reservation = await pools.reserve(target.server, randomUUID(), { signal })
    try {
      const connection = await connect(target, signal)
      void connection.lost.then(() => reservation.release())
      return connection
    } catch (error) {
      reservation.release()
      throw error
    }
  }

  async function readCatalogs(untried: Untried): Promise<readonly CatalogReport[]> {
    const catalogs: CatalogReport[] = []
    for (const name of servers.names()) {
      const read = async () => checkCatalog(await servers.admin(name), name)
      const catalog = await orUntried(untried, read)
      if (catalog !== undefined) catalogs.push(catalog)
    }
    return catalogs
  }

  /**
   * A data server that is away keeps the walls of no other from being tried, and a hole that is found there from being
   * told. Without a hole the proof has failed all the same.
   */
  async function prove(signal: AbortSignal): Promise<IsolationReport> {
    const failures: unknown[] = []
    const untried: Untried = {
      signal,
      onUntried(error) {
        failures.push(error)
        logger.warn({ err: error }, 'a part of the walls between tenants could not be tried')
      },
    }
    const report = await runIsolation({
      ...untried,
      stages: canaryStages({ ...options, ...untried }),
      catalogs: await readCatalogs(untried),
      connect: counted,
      connectTimeoutMs: config.pools.acquireTimeoutMs + config.pools.connectTimeoutMs,
      isBounded: true,
    })
    if (failures.length > 0 && report.held) throw failures[0]
    return report
  }

  const check = new IsolationCheck({ clock, timeoutMs: TIMEOUT_MS, freshMs: FRESH_MS, prove })
  const job = new IsolationJob({
    cron: config.isolationCron,
    check,
    logger,
    beginTurn: () => tasks.begin('isolation'),
  })

  return {
    check,
    start: () => job.start(),
    async stop() {
      job.stop()
      await check.close()
    },
  }
}
