import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Covered, readCovered } from './coverage.ts'
import type { ImportGraph } from './import-graph.ts'
import { runTest } from './run-test.ts'
import type { Stage } from './stage.ts'

/** DryRun is what a test file does without a mutant. */
export interface DryRun {
  /** Without a mutant it must be green, or it can say nothing of one. */
  readonly isGreen: boolean
  readonly why: string
  readonly ms: number
  readonly covered: Covered
}

interface DryRunsOptions {
  readonly root: string
  readonly graph: ImportGraph
  /** Files of which it is asked what ran. */
  readonly isWanted: (file: string) => boolean
  /** What tests rest on besides the files that they load. */
  readonly restsOn: readonly string[]
  /** Where dry runs are kept, each until a file that its test loads changes. */
  readonly cache: string
  readonly limitMs: number
  readonly signal: AbortSignal
}

/** DryRuns runs test files without a mutant, each at most once, and only when it is asked about. */
export class DryRuns {
  readonly #options: DryRunsOptions
  readonly #runs = new Map<string, Promise<DryRun>>()
  readonly #known = new Map<string, DryRun>()

  constructor(options: DryRunsOptions) {
    this.#options = options
  }

  /** ms is how long a test took, as far as that is known without running it. */
  async ms(test: string): Promise<number | undefined> {
    return (this.#known.get(test) ?? (await this.#read(test)))?.ms
  }

  /** of runs the test on the stage, or waits for another stage that does. */
  of(test: string, stage: Stage): Promise<DryRun> {
    const known = this.#runs.get(test)
    if (known !== undefined) return known
    const run = this.#run(test, stage)
    this.#runs.set(test, run)
    return run
  }

  /** red is the tests that failed without a mutant, with why. */
  red(): readonly string[] {
    return [...this.#known].filter(([, { isGreen }]) => !isGreen).map(([test, { why }]) => `${test}: ${why}`)
  }

  async #run(test: string, stage: Stage): Promise<DryRun> {
    const cached = await this.#read(test)
    if (cached !== undefined) return cached
    const { root, isWanted, limitMs, signal } = this.#options
    const folder = join(stage.folder, 'coverage')
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder)
    const env = { ...stage.env, NODE_V8_COVERAGE: folder }
    const { outcome, why, ms } = await runTest({ root, file: test, env, limitMs, signal })
    const isGreen = outcome === 'green'
    const covered = isGreen ? await readCovered(folder, root, isWanted) : {}
    const run = { isGreen, why, ms, covered }
    this.#known.set(test, run)
    if (isGreen) await this.#write(test, run)
    else await stage.reset()
    return run
  }

  async #read(test: string): Promise<DryRun | undefined> {
    const text = await readFile(this.#path(test), 'utf8').catch(() => undefined)
    if (text === undefined) return undefined
    const { hash, ...run }: DryRun & { readonly hash: string } = JSON.parse(text)
    if (hash !== this.#hash(test)) return undefined
    this.#known.set(test, run)
    return run
  }

  async #write(test: string, run: DryRun): Promise<void> {
    await mkdir(this.#options.cache, { recursive: true })
    await writeFile(this.#path(test), JSON.stringify({ hash: this.#hash(test), ...run }))
  }

  #hash(test: string): string {
    return this.#options.graph.hash(test, this.#options.restsOn)
  }

  #path(test: string): string {
    return join(this.#options.cache, `${test.replaceAll('/', '+')}.json`)
  }
}
