import type { MutationResult } from './run-mutation.ts'

/** ENOUGH is the score in per cent below which the run fails. */
export const ENOUGH = 85

export interface Score {
  readonly folder: string
  readonly killed: number
  /** Of the killed, those whose test did not end. */
  readonly timeouts: number
  readonly survived: number
  /** Of the survived, those that no test runs. */
  readonly uncovered: number
  /** Of the survived, those that are listed as accepted. */
  readonly accepted: number
  /** Listed, and no part of the score. */
  readonly equivalent: number
}

/** scoreOf counts the mutants of one folder, or of all when it is empty. */
export function scoreOf({ trials, listed }: MutationResult, folder = ''): Score {
  const isIn = ({ mutant }: { readonly mutant: { readonly file: string } }): boolean =>
    folder === '' || mutant.file.startsWith(`${folder}/`)
  const count = (...outcomes: readonly string[]): number =>
    trials.filter((trial) => isIn(trial) && outcomes.includes(trial.outcome)).length
  const judged = (verdict: string): number =>
    listed.filter((each) => isIn(each) && each.entry.verdict === verdict).length
  const accepted = judged('accepted')
  return {
    folder: folder === '' ? 'all' : folder,
    killed: count('killed', 'timeout'),
    timeouts: count('timeout'),
    survived: count('survived', 'uncovered') + accepted,
    uncovered: count('uncovered'),
    accepted,
    equivalent: judged('equivalent'),
  }
}

/** percentOf is the share of the mutants that were killed, in per cent; without any it is 0. */
export function percentOf({ killed, survived }: Score): number {
  return killed + survived === 0 ? 0 : (100 * killed) / (killed + survived)
}

/** problemsOf is what makes a run fail; empty when it is good. */
export function problemsOf(result: MutationResult): readonly string[] {
  const score = scoreOf(result)
  const percent = percentOf(score)
  return [
    ...(score.killed + score.survived === 0 ? ['no mutant was tried'] : []),
    ...(percent < ENOUGH ? [`the score is ${percent.toFixed(1)} per cent, below ${ENOUGH}`] : []),
    ...result.stale.map(
      ({ file, code, from, to }) =>
        `survivors.json lists a mutant of ${file} that is no longer there: "${from}" -> "${to}" in "${code}"`,
    ),
  ]
}
