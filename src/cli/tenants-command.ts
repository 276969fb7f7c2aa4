import type { TenantService } from '../tenants/tenant-service.ts'
import type { CliIo, Command } from './command.ts'
import { type Progress, showProgress } from './progress.ts'
import { parseTenantsArgs, TENANTS_USAGE, type TenantsOptions } from './tenants-options.ts'
import { withLessor } from './with-lessor.ts'

/** One batch is written to the wire while the server works on another. */
const BATCHES_AT_ONCE = 2

/** tenantsCommand onboards many tenants. */
export const tenantsCommand: Command = {
  name: 'tenants',
  summary: 'Make many tenants of placement row at once',
  usage: TENANTS_USAGE,
  async run(args, io) {
    const options = await parseTenantsArgs(args, process.stdin, io.signal)
    return withLessor(io, ({ tenants }) => createTenants(tenants, options, io))
  },
}

interface Tally {
  created: number
  skipped: number
  failed: number
}

/** createTenants does what the arguments say and resolves with the exit status: 0 all are there, 1 not all. */
export async function createTenants(
  tenants: Pick<TenantService, 'onboardBatch'>,
  options: TenantsOptions,
  io: CliIo,
): Promise<number> {
  const tally: Tally = { created: 0, skipped: 0, failed: 0 }
  const progress = showProgress(io, options.names.total, 'tenants')
  const start = performance.now()
  const batches = inBatches(options.names.all, options.batch)
  try {
    const worker = () => work(tenants, options, batches, { tally, progress, io })
    await Promise.all(Array.from({ length: BATCHES_AT_ONCE }, worker))
  } finally {
    progress.stop()
    io.stdout.write(summary(tally, performance.now() - start))
    const isDone = tally.created + tally.skipped + tally.failed === options.names.total
    if (!isDone) io.stderr.write('Not all of them: the same call goes on from here.\n')
  }
  return io.signal.aborted || tally.failed > 0 ? 1 : 0
}

interface Report {
  readonly tally: Tally
  readonly progress: Progress
  readonly io: CliIo
}

async function work(
  tenants: Pick<TenantService, 'onboardBatch'>,
  { namespace, server, labels }: TenantsOptions,
  batches: Iterator<readonly string[]>,
  { tally, progress, io }: Report,
): Promise<void> {
  for (let next = batches.next(); !next.done && !io.signal.aborted; next = batches.next()) {
    const records = await tenants.onboardBatch({
      tenants: next.value.map((name) => ({ name })),
      ...(namespace !== undefined && { namespace }),
      ...(server !== undefined && { server }),
      ...(labels && { server_labels: labels }),
    })
    for (const record of records) {
      if ('tenant' in record) tally.created++
      else if (record.error.code === 'TENANT_NAME_TAKEN') tally.skipped++
      else {
        tally.failed++
        io.stderr.write(`${record.error.detail} (${record.error.code})\n`)
      }
    }
    progress.add(records.length)
  }
}

function* inBatches(names: Iterable<string>, size: number): Generator<readonly string[]> {
  let batch: string[] = []
  for (const name of names) {
    batch.push(name)
    if (batch.length < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

function summary({ created, skipped, failed }: Tally, ms: number): string {
  const rate = Math.round((created / ms) * 1000)
  return `${created} created, ${skipped} already there, ${failed} failed, in ${(ms / 1000).toFixed(1)} s (${rate} created/s)\n`
}
