import { parseArgs } from 'node:util'

/** BenchOptions is how long and how often is measured. */
export interface BenchOptions {
  /** Rounds in which every measurement is made once. */
  readonly rounds: number
  /** Of one measurement. */
  readonly seconds: number
}

const DEFAULTS: BenchOptions = { rounds: 7, seconds: 4 }
const QUICK: BenchOptions = { rounds: 3, seconds: 2 }

/** USAGE tells people what they can ask for. */
export const USAGE = `npm run bench -- [--rounds ${DEFAULTS.rounds}] [--seconds ${DEFAULTS.seconds}] [--quick]
  --quick is --rounds ${QUICK.rounds} --seconds ${QUICK.seconds}, for a first impression

npm run bench -- placements --help tells how the four placements are measured side by side`

/** parseOptions reads the command line; undefined when it makes no sense. */
export function parseOptions(args: readonly string[]): BenchOptions | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { rounds: { type: 'string' }, seconds: { type: 'string' }, quick: { type: 'boolean' } },
    })
    const base = values.quick ? QUICK : DEFAULTS
    const rounds = Number(values.rounds ?? base.rounds)
    const seconds = Number(values.seconds ?? base.seconds)
    const isSensible = Number.isInteger(rounds) && rounds >= 1 && seconds >= 1
    return isSensible ? { rounds, seconds } : undefined
  } catch {
    // parseArgs refuses what it does not know.
    return undefined
  }
}
