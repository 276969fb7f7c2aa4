import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Load } from '../../stress/bench/figures.ts'
import { BEGIN, END, figuresOf, withFigures, writeDocs } from '../../stress/bench-placements/docs.ts'
import { perPlacement, rotated } from '../../stress/bench-placements/house.ts'
import { BenchUsageError, parsePlacementsArgs } from '../../stress/bench-placements/options.ts'
import { type Measured, placementsOutcome } from '../../stress/bench-placements/outcome.ts'
import { printedOutcome } from '../../stress/bench-placements/print.ts'
import { excludes, like, rejectsLike, throwsLike } from '../support/like.ts'

function load(requestsPerSecond: number, more: Partial<Load> = {}): Load {
  return { requestsPerSecond, p50: 10, p99: 20, max: 30, cpuMicros: 100, sessionCpuMicros: 50, ...more }
}

function measured(changes: Partial<Measured> = {}): Measured {
  const footprint = { connections: 20, serverBytes: 40_000_000, serviceBytes: 1_000_000 }
  return {
    tenants: 20,
    one: [
      { row: load(800), role: load(1000), schema: load(1100), database: load(900) },
      {
        row: load(450, { p99: 40, cpuMicros: 130 }),
        role: load(500),
        schema: load(400),
        database: load(500),
      },
      { row: load(700), role: load(1000), schema: load(1000), database: load(1000) },
    ],
    many: [perPlacement(() => load(600))],
    firstRequestMs: { row: 2, role: 10, schema: 11, database: 12 },
    onboardingMs: { row: 20, role: 40, schema: 80, database: 400 },
    batchMs: 0.1,
    footprints: {
      ...perPlacement(() => footprint),
      row: { connections: 4, serverBytes: 8_000_000, serviceBytes: 100_000 },
    },
    diskBytes: { row: 0, role: 0, schema: 24_000, database: 8_000_000 },
    fleetMs: { row: 100, role: 100, schema: 1_000, database: 1_500 },
    ...changes,
  }
}

t.test('without arguments a run is long enough to be quoted, and --quick is shorter in all', async (t) => {
  const all = parsePlacementsArgs([])
  const quick = parsePlacementsArgs(['--quick'])
  if (all === 'help' || quick === 'help') throw new Error('nobody asked for help')
  t.notOk(all.writesDocs)
  for (const name of ['rounds', 'seconds', 'tenants'] as const) t.ok(quick[name] < all[name], name)
})

t.test('arguments say how much is measured', async (t) => {
  const asked = ['--rounds', '3', '--seconds', '2', '--tenants', '20', '--write-docs']
  t.strictSame(parsePlacementsArgs(asked), { rounds: 3, seconds: 2, tenants: 20, writesDocs: true })
  like(t, parsePlacementsArgs(['--quick', '--rounds', '9']), { rounds: 9, seconds: 1 })
  t.equal(parsePlacementsArgs(['--quick', '--help']), 'help')
})

t.test('a wrong argument is refused with what would be right', async (t) => {
  for (const [args, message] of [
    [['--rounds', '0'], /--rounds must be a whole number, from 1 to 50/],
    [['--seconds', '1.5'], /--seconds must be a whole number, from 1 to 60/],
    [['--tenants', '15'], /--tenants must be a whole number, from 16 to 120/],
    [['--tenants', 'many'], /--tenants must be a whole number/],
    [['--round', '3'], /Unknown option '--round'/],
    [['fast'], /fast/],
  ] as const) {
    throwsLike(t, () => parsePlacementsArgs(args), { constructor: BenchUsageError, message }, args.join(' '))
  }
})

t.test('the command prints its usage when asked, and exits with 2 on a wrong argument', async (t) => {
  const bench = (...args: string[]) =>
    promisify(execFile)(process.execPath, ['stress/bench.ts', 'placements', ...args])
  like(t, await bench('--help'), { stdout: /^Usage: npm run bench -- placements/, stderr: '' })
  await rejectsLike(t, bench('--rounds', 'x'), {
    code: 2,
    stderr: /^--rounds must be .*\n\nUsage: /,
    stdout: '',
  })
})

t.test('each placement is first in its turn', async (t) => {
  const rounds = [0, 1, 2, 3].map(rotated)
  t.strictSame(
    rounds.map(([first]) => first),
    ['row', 'role', 'schema', 'database'],
  )
  for (const round of rounds) t.equal(new Set(round).size, 4)
  t.strictSame(rotated(4), rounds[0])
})

t.test('figures are medians, and ratios to role are taken within each round', async (t) => {
  const { figures } = placementsOutcome(measured())
  const { row, role, schema, database } = figures
  t.equal(row.one.requestsPerSecond, 700)
  t.equal(row.one.throughputRatio, 0.8)
  t.strictSame(row.one.throughputRatios, [0.7, 0.9])
  t.equal(row.one.p99Ratio, 1)
  t.equal(row.one.cpuRatio, 1)
  t.equal(role.one.throughputRatio, 1)
  t.strictSame(row.firstRequest, { ms: 2, ratio: 0.2 })
  t.equal(database.onboarding.ratio, 10)
  t.equal(schema.fleet.ratio, 10)
  t.strictSame(row.batch, { ms: 0.1, ratio: 0.0025 })
  t.equal(role.batch, undefined)
})

t.test('what grows with tenants is told for each of them, what does not grow is not', async (t) => {
  const { figures } = placementsOutcome(measured())
  t.equal(figures.role.serverBytesPerTenant, 2_000_000)
  t.equal(figures.role.sessionBytes, 2_000_000)
  t.equal(figures.row.serverBytesPerTenant, undefined)
  t.equal(figures.row.sessionBytes, 2_000_000)
  t.equal(figures.row.serviceBytesPerTenant, 5_000)
})

t.test('row has to have three quarters of the throughput of role', async (t) => {
  const met = (rate: number) =>
    placementsOutcome(measured({ one: [{ ...perPlacement(() => load(1000)), row: load(rate) }] })).targets
  like(t, met(750), [{ met: true }])
  like(t, met(749), [{ met: false }])
  const printed = printedOutcome(placementsOutcome(measured({ one: [perPlacement(() => load(100))] })))
  t.match(printed, /met +row, one tenant: 0\.75/)
})

t.test('the terminal gets what this machine did, with the ratios', async (t) => {
  const lines = printedOutcome(placementsOutcome(measured())).split('\n')
  const at = lines.findIndex((line) => line.startsWith('first request'))
  t.match(lines[at], /2\.0 ms +10\.0 ms +11\.0 ms +12\.0 ms/)
  t.match(lines[at + 1], /of role +0\.20 +1\.00 +1\.10 +1\.20/)
  const ranges = lines.filter((line) => line.startsWith('throughput of role by round'))
  t.match(ranges[0], /0\.70-0\.90 +1\.00-1\.00 +0\.80-1\.10 +0\.90-1\.00/)
})

t.test('the page gets ratios and sizes, and no time of this machine', async (t) => {
  const figures = figuresOf(placementsOutcome(measured()))
  t.match(figures, /\| throughput, one tenant[^|]*\(role = 1\) +\| +0\.80 \| +1\.00 \| +1\.00 \| +1\.00 \|/)
  t.match(figures, /\| connections of 20 active tenants +\| +4 \| +20 \| +20 \| +20 \|/)
  t.match(figures, /\| memory at the server, 1,000 active tenants +\| +– \| +2000 MB \|/)
  t.match(figures, /\| disk of 1,000 empty tenants +\| +0\.0 MB \| +0\.0 MB \| +24 MB \| +8000 MB \|/)
  excludes(t, figures, /\d (ms|µs)|\/s/)
  const rows = figures.split('\n').filter((line) => line.startsWith('|'))
  t.equal(new Set(rows.map((line) => line.length)).size, 1, 'the columns are aligned')
})

t.test('a plot is a bar chart of Mermaid with room above the highest bar', async (t) => {
  const plots = figuresOf(placementsOutcome(measured())).split('```mermaid\n').slice(1)
  t.equal(
    plots.find((plot) => plot.includes('"First request')),
    [
      'xychart-beta',
      '  title "First request after an eviction: time"',
      '  x-axis [row, role, schema, database]',
      '  y-axis "role = 1" 0 --> 1.32',
      '  bar [0.2, 1, 1.1, 1.2]',
      '```\n\n',
    ].join('\n'),
  )
  for (const plot of plots) excludes(t, plot, /NaN|undefined|Infinity|e-/)
})

t.test('what the system does not tell is left open, not made up', async (t) => {
  const unknown = { cpuMicros: undefined, sessionCpuMicros: undefined }
  const footprint = { connections: 20, serverBytes: undefined, serviceBytes: 1_000_000 }
  const outcome = placementsOutcome(
    measured({
      one: [perPlacement(() => load(100, unknown))],
      footprints: perPlacement(() => footprint),
    }),
  )
  t.match(figuresOf(outcome), /\| memory of one connection at the server +\| +– \| +– \| +– \| +– \|/)
  t.match(figuresOf(outcome), /\| CPU of the service for a request, one tenant[^|]*\| +– \|/)
  excludes(t, printedOutcome(outcome), /NaN|undefined/)
})

t.test('figures stand between their markers, and nothing else of the page changes', async (t) => {
  const page = `before\n\n${BEGIN}\n\nold\n\n${END}\n\nafter\n`
  const changed = withFigures(page, 'new')
  t.equal(changed, `before\n\n${BEGIN}\n\nnew\n\n${END}\n\nafter\n`)
  t.equal(withFigures(changed, 'new'), changed)
})

t.test('a page without its markers is refused', async (t) => {
  throwsLike(t, () => withFigures(`${END}`, ''), {
    message: /^The page has no line "<!-- Figures: .*", so there is no place for the figures\.$/,
  })
  throwsLike(t, () => withFigures(`${BEGIN}`, ''), {
    message: /^The page has no line "<!-- End of figures -->", so there is no place for the figures\.$/,
  })
  throwsLike(t, () => withFigures(`${END}\n${BEGIN}`, ''), { message: /must stand below/ })
  throwsLike(t, () => withFigures(`${BEGIN}\n${BEGIN}\n${END}`, ''), { message: /more than once/ })
})

t.test('the page in docs has its markers', async (t) => {
  const page = await readFile('docs/placements.md', 'utf8')
  t.match(withFigures(page, 'new figures'), /new figures/)
})

t.test('writing the page leaves a page without markers as it is', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'lessor-docs-'))
  t.teardown(() => rm(folder, { recursive: true }))
  const file = join(folder, 'page.md')
  const outcome = placementsOutcome(measured())
  await writeFile(file, 'prose')
  await rejectsLike(t, writeDocs(file, outcome), { message: /no line/ })
  t.equal(await readFile(file, 'utf8'), 'prose')
  await writeFile(file, `${BEGIN}\n${END}\n`)
  await writeDocs(file, outcome)
  t.equal(await readFile(file, 'utf8'), `${BEGIN}\n\n${figuresOf(outcome)}\n\n${END}\n`)
})
