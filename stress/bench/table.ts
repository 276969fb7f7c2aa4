import { type Load, median, medians } from './figures.ts'
import type { Pair, Round } from './rounds.ts'

/** Verdict compares the two servers in one situation: Lessor's figure over the bare app's. */
export interface Verdict {
  readonly lessor: Load
  readonly bare: Load
  readonly throughputRatio: number
  readonly p99Ratio: number
  /** Lowest and highest of the rounds. */
  readonly throughputRatios: readonly [number, number]
}

export interface Outcome {
  readonly alone: Verdict
  readonly besideSlow: Verdict
  readonly pgbenchPerSecond: number | undefined
  readonly targets: readonly { readonly target: string; readonly met: boolean }[]
}

/** outcomeOf takes the medians of all rounds, and looks whether the targets are met. */
export function outcomeOf(rounds: readonly Round[]): Outcome {
  const alone = verdictOf(rounds.map((round) => round.alone))
  const besideSlow = verdictOf(rounds.map((round) => round.besideSlow))
  const pgbench = rounds.flatMap((round) => round.pgbench ?? [])
  return {
    alone,
    besideSlow,
    pgbenchPerSecond: pgbench.length === 0 ? undefined : median(pgbench),
    targets: [
      { target: 'alone, 0.95 or more of the bare throughput', met: alone.throughputRatio >= 0.95 },
      {
        target: 'beside slow ones, 2.0 or more of the bare throughput',
        met: besideSlow.throughputRatio >= 2,
      },
      { target: 'beside slow ones, p99 under a third of the bare p99', met: besideSlow.p99Ratio < 1 / 3 },
    ],
  }
}

/** tableOf is an outcome for people. */
export function tableOf({ alone, besideSlow, pgbenchPerSecond, targets }: Outcome): string {
  return [
    row('', 'requests/s', 'p50 ms', 'p99 ms', 'CPU µs'),
    'alone',
    ...linesOf(alone),
    'beside two callers of a one-second statement',
    ...linesOf(besideSlow),
    ...(pgbenchPerSecond === undefined
      ? ['pgbench is not installed']
      : [row('pgbench', fixed(pgbenchPerSecond, 0), '', '', '')]),
    '',
    ...targets.map(({ target, met }) => `  ${met ? 'met    ' : 'NOT MET'}  ${target}`),
  ].join('\n')
}

function verdictOf(pairs: readonly Pair[]): Verdict {
  const lessor = medians(pairs.map((pair) => pair.lessor))
  const bare = medians(pairs.map((pair) => pair.bare))
  const ratios = pairs.map((pair) => pair.lessor.requestsPerSecond / pair.bare.requestsPerSecond)
  return {
    lessor,
    bare,
    throughputRatio: lessor.requestsPerSecond / bare.requestsPerSecond,
    p99Ratio: lessor.p99 / bare.p99,
    throughputRatios: [Math.min(...ratios), Math.max(...ratios)],
  }
}

function linesOf({ lessor, bare, throughputRatio, p99Ratio, throughputRatios }: Verdict): readonly string[] {
  const range = throughputRatios.map((ratio) => fixed(ratio, 2)).join(' to ')
  return [
    loadRow('  Lessor', lessor),
    loadRow('  bare Fastify', bare),
    `${row('  ratio', fixed(throughputRatio, 2), fixed(lessor.p50 / bare.p50, 2), fixed(p99Ratio, 2), '')}  throughput in rounds: ${range}`,
  ]
}

function loadRow(name: string, { requestsPerSecond, p50, p99, cpuMicros }: Load): string {
  return row(
    name,
    fixed(requestsPerSecond, 0),
    fixed(p50, 1),
    fixed(p99, 1),
    cpuMicros === undefined ? '' : fixed(cpuMicros, 0),
  )
}

function row(name: string, ...cells: readonly string[]): string {
  return name.padEnd(20) + cells.map((cell) => cell.padStart(12)).join('')
}

function fixed(value: number, digits: number): string {
  return value.toFixed(digits)
}
