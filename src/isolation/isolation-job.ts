import { createTask, validateDetailed } from 'node-cron'
import { ConfigError } from '../config.ts'
import type { Logger } from '../http/logger.ts'
import { SILENT_LOGGER } from '../silent-logger.ts'
import type { IsolationCheck } from './isolation-check.ts'

export interface IsolationJobOptions {
  /** Six fields, seconds first; `off` never runs. */
  readonly cron: string
  readonly check: Pick<IsolationCheck, 'run'>
  readonly logger: Logger
  /** Called before each run; what it returns is called after it, with 1 when the walls could not be tried, else with 0. */
  readonly beginTurn?: () => (failures: number) => void
}

/** IsolationJob tries the walls on a schedule. */
export class IsolationJob {
  readonly #task: ReturnType<typeof createTask> | undefined

  /** @throws ConfigError when the cron expression is not valid */
  constructor({ cron, check, logger, beginTurn }: IsolationJobOptions) {
    if (cron === 'off') return
    const { valid, errors } = validateDetailed(cron)
    if (!valid) {
      const what = errors.map(({ field, message }) => `${field}: ${message}`).join('; ')
      throw new ConfigError([
        `ISOLATION_CRON must be a cron expression of six fields, seconds first, or off (${what})`,
      ])
    }
    const turn = async () => {
      const endTurn = beginTurn?.()
      const isTried = await run(check, logger)
      endTurn?.(isTried ? 0 : 1)
    }
    this.#task = createTask(cron, turn, {
      name: 'isolation',
      noOverlap: true,
      unref: true,
      logger: SILENT_LOGGER,
      suppressMissedWarning: true,
    })
  }

  start(): void {
    void this.#task?.start()
  }

  stop(): void {
    void this.#task?.destroy()
  }
}

/** False when the walls could not be tried. */
async function run(check: Pick<IsolationCheck, 'run'>, logger: Logger): Promise<boolean> {
  try {
    const { held, trials, catalogs, durationMs } = await check.run()
    if (held) return true
    logger.error(
      {
        broken: catalogs.flatMap(({ broken }) => broken),
        attacks: trials.filter(({ holds }) => !holds),
        ms: durationMs,
      },
      'the walls between tenants do not hold',
    )
    return true
  } catch (error) {
    logger.warn({ err: error }, 'the walls between tenants could not be tried')
    return false
  }
}
