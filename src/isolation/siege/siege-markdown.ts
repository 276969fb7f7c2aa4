import { markdownTable } from '../markdown.ts'
import type { Action } from './operator.ts'
import {
  type Battle,
  counts,
  hindrances,
  isHeld,
  isLate,
  OPERATOR_BOUND_MS,
  type SiegeReport,
} from './siege-report.ts'

/** siegeMarkdown writes a report for people: the outcome, the table, what does not hold, and each battle in full. */
export function siegeMarkdown(report: SiegeReport): string {
  const { battles } = report
  const broken = battles.filter((battle) => !isHeld(battle))
  const open = battles.filter((battle) => battle.broken.length > 0 && isHeld(battle))
  return [
    '# Siege',
    '',
    `${siegeSummary(report)} Lessor ${report.version}, PostgreSQL ${report.server}, ${report.startedAt}, ${(report.durationMs / 1000).toFixed(0)} s.`,
    '',
    ...siegeTable(report),
    ...(broken.length === 0 ? [] : ['', '## Bounds that do not hold', '']),
    ...broken.flatMap(({ attack, placement, broken }) =>
      broken.map((each) => `- ${attack}, ${placement}: ${each}`),
    ),
    ...(open.length === 0 ? [] : ['', '## Attacks without a bound', '']),
    ...open.flatMap(({ attack, placement, broken, unbounded }) =>
      broken.map((each) => `- ${attack}, ${placement}: ${each}. ${unbounded}`),
    ),
    ...(report.left.length === 0 ? [] : ['', '## Left behind', '']),
    ...report.left.map((each) => `- ${each}`),
    '',
    '## Each attack',
    '',
    ...battles.flatMap(battleLines),
  ].join('\n')
}

/** siegeSummary says in a sentence or two what came out; its totals are without the attacks that have no bound. */
export function siegeSummary({ held, battles }: SiegeReport): string {
  const bounded = battles.filter(({ unbounded }) => unbounded === undefined)
  const neighbours = bounded.flatMap((battle) => battle.neighbours)
  const lost = neighbours.reduce((sum, each) => sum + each.lost, 0)
  const requests = neighbours.reduce((sum, each) => sum + each.requests, 0)
  const actions = bounded.flatMap((battle) =>
    battle.actions.map((action) => isLate(action, battle.operatorBoundMs)),
  )
  const late = actions.filter(Boolean).length
  const open =
    bounded.length < battles.length ? ` ${battles.length - bounded.length} more have no bound.` : ''
  return `${held ? 'All bounds hold' : 'NOT all bounds hold'}: ${bounded.length} battles, ${lost} of ${requests} requests of neighbours lost, ${late} of ${actions.length} actions of the operator's not done in time, which is ${times(bounded)}.${open}`
}

/**
 * siegeTable has a line for each attack and placement, as docs/isolation.md shows it: requests and how many were lost, times of
 * the neighbours in milliseconds, the operator's longest action and the slowest of the three ways to shut an attacker out
 * in seconds, and what the watchdog has ended, by its reason, and blocked.
 */
export function siegeTable({ battles }: Pick<SiegeReport, 'battles'>): readonly string[] {
  return markdownTable(
    [
      'attack',
      'placement',
      'requests',
      'lost',
      'p50',
      'p99',
      'longest',
      'operator',
      'shut out',
      'watchdog',
      'found',
      'holds',
    ],
    battles.map((battle) => {
      const { neighbours, actions, finding } = battle
      const most = (read: (each: (typeof neighbours)[number]) => number) =>
        `${Math.round(Math.max(0, ...neighbours.map(read)))}`
      const sum = (read: (each: (typeof neighbours)[number]) => number) =>
        `${neighbours.reduce((total, each) => total + read(each), 0)}`
      return [
        battle.attack,
        battle.placement,
        sum(({ requests }) => requests),
        sum(({ lost }) => lost),
        most(({ p50Ms }) => p50Ms),
        most(({ p99Ms }) => p99Ms),
        most(({ longestMs }) => longestMs),
        longest(actions.filter(({ name }) => !isShutOut(name))),
        longest(actions.filter(({ name }) => isShutOut(name))),
        Object.entries(battle.watchdog)
          .map(([name, count]) => `${count} ${name}`)
          .join(', '),
        finding?.text ?? '',
        outcome(battle),
      ]
    }),
  )
}

function outcome(battle: Battle): string {
  if (battle.broken.length === 0) return 'yes'
  return isHeld(battle) ? 'no bound' : '**no**'
}

/** SHUT_OUT begins the names of the actions that end an attacker's logins. */
export const SHUT_OUT = 'shut out'

function isShutOut(name: string): boolean {
  return name.startsWith(SHUT_OUT)
}

/** times writes how long the operator's actions may take, and which attacks give them more. */
function times(battles: readonly Battle[]): string {
  const longer = battles.filter(({ operatorBoundMs }) => operatorBoundMs > OPERATOR_BOUND_MS)
  const more = [...new Set(longer.map((battle) => `${seconds(battle.operatorBoundMs)} in ${battle.attack}`))]
  return [seconds(OPERATOR_BOUND_MS), ...more].join(', ')
}

function seconds(ms: number): string {
  return `${ms / 1000} s`
}

function longest(actions: readonly Action[]): string {
  const failed = actions.filter(({ isDone }) => !isDone)
  if (failed.length > 0) return `**never: ${failed.map(({ name }) => name).join(', ')}**`
  return (Math.max(0, ...actions.map(({ ms }) => ms)) / 1000).toFixed(1)
}

function battleLines(battle: Battle): readonly string[] {
  const { raid } = battle
  return [
    `### ${battle.attack}, ${battle.placement}`,
    '',
    `${battle.about}. ${(battle.durationMs / 1000).toFixed(1)} s.`,
    '',
    ...battle.neighbours.map(
      ({ placement, requests, lost, reasons, p50Ms, p99Ms, longestMs }) =>
        `- Neighbour of ${placement}: ${requests} requests, ${lost} lost${lost > 0 ? ` (${counts(reasons)})` : ''}; p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms, longest ${longestMs.toFixed(1)} ms`,
    ),
    ...battle.actions.map(
      (action) =>
        `- Operator: ${action.name} ${action.isDone ? 'in' : 'not done in'} ${(action.ms / 1000).toFixed(2)} s${hindrances(action)}`,
    ),
    `- Attackers: ${raid.opened} sessions; logins refused: ${counts(raid.refused) || 'none'}; statements failed: ${counts(raid.failed) || 'none'}; sessions ended: ${counts(raid.ended) || 'none'}`,
    `- Watchdog: ${counts(battle.watchdog) || 'nothing'}`,
    ...(battle.finding === undefined ? [] : [`- Found: ${battle.finding.text}`]),
    ...battle.left.map((each) => `- Left behind: ${each}`),
    '',
  ]
}
