import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { type FigureRow, figureRows, ONE, SEVERAL } from './figure-rows.ts'
import type { LoadFigures, PlacementsOutcome } from './outcome.ts'

const TITLE_WIDTH = 76
const CELL_WIDTH = 12

/** printedOutcome is an outcome for the terminal: what this machine did, ratios to role below each. */
export function printedOutcome(outcome: PlacementsOutcome): string {
  const { figures, targets } = outcome
  const range = (who: string, of: (each: (typeof figures)['row']) => LoadFigures) =>
    line(
      `throughput of role by round, ${who}`,
      PLACEMENTS.map((placement) => between(of(figures[placement]))),
    )
  return [
    line('', PLACEMENTS),
    ...figureRows(outcome).flatMap(rowLines),
    range(ONE, (each) => each.one),
    range(SEVERAL, (each) => each.many),
    '',
    ...targets.map(({ target, met }) => `  ${met ? 'met    ' : 'NOT MET'}  ${target}`),
  ].join('\n')
}

function rowLines({ title, ratios, absolute }: FigureRow): readonly string[] {
  if (absolute === undefined) return [line(title, ratios)]
  return [line(title, absolute), line('  of role', ratios)]
}

function between({ throughputRatios: [low, high] }: LoadFigures): string {
  return `${low.toFixed(2)}-${high.toFixed(2)}`
}

function line(title: string, cells: readonly string[]): string {
  return title.padEnd(TITLE_WIDTH) + cells.map((cell) => cell.padStart(CELL_WIDTH)).join('')
}
