import type { IsolationReport, StageReport, Trial } from './report.ts'

/** Most lines of trials that hold; those that do not are all shown. */
const MOST_LINES = 20_000

/** toMarkdown writes a report for people: the outcome, counts, what does not hold, and every trial. */
export function toMarkdown(report: IsolationReport): string {
  const { trials, catalogs, stages } = report
  const failed = trials.filter(({ holds }) => !holds)
  const broken = catalogs.flatMap((catalog) => catalog.broken)
  const notices = [...new Set(catalogs.flatMap((catalog) => catalog.notices))]
  const gaps = stages.flatMap((stage) => stage.gaps.map((gap) => `${stage.placement}: ${gap}`))
  return [
    '# Proof of isolation',
    '',
    `${summary(report)} Lessor ${report.version}, ${report.startedAt}, ${(report.durationMs / 1000).toFixed(1)} s.`,
    '',
    ...markdownTable(
      ['placement', 'server', 'database', 'objects', 'trials', 'failed'],
      stages.map((stage) => stageLine(stage)),
    ),
    ...section(
      'Rules that do not hold',
      broken.map(({ rule, object, problem, database }) => `- ${rule}: ${object} in ${database}, ${problem}`),
    ),
    ...section('Trials that do not hold', markdownTable(TRIAL_HEAD, failed.map(trialLine))),
    ...section(
      'What could not be tried',
      gaps.map((gap) => `- ${gap}`),
    ),
    ...section(
      'What remains open',
      notices.map((notice) => `- ${notice}`),
    ),
    ...section('Attacks by outcome', markdownTable(['attack', 'outcome', 'trials'], byOutcome(trials))),
    ...section('Every trial', markdownTable(TRIAL_HEAD, trials.slice(0, MOST_LINES).map(trialLine))),
  ].join('\n')
}

/** summary says in a sentence or two what came out. */
export function summary({ held, trials, catalogs }: IsolationReport): string {
  const failed = trials.filter(({ holds }) => !holds).length
  const broken = catalogs.reduce((sum, catalog) => sum + catalog.broken.length, 0)
  const rules = catalogs.reduce((sum, catalog) => sum + catalog.rules, 0)
  return `${held ? 'All walls hold' : 'NOT all walls hold'}: ${trials.length} attacks, ${failed} got through; ${rules} rules over catalogs, broken in ${broken} places.`
}

const TRIAL_HEAD = ['placement', 'role', 'rls.tenant_id', 'object', 'attack', 'expected', 'outcome', 'holds']

function trialLine(trial: Trial): readonly string[] {
  const { placement, role, identity, object, attack, expected, outcome, holds } = trial
  return [placement, role, identity, object, attack, expected, outcome, holds ? 'yes' : '**no**']
}

function stageLine({ placement, server, database, objects, trials, failed }: StageReport): readonly string[] {
  return [placement, server, database, `${objects}`, `${trials}`, `${failed}`]
}

function byOutcome(trials: readonly Trial[]): readonly (readonly string[])[] {
  const counts = new Map<string, number>()
  for (const { attack, outcome } of trials) {
    // How many rows there are differs from table to table.
    const key = `${attack}\n${outcome.replaceAll(/\b\d+ (?=own|rows)/g, '')}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return [...counts].sort().map(([key, count]) => [...key.split('\n'), `${count}`])
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ['', `## ${title}`, '', ...lines]
}

/** markdownTable writes a table; none when it would have no lines. */
export function markdownTable(
  head: readonly string[],
  lines: readonly (readonly string[])[],
): readonly string[] {
  if (lines.length === 0) return []
  const row = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [row(head), row(head.map(() => '---')), ...lines.map(row)]
}
