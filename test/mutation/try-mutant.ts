import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isCovered } from './coverage.ts'
import type { DryRuns } from './dry-runs.ts'
import { applied, type Mutant } from './mutant.ts'
import type { Ordered } from './order-tests.ts'
import { runTest } from './run-test.ts'
import type { Stage } from './stage.ts'

const REPLACE = new URL('./replace.ts', import.meta.url).href

/**
 * How much of its time without a mutant a test may take, and what it gets on top: a machine is not always as fast as it
 * was, and a test that is ended too early counts as one that found the mutant.
 */
const PATIENCE = 4
const GRACE_MS = 15_000

/** Of so many near tests, and so many far ones, it is asked at most whether they run the code, the likeliest first. */
const MOST_NEAR = 30
const MOST_FAR = 8

export interface Trial {
  readonly mutant: Mutant
  /**
   * `killed`: a test failed. `timeout`: a test did not end, which counts as killed. `survived`: no test failed.
   * `uncovered`: no test runs the code.
   */
  readonly outcome: 'killed' | 'timeout' | 'survived' | 'uncovered'
  /** The test that failed, and how; empty when none did. */
  readonly by: string
  readonly why: string
  /** The tests that ran and stayed green. */
  readonly green: readonly string[]
}

export interface TryOptions {
  readonly root: string
  readonly stage: Stage
  readonly dryRuns: DryRuns
  /** In the order in which they are to be run; far ones only when no near one runs the code. */
  readonly tests: Ordered
  /** Without a mutant the tests take so long together at most; one runs in any case. */
  readonly budgetMs: number
  readonly graceMs?: number
  readonly signal: AbortSignal
}

/** tryMutant runs the tests that cover a mutant, with it, until one fails. `source` is its file as it is on disk. */
export async function tryMutant(mutant: Mutant, source: string, options: TryOptions): Promise<Trial> {
  const { root, stage, dryRuns, tests, budgetMs, graceMs = GRACE_MS, signal } = options
  const described = join(stage.folder, 'mutant.json')
  const url = pathToFileURL(join(root, mutant.file)).href
  await writeFile(described, JSON.stringify({ url, source: applied(source, mutant) }))
  const env = {
    ...stage.env,
    LESSOR_MUTANT: described,
    NODE_OPTIONS: `--import=${REPLACE}`,
    NODE_COMPILE_CACHE: join(stage.folder, 'compiled'),
  }
  const green: string[] = []
  let spentMs = 0
  try {
    const far = new Set(tests.far.slice(0, MOST_FAR))
    for (const test of [...tests.near.slice(0, MOST_NEAR), ...far]) {
      if (green.length > 0 && far.has(test)) break
      const { isGreen, ms, covered } = await dryRuns.of(test, stage)
      if (!isGreen || !isCovered(covered, mutant.file, mutant.start)) continue
      if (green.length > 0 && spentMs + ms > budgetMs) continue
      const limitMs = ms * PATIENCE + graceMs
      const { outcome, why } = await runTest({ root, file: test, env, limitMs, signal })
      if (outcome !== 'green') {
        return { mutant, outcome: outcome === 'red' ? 'killed' : 'timeout', by: test, why, green }
      }
      green.push(test)
      spentMs += ms
    }
  } finally {
    await stage.reset()
  }
  return { mutant, outcome: green.length === 0 ? 'uncovered' : 'survived', by: '', why: '', green }
}
