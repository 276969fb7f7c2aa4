import type { Claimant } from './claims.ts'
import type { BudgetHolder, BudgetSnapshot, EvictionCandidate, PoolGauges, ServerBudget } from './contract.ts'
import type { Engine } from './engine.ts'
import type { Entry } from './entry.ts'
import { fairShares } from './fair-share.ts'
import { priceOf, victims } from './reclaim.ts'
import type { Residents } from './residents.ts'

/** Who has connections, or waits for the first. */
type Holder = Omit<Claimant, 'grow'>

/** gaugesOf reads how many there are of everything now. */
export function gaugesOf(engine: Engine, residents: Residents): PoolGauges {
  const entries = { opening: 0, ready: 0, draining: residents.draining.size }
  for (const entry of residents.entries.values()) {
    entries[entry.state === 'opening' ? 'opening' : 'ready'] += 1
  }
  const connections = { opening: 0, idle: 0, busy: 0, closing: 0 }
  for (const { state } of engine.slots.keys()) {
    if (state === 'held') connections.busy += 1
    else if (state !== 'closed') connections[state] += 1
  }
  let outdated = 0
  for (const { tenantId, generation } of residents.draining) {
    const newer = residents.entries.get(tenantId)
    if (newer !== undefined && newer.generation > generation) outdated += 1
  }
  return {
    entries,
    leases: residents.leases,
    waiting: engine.room.size,
    connections,
    breakers: engine.breakers.gauges(),
    outdated,
  }
}

/** budgetOf reads every hard limit with what is in use, and who holds it. */
export function budgetOf({ breakers, budgets, room, slots }: Engine, residents: Residents): BudgetSnapshot {
  const pools = new Set<Holder>([...slots.values(), ...budgets.claims])
  const servers = [...budgets.servers].map((server): ServerBudget => {
    const { used, limit, peak, opening, closing, claims } = budgets.server(server)
    const holders = holdersOf(
      [...pools].filter((pool) => pool.server === server),
      limit,
    )
    return { server, used, limit, peak, opening, closing, claims, breaker: breakers.server(server), holders }
  })
  return {
    entries: residents.usage,
    connections: budgets.process,
    opening: budgets.opening,
    waiting: room.usage,
    servers,
  }
}

/** A tenant may have several pools: those of older generations drain. */
function holdersOf(pools: readonly Holder[], limit: number): readonly BudgetHolder[] {
  const tenants = new Map<string, { connections: number; waiting: number; weight: number; most: number }>()
  for (const { tenantId, open, waiting, weight, maxConnections } of pools) {
    const found = tenants.get(tenantId) ?? { connections: 0, waiting: 0, weight, most: maxConnections }
    found.connections += open
    found.waiting += waiting
    tenants.set(tenantId, found)
  }
  const holders = [...tenants]
  const shares = fairShares(
    limit,
    holders.map(([, { connections, waiting, weight, most }]) => ({
      wants: Math.min(most, connections + waiting),
      weight,
    })),
  )
  return holders
    .map(([tenantId, { connections, waiting, weight }], i) => ({
      tenantId,
      connections,
      waiting,
      weight,
      fairShare: Math.round((shares[i] ?? 0) * 100) / 100,
    }))
    .sort((a, b) => b.connections - a.connections || b.waiting - a.waiting)
}

/** candidatesOf lists who would go next for a place, then who would for a connection. */
export function candidatesOf(
  engine: Engine,
  residents: Residents,
  limit: number,
): readonly EvictionCandidate[] {
  const now = engine.clock.now()
  const describe = (entry: Entry, reason: EvictionCandidate['reason']): EvictionCandidate => {
    const idleMs = entry.idleMs(now)
    const thrash = entry.strikes === 0 ? '' : ` It came back soon after ${entry.strikes} earlier evictions.`
    return {
      tenantId: entry.tenantId,
      server: entry.pool?.server ?? null,
      reason,
      idleMs,
      connections: entry.pool?.open ?? 0,
      reopenMs: entry.reopenMs,
      cost: priceOf(entry, idleMs),
      why: `Idle for ${(idleMs / 1000).toFixed(1)} s; opening it again takes about ${Math.round(entry.reopenMs)} ms.${thrash}`,
    }
  }
  const places = residents.nextToGo().map((entry) => describe(entry, 'capacity'))
  const connections = [...victims(engine.slots, 'process', now, (pool) => residents.price(pool))]
    .filter(({ wholeEntry }) => wholeEntry)
    .sort((a, b) => a.cost - b.cost)
    .flatMap(({ pool }) => residents.entries.get(pool.tenantId) ?? [])
    .map((entry) => describe(entry, 'budget'))
  return [...places.slice(0, limit), ...connections.slice(0, limit)]
}
