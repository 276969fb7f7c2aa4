import { createTask, validateDetailed } from 'node-cron'
import { ConfigError } from '../config.ts'
import type { Logger } from '../http/logger.ts'
import type { Pools, SweepReport } from '../pool/contract.ts'
import { SILENT_LOGGER } from '../silent-logger.ts'

export interface SweepJobOptions {
  /** Six fields, seconds first. */
  readonly cron: string
  readonly pools: Pick<Pools, 'sweep'>
  readonly logger: Logger
  /** Called after each sweep with 1 when it has failed, else with 0. */
  readonly onTurn?: (failures: number) => void
}

/** SweepJob evicts idle pools on a schedule; a sweep never overlaps another. */
export class SweepJob {
  readonly #task: ReturnType<typeof createTask>

  /** @throws ConfigError when the cron expression is not valid */
  constructor({ cron, pools, logger, onTurn }: SweepJobOptions) {
    const { valid, errors } = validateDetailed(cron)
    if (!valid) {
      const what = errors.map(({ field, message }) => `${field}: ${message}`).join('; ')
      throw new ConfigError([`SWEEP_CRON must be a cron expression of six fields, seconds first (${what})`])
    }
    const turn = () => {
      const isWell = run(pools, logger)
      onTurn?.(isWell ? 0 : 1)
    }
    this.#task = createTask(cron, turn, {
      name: 'sweep',
      noOverlap: true,
      unref: true,
      logger: SILENT_LOGGER,
      // A sweep that a busy process missed is made up for by the next one.
      suppressMissedWarning: true,
    })
  }

  start(): void {
    void this.#task.start()
  }

  stop(): void {
    void this.#task.destroy()
  }
}

/** False when it has failed. */
function run(pools: Pick<Pools, 'sweep'>, logger: Logger): boolean {
  try {
    report(pools.sweep(), logger)
    return true
  } catch (error) {
    logger.error({ err: error }, 'sweep failed')
    return false
  }
}

function report(sweep: SweepReport, logger: Logger): void {
  if (sweep.evicted.length === 0 && sweep.connectionsClosed === 0) return
  logger.info(
    {
      evicted: sweep.evicted.length,
      connectionsClosed: sweep.connectionsClosed,
      resident: sweep.resident,
      ms: Math.round(sweep.durationMs * 100) / 100,
    },
    'sweep',
  )
}
