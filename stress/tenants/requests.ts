import { sql } from '../../src/pool/statement.ts'
import { quantile } from '../scale/measurement.ts'
import { CALLER } from '../scale/tenants.ts'
import type { Side } from './side.ts'

/** What each side does before what it does is measured. */
const WARM_UP = 100
const HOT_REQUESTS = 5

/** Times is what a tenant's requests took, in milliseconds. */
export interface Times {
  /** Of a tenant that the process knows nothing of: look-up, opening, statement. */
  readonly first: number[]
  /** Of one whose pool is open. */
  readonly hot: number[]
  readonly eviction: number[]
  /** An operator's page of tenants, one by name, and the counts of a scrape. */
  readonly list: number[]
  readonly byName: number[]
  readonly counts: number[]
}

/** Pools that stay open meanwhile, where there are as many tenants; else half of the tenants have one. */
const RESIDENTS = 400

/** makeResident opens pools that stay, so that the connections which all share do as well. */
export async function makeResident(side: Side): Promise<void> {
  for (const id of side.ids.slice(0, residents(side))) await use(side, id)
}

function residents({ ids }: Side): number {
  return Math.min(RESIDENTS, Math.floor(ids.length / 2))
}

/**
 * measureRequests goes through tenants of each side in turn, one at a time, so that whatever slows the
 * machine down slows both: a first request, hot ones, the eviction.
 */
export async function measureRequests(sides: readonly Side[], cycles: number): Promise<readonly Times[]> {
  const all = sides.map((): Times => ({ first: [], hot: [], eviction: [], list: [], byName: [], counts: [] }))
  for (let n = -WARM_UP; n < cycles; n++) {
    for (const [index, side] of sides.entries()) {
      const times = await cycle(side, pick(side))
      if (n < 0) continue
      for (const key of Object.keys(times) as (keyof Times)[]) all[index]?.[key].push(times[key])
    }
  }
  return all
}

/** A tenant at random that has no pool. */
function pick(side: Side): string {
  const { ids } = side
  const from = residents(side)
  const id = ids[from + Math.floor(Math.random() * (ids.length - from))]
  if (id === undefined) throw new Error('bug: a side has no tenants')
  return id
}

async function cycle(side: Side, id: string): Promise<Record<keyof Times, number>> {
  const { directory, pools, tenants } = side.lessor
  await pools.evict(id, 'operator')
  directory.forget(id)
  const first = await time(() => use(side, id))
  const hot: number[] = []
  for (let n = 0; n < HOT_REQUESTS; n++) hot.push(await time(() => use(side, id)))
  return {
    first,
    hot: quantile(hot, 0.5),
    eviction: await time(() => pools.evict(id, 'operator')),
    list: await time(() => tenants.list({ limit: 10 })),
    byName: await time(() => tenants.list({ name: `tenant ${Math.floor(side.tenants / 2)}`, limit: 1 })),
    counts: await time(() => tenants.countByStatus()),
  }
}

/** As a request behind the tenant guard: the directory's snapshot, a lease, one statement. */
async function use({ lessor }: Side, id: string): Promise<void> {
  const tenant = await lessor.directory.resolve(id)
  if (tenant === undefined) throw new Error('bug: a tenant that was made is not there')
  const rows = await lessor.pools.use(tenant, CALLER, (db) =>
    db.query(sql`
      select id, first_name from users where tenant_id = ${id}::uuid order by created_at, id limit 10`),
  )
  if (rows.length !== 1) throw new Error(`bug: a tenant sees ${rows.length} rows instead of its one`)
}

async function time(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}
