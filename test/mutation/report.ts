import type { Listed } from './listed.ts'
import { diffOf, MUTANT_KINDS, type Mutant } from './mutant.ts'
import type { MutationResult } from './run-mutation.ts'
import { percentOf, type Score, scoreOf } from './score.ts'
import type { Trial } from './try-mutant.ts'

export interface ReportOptions {
  readonly folders: readonly string[]
  /** What was asked for, in words. */
  readonly wish: string
  /** The text of a file. */
  readonly textOf: (file: string) => string
}

/** toMarkdown is the report for people: the score of each folder, and each survivor with what was changed. */
export function toMarkdown(result: MutationResult, { folders, wish, textOf }: ReportOptions): string {
  const survivors = result.trials
    .filter(({ outcome }) => outcome === 'survived' || outcome === 'uncovered')
    .toSorted((a, b) => byPlace(a.mutant, b.mutant))
  const scores = [...folders.map((folder) => scoreOf(result, folder)), scoreOf(result)]
  return [
    '# Mutation',
    '',
    `${wish}. ${result.mutants} mutants in all; ${result.uncompiled} of those drawn do not compile.`,
    ...(result.isCut ? ['', 'Not all that was asked for was tried.'] : []),
    '',
    '| folder | killed | of them by time | survived | of them without a test | accepted | equivalent | score |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...scores.map(toRow),
    '',
    '## Survivors',
    '',
    ...(survivors.length === 0 ? ['None.', ''] : survivors.flatMap((trial) => toSurvivor(trial, textOf))),
    '## Listed',
    '',
    ...(result.listed.length === 0 ? ['None was drawn.', ''] : result.listed.map(toListed)),
    ...(result.redTests.length === 0
      ? []
      : ['', '## Tests that failed without a mutant', '', ...result.redTests.map((each) => `- ${each}`)]),
    '',
  ].join('\n')
}

/** toLine is one survivor for a terminal. */
export function toLine({ mutant, outcome }: Trial): string {
  const { file, line, kind, from, to } = mutant
  return `${file}:${line} ${kind}, ${outcome}: ${from} -> ${to}`
}

/** toSummary is the score of each folder and of all, a line each. */
export function toSummary(result: MutationResult, folders: readonly string[]): string {
  return [...folders.map((folder) => scoreOf(result, folder)), scoreOf(result)]
    .filter(({ killed, survived }) => killed + survived > 0)
    .map(
      (score) =>
        `${score.folder}: ${score.killed} of ${score.killed + score.survived} killed, ${percentOf(score).toFixed(1)} per cent`,
    )
    .join('\n')
}

function toRow(score: Score): string {
  const { folder, killed, timeouts, survived, uncovered, accepted, equivalent } = score
  const percent = killed + survived === 0 ? '-' : `${percentOf(score).toFixed(1)} %`
  return `| ${[folder, killed, timeouts, survived, uncovered, accepted, equivalent, percent].join(' | ')} |`
}

function toSurvivor({ mutant, outcome, green }: Trial, textOf: (file: string) => string): readonly string[] {
  const tests = outcome === 'uncovered' ? 'No test runs it.' : `Green with it: ${green.join(', ')}.`
  return [
    `### ${mutant.file}:${mutant.line}`,
    '',
    `${MUTANT_KINDS[mutant.kind]}. ${tests}`,
    '',
    '```diff',
    diffOf(textOf(mutant.file), mutant),
    '```',
    '',
  ]
}

function toListed({
  mutant,
  entry,
}: {
  readonly mutant: Mutant
  readonly entry: Pick<Listed, 'verdict' | 'why'>
}): string {
  return `- ${mutant.file}:${mutant.line}, ${entry.verdict}: \`${mutant.from}\` -> \`${mutant.to}\`. ${entry.why}`
}

function byPlace(a: Mutant, b: Mutant): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1
  return a.start - b.start
}
