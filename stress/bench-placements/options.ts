import { parseArgs } from 'node:util'

/** PlacementsOptions is how much is measured. */
export interface PlacementsOptions {
  /** Rounds in which every placement is put under load once. */
  readonly rounds: number
  /** Of one load. */
  readonly seconds: number
  /** Tenants of each placement. */
  readonly tenants: number
  /** Whether docs/placements.md gets the figures. */
  readonly writesDocs: boolean
}

/** MANY is how many tenants of a placement are called at once in the second series. */
export const MANY = 16

const DEFAULTS = { rounds: 8, seconds: 2, tenants: 50 }
const QUICK = { rounds: 2, seconds: 1, tenants: MANY }
const BOUNDS = { rounds: [1, 50], seconds: [1, 60], tenants: [MANY, 120] } as const

/** PLACEMENTS_USAGE is what --help prints. */
export const PLACEMENTS_USAGE = `Usage: npm run bench -- placements [options]

Measures the placements row, role, schema and database side by side: one service, one embedded PostgreSQL
with tenants of all four, in turns.

  --rounds <n>     rounds of load, ${range('rounds')} (${DEFAULTS.rounds})
  --seconds <n>    of each load, ${range('seconds')} (${DEFAULTS.seconds})
  --tenants <n>    tenants of each placement, ${range('tenants')} (${DEFAULTS.tenants})
  --quick          --rounds ${QUICK.rounds} --seconds ${QUICK.seconds} --tenants ${QUICK.tenants}, for a first impression
  --write-docs     put the figures into docs/placements.md as well
  --help           print this

Exit status: 0 measured, 1 failed, 2 wrong arguments, 128 and the number of a signal.
`

/** BenchUsageError is an argument that makes no sense; its message says what would be right. */
export class BenchUsageError extends Error {}

/** parsePlacementsArgs reads the arguments; 'help' when they ask for it. @throws BenchUsageError */
export function parsePlacementsArgs(args: readonly string[]): PlacementsOptions | 'help' {
  const values = read(args)
  if (values.help) return 'help'
  const base = values.quick ? QUICK : DEFAULTS
  return {
    rounds: toNumber('rounds', values.rounds, base.rounds),
    seconds: toNumber('seconds', values.seconds, base.seconds),
    tenants: toNumber('tenants', values.tenants, base.tenants),
    writesDocs: values['write-docs'] ?? false,
  }
}

function read(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        tenants: { type: 'string' },
        quick: { type: 'boolean' },
        'write-docs': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (error) {
    throw new BenchUsageError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function toNumber(name: keyof typeof BOUNDS, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback
  const [least, most] = BOUNDS[name]
  const value = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw new BenchUsageError(`--${name} must be a whole number, ${range(name)}.`)
}

function range(name: keyof typeof BOUNDS): string {
  const [least, most] = BOUNDS[name]
  return `from ${least} to ${most}`
}
