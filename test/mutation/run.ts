// Mutation testing of the code that tenants rest on: npm run mutation [-- options], see mutation-options.ts.
import { globSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, matchesGlob } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readListed } from './listed.ts'
import { FOLDERS, HINT, type MutationWish, readMutationOptions, USAGE } from './mutation-options.ts'
import { toLine, toMarkdown, toSummary } from './report.ts'
import { runMutation } from './run-mutation.ts'
import { percentOf, problemsOf, scoreOf } from './score.ts'
import { openDatabaseStage } from './stage.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const REPORTS = join(ROOT, 'reports')
const SURVIVORS = new URL('./survivors.json', import.meta.url)

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  const wish = readMutationOptions(args)
  if (typeof wish === 'string') {
    process.stderr.write(`${wish}\n${HINT}\n`)
    return 2
  }
  if (wish.helps) {
    process.stdout.write(USAGE)
    return 0
  }
  if (wish.only !== undefined && !hasFile(wish.only)) {
    process.stderr.write(`--file "${wish.only}" matches no file of ${FOLDERS.join(', ')}.\n${HINT}\n`)
    return 2
  }
  const stopped = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => stopped.abort(new Error(`stopped by ${signal}`)))
  }
  const startedAt = performance.now()
  let killed = 0
  let saidAt = 0
  const { only, sample, ...how } = wish
  const result = await runMutation({
    ...how,
    ...(only === undefined ? {} : { only }),
    ...(sample === undefined ? {} : { sample }),
    root: ROOT,
    config: 'tsconfig.build.json',
    folders: FOLDERS,
    tests: 'test/**/*.test.ts',
    restsOn: ['sql/**/*.sql', 'package-lock.json'],
    cache: join(REPORTS, 'mutation-dry-runs'),
    listed: await readListed(SURVIVORS),
    openStage: openDatabaseStage,
    signal: stopped.signal,
    onTrial: (trial, done, of) => {
      const isKilled = trial.outcome === 'killed' || trial.outcome === 'timeout'
      if (!isKilled) say(toLine(trial))
      killed += isKilled ? 1 : 0
      const minutes = Math.floor((performance.now() - startedAt) / 60_000)
      if (minutes === saidAt && done < of) return
      saidAt = minutes
      say(`${done} of ${of} mutants in ${minutes} minutes, ${killed} killed`)
    },
  })
  await mkdir(REPORTS, { recursive: true })
  const report = {
    folders: FOLDERS,
    wish: describe(wish),
    textOf: (file: string) => readFileSync(join(ROOT, file), 'utf8'),
  }
  await writeFile(join(REPORTS, 'mutation.md'), toMarkdown(result, report))
  await writeFile(join(REPORTS, 'mutation.json'), JSON.stringify({ wish, ...result }, undefined, 1))
  for (const test of result.redTests) say(`Red without a mutant: ${test}`)
  say(toSummary(result, FOLDERS))
  const problems = problemsOf(result)
  for (const problem of problems) say(`failed: ${problem}`)
  say(
    `Wrote reports/mutation.md and reports/mutation.json. Score: ${percentOf(scoreOf(result)).toFixed(1)} per cent.`,
  )
  return problems.length === 0 ? 0 : 1
}

function hasFile(pattern: string): boolean {
  const files = globSync(
    FOLDERS.map((folder) => `${folder}/**/*.ts`),
    { cwd: ROOT },
  )
  return files.some((file) => matchesGlob(file, pattern))
}

function describe({ sample, seed, only, budgetMs }: MutationWish): string {
  const count = sample === undefined ? 'All mutants' : `A sample of ${sample} mutants`
  const where = only === undefined ? '' : ` of ${only}`
  return `${count}${where} with seed ${seed}, and ${budgetMs / 1000} seconds of tests for each`
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
