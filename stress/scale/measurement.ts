/** Unit is what a figure counts. */
export type Unit = 'bytes' | 'ms' | 'us' | 'times'

/** Measurement is one figure and what it has to be. */
export interface Measurement {
  readonly what: string
  readonly value: number
  readonly unit: Unit
  /** The figure must be below it; undefined when it is only told. */
  readonly below?: number
  /** What else was seen. */
  readonly note?: string
}

/** isMet says whether the figure is as it has to be. */
export function isMet({ value, below }: Measurement): boolean {
  return below === undefined || value < below
}

/** tableOf shows measurements to people. */
export function tableOf(measurements: readonly Measurement[]): string {
  const rows = measurements.map((each) => [
    each.what,
    show(each.value, each.unit),
    each.below === undefined ? '' : `< ${show(each.below, each.unit)}`,
    each.below === undefined ? '' : isMet(each) ? 'met' : 'MISSED',
    each.note ?? '',
  ])
  const table = [['', 'measured', 'target', '', ''], ...rows]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
  return table
    .map((row) =>
      row
        .map((cell, column) =>
          column === 1 || column === 2
            ? cell.padStart(widths[column] ?? 0)
            : cell.padEnd(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function show(value: number, unit: Unit): string {
  switch (unit) {
    case 'bytes':
      return Math.abs(value) < 10_240 ? `${Math.round(value)} B` : `${(value / 1024).toFixed(1)} KiB`
    case 'ms':
      return `${value.toFixed(value < 10 ? 3 : 1)} ms`
    case 'us':
      return `${value.toFixed(2)} µs`
    case 'times':
      return `${value.toFixed(2)} x`
  }
}

/** quantile of a sample, by nearest rank. @throws Error when there is nothing */
export function quantile(sample: readonly number[], part: number): number {
  const sorted = sample.toSorted((a, b) => a - b)
  const value = sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)]
  if (value === undefined) throw new Error('there is no quantile of nothing')
  return value
}
