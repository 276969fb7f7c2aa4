import type {
  BreakerSnapshot,
  BudgetHolder,
  BudgetSnapshot,
  PoolCounters,
  PoolGauges,
  PoolSnapshot,
  ServerBudget,
} from '../../src/pool/contract.ts'

export const CLOSED: BreakerSnapshot = { state: 'closed', failures: 0, retryAt: null, lastCode: null }

export const COUNTERS: PoolCounters = {
  hits: 10,
  opens: { ok: 11, failed: 12 },
  evictions: {
    idle: 1,
    capacity: 2,
    budget: 3,
    rotation: 4,
    suspension: 5,
    deletion: 6,
    failure: 7,
    operator: 8,
    shutdown: 9,
  },
  reopened: 13,
  saturated: 14,
  displaced: 18,
  yielded: 19,
  idleExtended: 20,
  breakers: { opened: { tenant: 21, server: 22 }, refused: { tenant: 23, server: 24 } },
  sentAgain: 0,
  cancelled: 15,
  connectionsOpened: 16,
  connectionsClosed: 17,
}

export const GAUGES: PoolGauges = {
  entries: { opening: 1, ready: 2, draining: 3 },
  leases: 4,
  waiting: 5,
  connections: { opening: 6, idle: 7, busy: 8, closing: 9 },
  breakers: { tenant: { open: 10, half_open: 11 }, server: { open: 12, half_open: 13 } },
  outdated: 14,
}

export function makeServer(server: Partial<ServerBudget> = {}): ServerBudget {
  return {
    server: 'default',
    used: 0,
    limit: 80,
    peak: 0,
    opening: 0,
    closing: 0,
    claims: 0,
    breaker: CLOSED,
    holders: [],
    ...server,
  }
}

export function makeHolder(holder: Partial<BudgetHolder> = {}): BudgetHolder {
  return { tenantId: 't', connections: 1, waiting: 0, weight: 1, fairShare: 1, ...holder }
}

export function makeBudget(budget: Partial<BudgetSnapshot> = {}): BudgetSnapshot {
  return {
    entries: { used: 0, limit: 500, peak: 0 },
    connections: { used: 0, limit: 400, peak: 0 },
    opening: { used: 0, limit: 8, peak: 0 },
    waiting: { used: 0, limit: 1000, peak: 0 },
    servers: [makeServer()],
    ...budget,
  }
}

export function makePool(pool: Partial<PoolSnapshot> = {}): PoolSnapshot {
  return {
    tenantId: 't',
    generation: 1,
    server: 'default',
    state: 'ready',
    leases: 0,
    waiting: 0,
    connections: { opening: 0, idle: 1, busy: 0 },
    createdAt: 0,
    lastAccess: 0,
    idleMs: 0,
    idleLimitMs: 600_000,
    hits: 0,
    weight: 1,
    breaker: CLOSED,
    ...pool,
  }
}
