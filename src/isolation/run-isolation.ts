import { readVersion } from '../version.ts'
import type { CatalogReport } from './check-catalog.ts'
import type { IsolationReport, StageReport, Trial } from './report.ts'
import { runStage } from './run-stage.ts'
import type { Stage, StageLimits } from './stage.ts'
import { orUntried, type Untried } from './untried.ts'

export interface IsolationOptions extends StageLimits, Untried {
  /** One for each placement on each data server that is to be tried. */
  readonly stages: Iterable<Stage> | AsyncIterable<Stage>
  /** Catalogs that were read besides those of the stages. */
  readonly catalogs?: readonly CatalogReport[]
  /** Told before each stage begins. */
  readonly onStage?: (stage: Stage) => void
}

/**
 * runIsolation proves, as far as trying can, that the tenants of each stage are walled off from each other: it
 * asks the catalogs whether the rules hold, and tries every verb on everything that the catalog has, through
 * real logins. Every trial is rolled back.
 * @throws what connecting throws, unless `onUntried` hears of it, and the signal's reason; a wall that does not hold is in the report
 */
export async function runIsolation(options: IsolationOptions): Promise<IsolationReport> {
  const startedAt = new Date()
  const stages: StageReport[] = []
  const catalogs: CatalogReport[] = [...(options.catalogs ?? [])]
  const trials: Trial[] = []
  for await (const stage of options.stages) {
    options.onStage?.(stage)
    const result = await orUntried(options, () => runStage(stage, options))
    if (result === undefined) continue
    stages.push(result.report)
    catalogs.push(result.catalog)
    trials.push(...result.trials)
  }
  return {
    held: trials.every(({ holds }) => holds) && catalogs.every(({ broken }) => broken.length === 0),
    version: readVersion(),
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    stages,
    catalogs,
    trials,
  }
}
