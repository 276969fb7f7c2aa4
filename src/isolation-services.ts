import { randomUUID } from 'node:crypto'
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import type { Logger } from './http/logger.ts'
import { type CanaryOptions, canaryStages } from './isolation/canaries.ts'
import { type CatalogReport, checkCatalog } from './isolation/check-catalog.ts'
import { IsolationCheck } from './isolation/isolation-check.ts'
import { IsolationJob } from './isolation/isolation-job.ts'
import { runIsolation } from './isolation/run-isolation.ts'
import type { Connect, Pools } from './pool/contract.ts'
import type { DataServers } from './servers/data-servers.ts'

export interface IsolationServicesOptions extends Omit<CanaryOptions, 'signal' | 'servers'> {
  readonly config: Config
  readonly logger: Logger
  readonly clock: Clock
  readonly servers: CanaryOptions['servers'] & Pick<DataServers, 'names'>
  readonly connect: Connect
  readonly pools: Pick<Pools, 'reserve'>
}

/** A run that takes longer has met a server that hangs. */
const TIMEOUT_MS = 120_000
/** Operators who ask one after the other get one answer. */
const FRESH_MS = 30_000

/** createIsolationServices wires the proof that a running service makes of its walls. Nothing runs before `job.start`. */
export function createIsolationServices(options: IsolationServicesOptions) {
  const { config, logger, clock, servers, connect, pools } = options

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

  async function readCatalogs(): Promise<readonly CatalogReport[]> {
    const catalogs: CatalogReport[] = []
    for (const name of servers.names()) catalogs.push(await checkCatalog(await servers.admin(name), name))
    return catalogs
  }

  const check = new IsolationCheck({
    clock,
    timeoutMs: TIMEOUT_MS,
    freshMs: FRESH_MS,
    prove: async (signal) =>
      runIsolation({
        stages: canaryStages({ ...options, signal }),
        catalogs: await readCatalogs(),
        connect: counted,
        connectTimeoutMs: config.pools.acquireTimeoutMs + config.pools.connectTimeoutMs,
        isBounded: true,
        signal,
      }),
  })
  const job = new IsolationJob({ cron: config.isolationCron, check, logger })

  return {
    check,
    start: () => job.start(),
    async stop() {
      job.stop()
      await check.close()
    },
  }
}
