import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { parseTenantName } from '../tenants/name.ts'
import { UsageError } from './command.ts'

export const TENANTS_USAGE = `Usage: lessor tenants create [options] [name ...]

Makes tenants of placement row, a thousand in one statement. Names that are there already are skipped and
counted, so that the same call goes on where an earlier one stopped.

  --file <path>        Names from a file, one a line; - is standard input
  --count <number>     Makes up names: the prefix and a number from 1 on, as in acme-000001
  --prefix <text>      What made-up names begin with (tenant-)
  --namespace <name>   Where the tenants belong (default)
  --server <name>      The data server; without it the least loaded one
  --label <key=value>  A data server with this label; may be repeated
  --batch <number>     Tenants in one statement (1000)

They get no API keys: a key of their namespace opens them all, with x-tenant-id.
Status: 0 all are there, 1 some are not.
`

const MOST_AT_ONCE = 1000

/** TenantsOptions is what to make, and where. */
export interface TenantsOptions {
  readonly names: Names
  readonly namespace: string | undefined
  readonly server: string | undefined
  readonly labels: Readonly<Record<string, string>> | undefined
  readonly batch: number
}

/** Names is names in order; each is one that a tenant may have. */
export interface Names {
  readonly total: number
  readonly all: Iterable<string>
}

/**
 * parseTenantsArgs reads the arguments, and the file that they name.
 * Once `signal` aborts it reads no further.
 * @throws UsageError, also for a name that no tenant can have, and what reading the file throws
 */
export async function parseTenantsArgs(
  args: readonly string[],
  stdin: NodeJS.ReadableStream,
  signal: AbortSignal,
): Promise<TenantsOptions> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      file: { type: 'string' },
      count: { type: 'string' },
      prefix: { type: 'string' },
      namespace: { type: 'string' },
      server: { type: 'string' },
      label: { type: 'string', multiple: true },
      batch: { type: 'string' },
    },
  })
  const [action, ...names] = positionals
  if (action !== 'create') throw new UsageError('Say what to do with tenants: "lessor tenants create".')
  const sources = [values.file, values.count, names[0]].filter((each) => each !== undefined)
  if (sources.length !== 1) throw new UsageError('Name the tenants by --file, by --count, or one by one.')
  if (values.prefix !== undefined && values.count === undefined)
    throw new UsageError('--prefix goes with --count.')
  return {
    names: await readNames(values, names, { stdin, signal }),
    namespace: values.namespace,
    server: values.server,
    labels: values.label && parseLabels(values.label),
    batch: parseNumber('--batch', values.batch ?? String(MOST_AT_ONCE), MOST_AT_ONCE),
  }
}

async function readNames(
  { file, count, prefix = 'tenant-' }: { file?: string; count?: string; prefix?: string },
  names: readonly string[],
  { stdin, signal }: { readonly stdin: NodeJS.ReadableStream; readonly signal: AbortSignal },
): Promise<Names> {
  if (count !== undefined) return madeUp(parseNumber('--count', count, 100_000_000), prefix)
  if (file === undefined) return checked(names, (index) => `name ${index + 1}`)
  const lines: string[] = []
  const input = file === '-' ? stdin : createReadStream(file)
  for await (const line of createInterface({ input, signal })) {
    lines.push(line)
  }
  return checked(lines, (index) => `${file === '-' ? 'standard input' : file}, line ${index + 1}`)
}

/** Blank lines are left out. */
function checked(lines: readonly string[], where: (index: number) => string): Names {
  const all: string[] = []
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue
    checkName(line, where(index))
    all.push(line)
  }
  return { total: all.length, all }
}

function madeUp(total: number, prefix: string): Names {
  const digits = Math.max(6, String(total).length)
  const nth = (n: number) => prefix + String(n).padStart(digits, '0')
  checkName(nth(total), '--prefix')
  return {
    total,
    all: {
      *[Symbol.iterator]() {
        for (let n = 1; n <= total; n++) yield nth(n)
      },
    },
  }
}

function checkName(name: string, where: string): void {
  try {
    parseTenantName(name)
  } catch (error) {
    throw new UsageError(`${where}: ${error instanceof Error ? error.message : error}`)
  }
}

function parseNumber(option: string, text: string, most: number): number {
  const number = Number(text)
  if (/^\d+$/.test(text) && number >= 1 && number <= most) return number
  throw new UsageError(`${option} must be a number from 1 to ${most}, not "${text}".`)
}

function parseLabels(labels: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    labels.map((label) => {
      const [, key, value] = /^([^=]+)=(.*)$/.exec(label) ?? []
      if (key === undefined || value === undefined) {
        throw new UsageError(`--label must be key=value, not "${label}".`)
      }
      return [key, value]
    }),
  )
}
