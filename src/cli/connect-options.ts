import { parseArgs } from 'node:util'
import { MAX_VISIT_MINUTES } from '../tenants/visits.ts'
import { UsageError } from './command.ts'

const DEFAULT_MINUTES = 15

export const CONNECT_USAGE = `Usage: lessor connect [options] <tenant> [-- <arguments of psql>]

Starts psql as one tenant, which is named by its id or its name, by a login that is made for this and dropped
afterwards. It sees what the tenant sees and nothing else. The log tells who connected to whom.

  --namespace <name>   Where the tenant belongs, when it is named by its name (default)
  --minutes <number>   When the login ends by itself (${DEFAULT_MINUTES}, at most ${MAX_VISIT_MINUTES})
  --write              Begin transactions that may write. Without it they are read only, which guards against slips;
                       it is no wall, since a session can change it
  --print              Print the login as lines of shell for another program, and leave it until it ends by itself:
                         eval "$(lessor connect acme --print)" && psql

Without psql on the PATH the login is printed as well.
Status: that of psql; 1 when there is no login.
`

/** ConnectOptions is whom to connect to, and how. */
export interface ConnectOptions {
  /** Id or name. */
  readonly tenant: string
  readonly namespace: string | undefined
  readonly minutes: number
  readonly writes: boolean
  readonly prints: boolean
  readonly psqlArgs: readonly string[]
}

/** parseConnectArgs reads the arguments. @throws UsageError */
export function parseConnectArgs(args: readonly string[]): ConnectOptions {
  const end = args.includes('--') ? args.indexOf('--') : args.length
  const { values, positionals } = parseArgs({
    args: args.slice(0, end),
    allowPositionals: true,
    options: {
      namespace: { type: 'string' },
      minutes: { type: 'string', default: String(DEFAULT_MINUTES) },
      write: { type: 'boolean', default: false },
      print: { type: 'boolean', default: false },
    },
  })
  const [tenant, ...more] = positionals
  if (tenant === undefined) throw new UsageError('Name a tenant, by its id or its name.')
  if (more.length > 0) throw new UsageError('Name one tenant; arguments of psql go behind --.')
  return {
    tenant,
    namespace: values.namespace,
    minutes: parseMinutes(values.minutes),
    writes: values.write,
    prints: values.print,
    psqlArgs: args.slice(end + 1),
  }
}

function parseMinutes(text: string): number {
  const minutes = Number(text)
  if (/^\d+$/.test(text) && minutes >= 1 && minutes <= MAX_VISIT_MINUTES) return minutes
  throw new UsageError(`--minutes must be a number from 1 to ${MAX_VISIT_MINUTES}, not "${text}".`)
}
