import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from 'postgres'
import { PLACEMENTS, type PlacementName } from '../../src/tenants/tenant.ts'
import type { PerPlacement, Serving, Tenants } from './house.ts'
import { ownName } from './seed.ts'
import type { BenchTenant } from './service.ts'
import { sessions } from './sessions.ts'

/** Callers at once while tenants become active. */
const AT_ONCE = 8
/** Requests of each tenant: a session's caches fill with the first ones. */
const REQUESTS = 3
const LOOK_MS = 100
const LONGEST_LOOK_MS = 20_000

/** Footprint is what the active tenants of one placement hold. Sizes are in bytes. */
export interface Footprint {
  /** Sessions at the server. */
  readonly connections: number
  /** Memory that belongs to those sessions' processes alone; undefined where the system does not tell. */
  readonly serverBytes: number | undefined
  /** Heap of the service, and the buffers in it, beyond what it has without them. */
  readonly serviceBytes: number
}

/** measureFootprints makes the tenants of one placement active after those of the other, and looks what they hold. */
export async function measureFootprints(
  serving: Serving,
  tenants: Tenants,
): Promise<PerPlacement<Footprint>> {
  const measured: Partial<Record<PlacementName, Footprint>> = {}
  // Whatever stays for good, such as the directory's lines and the service's own compiled code, is there before.
  for (const placement of PLACEMENTS) await visit(serving, tenants[placement])
  await evictAll(serving, tenants)
  for (const placement of PLACEMENTS) {
    serving.onProgress(`memory and connections: ${placement}`)
    measured[placement] = await measure(serving, tenants[placement])
    await evictAll(serving, tenants)
  }
  return measured as PerPlacement<Footprint>
}

/** measureDisk is the bytes that an empty tenant's own tables take at the server; shared tables count as none. */
export async function measureDisk(admin: Sql, tenants: Tenants): Promise<PerPlacement<number>> {
  const sum = ([row]: readonly { readonly bytes?: string }[], of: readonly BenchTenant[]) =>
    Number(row?.bytes) / of.length
  const schemas = await admin<{ bytes: string }[]>`
    select sum(pg_total_relation_size(c.oid)) as bytes
    from pg_class c join pg_namespace n on n.oid = relnamespace
    where relkind = 'r' and nspname = any(${tenants.schema.map(({ id }) => ownName(id))})`
  const databases = await admin<{ bytes: string }[]>`
    select sum(pg_database_size(oid)) as bytes from pg_database
    where datname = any(${tenants.database.map(({ id }) => ownName(id))})`
  return {
    row: 0,
    role: 0,
    schema: sum(schemas, tenants.schema),
    database: sum(databases, tenants.database),
  }
}

async function measure(serving: Serving, tenants: readonly BenchTenant[]): Promise<Footprint> {
  const { service, admin } = serving
  const before = await service.heapBytes()
  for (let i = 0; i < REQUESTS; i++) await visit(serving, tenants)
  const serviceBytes = (await service.heapBytes()) - before
  const pids = await sessions(admin)
  const sizes = await Promise.all(pids.map(privateBytes))
  return {
    connections: pids.length,
    serverBytes: sizes.some((size) => size === undefined)
      ? undefined
      : sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0),
    serviceBytes,
  }
}

async function visit({ service, signal }: Serving, tenants: readonly BenchTenant[]): Promise<void> {
  for (let i = 0; i < tenants.length; i += AT_ONCE) {
    signal.throwIfAborted()
    await Promise.all(tenants.slice(i, i + AT_ONCE).map((tenant) => service.list(tenant)))
  }
}

async function evictAll({ service, admin, signal }: Serving, tenants: Tenants): Promise<void> {
  for (const placement of PLACEMENTS)
    await Promise.all(tenants[placement].map((tenant) => service.evict(tenant)))
  for (let waitedMs = 0; (await sessions(admin)).length > 0; waitedMs += LOOK_MS) {
    if (waitedMs > LONGEST_LOOK_MS) throw new Error('sessions of evicted tenants are still there')
    await sleep(LOOK_MS, undefined, { signal })
  }
}

/** privateBytes is the memory that no other process shares (proc(5), smaps_rollup); Linux tells, to root and to its owner. */
async function privateBytes(pid: number): Promise<number | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/smaps_rollup`, 'latin1')
    const kilobytes = [...text.matchAll(/^Private_\w+: +(\d+) kB$/gm)].map(([, kb]) => Number(kb))
    return 1024 * kilobytes.reduce((sum, kb) => sum + kb, 0)
  } catch {
    return undefined
  }
}
