import { parseArgs } from 'node:util'
import type { FleetOptions } from '../fleet/fleet.ts'
import { parseFailureLimit } from '../fleet/waves.ts'
import { PLACEMENTS, type PlacementName } from '../tenants/tenant.ts'
import { UsageError } from './command.ts'

/** MigrateOptions is what the arguments of `lessor migrate` say; tenants are still names or ids. */
export interface MigrateOptions {
  readonly servers: readonly string[]
  readonly placements: readonly PlacementName[]
  readonly tenants: readonly string[]
  readonly canaries: readonly string[]
  readonly fleet: Omit<FleetOptions, 'canaries'>
  readonly isDryRun: boolean
  readonly isJson: boolean
}

/** MIGRATE_USAGE is what `lessor help migrate` prints. */
export const MIGRATE_USAGE = `Usage: lessor migrate [options]

Brings the tables of all tenants to the newest migration of sql/app: first the tables that tenants share,
on each data server, then each tenant's own (placements schema and database): canaries, then waves. Tenants
are served meanwhile. The same command goes on where it stopped.

Who:
  --server <name>          only on this data server; may be repeated
  --placement <name>       only tenants of this placement: ${PLACEMENTS.join(', ')}; may be repeated
  --tenant <id or name>    only this tenant; may be repeated
  --canary <id or name>    goes first; may be repeated
  --canaries <n>           without --canary, so many of the newest tenants go first (1)

How:
  --wave-size <n>          tenants of the first wave, doubled with each wave up to 500 (10)
  --pause-seconds <n>      pause after the canaries and after each wave (0)
  --concurrency <n>        tenants at once (4)
  --server-concurrency <n> of them on one data server (2)
  --lock-timeout-ms <n>    longest wait for a lock, and of a tenant's requests behind it (2000)
  --attempts <n>           tries for each tenant when a lock or a connection was not to be had (5)
  --max-failures <n or %>  how many tenants may fail; one more stops the run (5%)

Output:
  --dry-run                list what would run, change nothing
  --json                   JSON lines on standard output, for programs

SIGINT and SIGTERM let what is under way end; the second one does not.
Exit status: 0 all are at the newest version, 1 not all are, 2 wrong arguments, 128 and the number of a signal.
`

const NUMBERS = {
  canaries: [0, 1000],
  'wave-size': [1, 500],
  'pause-seconds': [0, 86_400],
  concurrency: [1, 64],
  'server-concurrency': [1, 64],
  'lock-timeout-ms': [1, 600_000],
  attempts: [1, 100],
} as const

/** parseMigrateArgs reads the arguments. @throws UsageError, and what util.parseArgs throws */
export function parseMigrateArgs(args: readonly string[]): MigrateOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      server: { type: 'string', multiple: true, default: [] },
      placement: { type: 'string', multiple: true, default: [] },
      tenant: { type: 'string', multiple: true, default: [] },
      canary: { type: 'string', multiple: true, default: [] },
      canaries: { type: 'string', default: '1' },
      'wave-size': { type: 'string', default: '10' },
      'pause-seconds': { type: 'string', default: '0' },
      concurrency: { type: 'string', default: '4' },
      'server-concurrency': { type: 'string', default: '2' },
      'lock-timeout-ms': { type: 'string', default: '2000' },
      attempts: { type: 'string', default: '5' },
      'max-failures': { type: 'string', default: '5%' },
      'dry-run': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  })
  const number = (name: keyof typeof NUMBERS) => parseNumber(name, values[name])
  const maxFailures = parseFailureLimit(values['max-failures'])
  if (maxFailures === undefined) {
    throw new UsageError(`--max-failures must be a number, or a percentage from 0% to 100%.`)
  }
  return {
    servers: unique(values.server),
    placements: unique(values.placement).map(parsePlacement),
    tenants: unique(values.tenant),
    canaries: unique(values.canary),
    fleet: {
      canaryCount: number('canaries'),
      waveSize: number('wave-size'),
      pauseMs: 1000 * number('pause-seconds'),
      concurrency: number('concurrency'),
      serverConcurrency: number('server-concurrency'),
      lockTimeoutMs: number('lock-timeout-ms'),
      attempts: number('attempts'),
      maxFailures,
    },
    isDryRun: values['dry-run'],
    isJson: values.json,
  }
}

/** Sorted, so that the same filter in another order is the same run. */
function unique(values: readonly string[]): readonly string[] {
  return [...new Set(values)].sort()
}

function parseNumber(name: keyof typeof NUMBERS, text: string): number {
  const [least, most] = NUMBERS[name]
  const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (number >= least && number <= most) return number
  throw new UsageError(`--${name} must be a whole number from ${least} to ${most}.`)
}

function parsePlacement(name: string): PlacementName {
  const placement = PLACEMENTS.find((each) => each === name)
  if (placement !== undefined) return placement
  throw new UsageError(`--placement must be one of ${PLACEMENTS.join(', ')}.`)
}
