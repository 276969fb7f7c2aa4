import { globSync } from 'node:fs'
import { join, matchesGlob } from 'node:path'
import { Compiler } from './compiler.ts'
import { DryRuns } from './dry-runs.ts'
import { findMutants } from './find-mutants.ts'
import { ImportGraph } from './import-graph.ts'
import { findListed, type Listed, staleOf } from './listed.ts'
import { applied, type Mutant } from './mutant.ts'
import { orderTests } from './order-tests.ts'
import { shuffled } from './sample.ts'
import type { Stage } from './stage.ts'
import { type Trial, tryMutant } from './try-mutant.ts'

export interface MutationOptions {
  readonly root: string
  /** The project's tsconfig, below the root. */
  readonly config: string
  /** Folders whose files are mutated, and the pattern of the test files. */
  readonly folders: readonly string[]
  readonly tests: string
  /** Patterns of files on which the tests rest besides what they import. */
  readonly restsOn?: readonly string[]
  /** Only files that fit this pattern; all, without it. */
  readonly only?: string
  /** How many mutants are tried; all, without it. */
  readonly sample?: number
  readonly seed: number
  readonly jobs: number
  /** After so long no other mutant is begun. */
  readonly limitMs: number
  /** See TryOptions. */
  readonly budgetMs: number
  readonly graceMs?: number
  readonly listed: readonly Listed[]
  /** Mutants that are listed are tried as well, to see whether they still survive. */
  readonly triesListed?: boolean
  readonly cache: string
  readonly openStage: () => Promise<Stage>
  readonly signal: AbortSignal
  readonly onTrial?: (trial: Trial, done: number, of: number) => void
}

export interface MutationResult {
  /** Mutants that the files have, before it is known which compile. */
  readonly mutants: number
  readonly trials: readonly Trial[]
  /** Of those that were drawn: listed, and so not tried. */
  readonly listed: readonly { readonly mutant: Mutant; readonly entry: Listed }[]
  /** Drawn, and refused by the compiler. */
  readonly uncompiled: number
  /** Entries of the list whose mutant is no longer there. */
  readonly stale: readonly Listed[]
  /** Tests that failed without a mutant. */
  readonly redTests: readonly string[]
  /** Not all that was asked for was tried, for want of time or since it was stopped. */
  readonly isCut: boolean
}

/** mutantsOf is every mutant of the files of `folders`, file by file. */
export function mutantsOf(root: string, compiler: Compiler, folders: readonly string[]): readonly Mutant[] {
  return globSync(
    folders.map((folder) => `${folder}/**/*.ts`),
    { cwd: root },
  )
    .toSorted()
    .flatMap((file) => findMutants(file, compiler.parse(join(root, file))))
}

/** runMutation tries mutants, several at once, each with the tests that cover it. */
export async function runMutation(options: MutationOptions): Promise<MutationResult> {
  const { root, config, folders, only, jobs, listed, signal } = options
  using compiler = new Compiler(join(root, config))
  const all = mutantsOf(root, compiler, folders)
  const asked = only === undefined ? all : all.filter(({ file }) => matchesGlob(file, only))
  const graph = new ImportGraph(root)
  const testFiles = globSync(options.tests, { cwd: root }).toSorted()
  const dryRuns = new DryRuns({
    root,
    graph,
    isWanted: (file) => folders.some((folder) => file.startsWith(`${folder}/`)),
    restsOn: (options.restsOn ?? []).flatMap((pattern) => globSync(pattern, { cwd: root })),
    cache: options.cache,
    limitMs: 300_000,
    signal,
  })
  const draw = new Draw(asked, compiler, graph, options)
  const msOf = new Map<string, number>()
  for (const test of testFiles) {
    const ms = await dryRuns.ms(test)
    if (ms !== undefined) msOf.set(test, ms)
  }

  const trials: Trial[] = []
  const endsAt = performance.now() + options.limitMs
  let isCut = false
  const work = async (): Promise<void> => {
    const stage = await options.openStage()
    try {
      for (;;) {
        isCut ||= performance.now() >= endsAt && !draw.isOver
        const mutant = isCut ? undefined : draw.next()
        if (mutant === undefined) return
        const tests = orderTests(mutant.file, testFiles, graph, msOf)
        const trial = await tryMutant(mutant, graph.text(mutant.file), { ...options, stage, dryRuns, tests })
        trials.push(trial)
        options.onTrial?.(trial, trials.length + draw.accepted, draw.of)
      }
    } catch (error) {
      isCut = true
      throw error
    } finally {
      await stage.close()
    }
  }
  const ended = await Promise.allSettled(Array.from({ length: jobs }, work))
  const failed = ended.find((each) => each.status === 'rejected')
  if (failed !== undefined && !signal.aborted) throw failed.reason
  return {
    mutants: asked.length,
    trials,
    listed: draw.listed,
    uncompiled: draw.uncompiled,
    stale: staleOf(listed, all),
    redTests: dryRuns.red(),
    isCut: isCut || signal.aborted,
  }
}

/** Draw hands out mutants by the seed, until the sample is complete. */
class Draw {
  readonly listed: { readonly mutant: Mutant; readonly entry: Listed }[] = []
  uncompiled = 0
  accepted = 0
  readonly #queue: Mutant[]
  readonly #compiler: Compiler
  readonly #graph: ImportGraph
  readonly #options: MutationOptions
  #drawn = 0

  constructor(mutants: readonly Mutant[], compiler: Compiler, graph: ImportGraph, options: MutationOptions) {
    this.#queue = [...shuffled(mutants, options.seed)].reverse()
    this.#compiler = compiler
    this.#graph = graph
    this.#options = options
  }

  get isOver(): boolean {
    return this.#queue.length === 0 || this.#drawn >= (this.#options.sample ?? Number.POSITIVE_INFINITY)
  }

  /** How many are to be drawn; without a sample as many as are left, some of which do not compile. */
  get of(): number {
    return Math.min(this.#options.sample ?? Number.POSITIVE_INFINITY, this.#drawn + this.#queue.length)
  }

  /** One that is accepted is part of the sample, and need not be tried; one that is equivalent is no part of it. */
  next(): Mutant | undefined {
    while (!this.isOver) {
      const mutant = this.#queue.pop()
      if (mutant === undefined) return undefined
      const entry = findListed(this.#options.listed, mutant)
      if (entry !== undefined && this.#options.triesListed !== true) {
        this.listed.push({ mutant, entry })
        if (entry.verdict === 'equivalent') continue
        this.#drawn++
        this.accepted++
        continue
      }
      const source = this.#graph.text(mutant.file)
      const problems = this.#compiler.problems(join(this.#options.root, mutant.file), applied(source, mutant))
      if (problems.length > 0) {
        this.uncompiled++
        continue
      }
      this.#drawn++
      return mutant
    }
    return undefined
  }
}
