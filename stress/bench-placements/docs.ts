import { readFile, writeFile } from 'node:fs/promises'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { figureRows, ONE, SEVERAL } from './figure-rows.ts'
import type { PlacementFigures, PlacementsOutcome } from './outcome.ts'

/** BEGIN and END stand around the part of docs/placements.md that is written by the benchmark. */
export const BEGIN = '<!-- Figures: npm run bench -- placements --write-docs -->'
export const END = '<!-- End of figures -->'

/**
 * writeDocs replaces what stands between the markers of a page.
 * @throws Error when the page is not there, or a marker is missing, there twice, or in the wrong order
 */
export async function writeDocs(file: string, outcome: PlacementsOutcome): Promise<void> {
  await writeFile(file, withFigures(await readFile(file, 'utf8'), figuresOf(outcome)))
}

/** checkPage says early what writeDocs would say. @throws what it throws */
export async function checkPage(file: string): Promise<void> {
  withFigures(await readFile(file, 'utf8'), '')
}

/** withFigures is a page with other figures. @throws Error when a marker is missing, there twice, or in the wrong order */
export function withFigures(page: string, figures: string): string {
  const begin = onlyAt(page, BEGIN) + BEGIN.length
  const end = onlyAt(page, END)
  if (end < begin) throw new Error(`The line "${END}" must stand below "${BEGIN}".`)
  return `${page.slice(0, begin)}\n\n${figures}\n\n${page.slice(end)}`
}

/** figuresOf is tables and plots in Markdown: ratios to role for what depends on the machine, sizes as they are. */
export function figuresOf(outcome: PlacementsOutcome): string {
  return [tableOf(outcome), ...PLOTS.map((plot) => plotOf(plot, outcome))].join('\n\n')
}

interface Plot {
  readonly title: (outcome: PlacementsOutcome) => string
  readonly axis: string
  readonly value: (figures: PlacementFigures) => number | undefined
}

const MEGABYTE = 1_000_000

const PLOTS: readonly Plot[] = [
  {
    title: () => `Throughput: ${ONE}`,
    axis: 'role = 1',
    value: ({ one }) => one.throughputRatio,
  },
  {
    title: () => `Throughput: ${SEVERAL}`,
    axis: 'role = 1',
    value: ({ many }) => many.throughputRatio,
  },
  {
    title: () => 'First request after an eviction: time',
    axis: 'role = 1',
    value: ({ firstRequest }) => firstRequest.ratio,
  },
  { title: () => 'Onboarding: time', axis: 'role = 1', value: ({ onboarding }) => onboarding.ratio },
  {
    title: ({ tenants }) => `Migrating ${tenants} tenants: time`,
    axis: 'role = 1',
    value: ({ fleet }) => fleet.ratio,
  },
  {
    title: ({ tenants }) => `Connections of ${tenants} active tenants`,
    axis: 'connections',
    value: ({ connections }) => connections,
  },
  {
    title: () => 'Memory in the service, 1,000 active tenants',
    axis: 'MB',
    value: ({ serviceBytesPerTenant }) => (1000 * serviceBytesPerTenant) / MEGABYTE,
  },
]

/** A bar chart of Mermaid (https://mermaid.js.org/syntax/xyChart.html), which GitHub draws. */
function plotOf({ title, axis, value }: Plot, outcome: PlacementsOutcome): string {
  const values = PLACEMENTS.map((placement) => value(outcome.figures[placement]) ?? 0)
  return [
    '```mermaid',
    'xychart-beta',
    `  title "${title(outcome)}"`,
    `  x-axis [${PLACEMENTS.join(', ')}]`,
    `  y-axis "${axis}" 0 --> ${digits(1.1 * Math.max(...values))}`,
    `  bar [${values.map(digits).join(', ')}]`,
    '```',
  ].join('\n')
}

function tableOf(outcome: PlacementsOutcome): string {
  const rows = figureRows(outcome).map(({ title, ratios, absolute }) => [
    absolute === undefined ? title : `${title} (role = 1)`,
    ...ratios,
  ])
  const table = [['', ...PLACEMENTS.map((placement) => `\`${placement}\``)], ...rows]
  const widths = table[0]?.map((_, column) => Math.max(...table.map((cells) => cells[column]?.length ?? 0)))
  const [head = '', ...lines] = table.map((cells) => line(cells, widths ?? []))
  const rule = `| ${(widths ?? []).map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  return [head, rule, ...lines].join('\n')
}

function line(cells: readonly string[], widths: readonly number[]): string {
  const padded = cells.map((cell, i) =>
    i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0),
  )
  return `| ${padded.join(' | ')} |`
}

/** Three digits that count, without an exponent. */
function digits(value: number): string {
  return String(Number(value.toPrecision(3)))
}

function onlyAt(page: string, marker: string): number {
  const at = page.indexOf(marker)
  if (at === -1) throw new Error(`The page has no line "${marker}", so there is no place for the figures.`)
  if (page.includes(marker, at + 1)) throw new Error(`The page has the line "${marker}" more than once.`)
  return at
}
