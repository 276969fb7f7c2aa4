import { Type } from 'typebox'
import {
  ENTRY_STATES,
  type EntryState,
  EVICTION_REASONS,
  type EvictionReason,
  type EvictionRecord,
  type PoolSnapshot,
  type SweepReport,
} from '../pool/contract.ts'

const Time = Type.String({ format: 'date-time' })
const Count = Type.Integer({ minimum: 0 })
const Milliseconds = Type.Integer({ minimum: 0, description: 'Milliseconds' })

export const State = Type.Unsafe<EntryState>(Type.String({ enum: ENTRY_STATES }))
export const Reason = Type.Unsafe<EvictionReason>(Type.String({ enum: EVICTION_REASONS }))

/** PoolSchema is one pool as operators see it. */
export const PoolSchema = Type.Object({
  tenant_id: Type.String(),
  generation: Type.Integer(),
  server: Type.Union([Type.String(), Type.Null()]),
  state: State,
  leases: Count,
  waiting: Count,
  connections: Type.Object({ opening: Count, idle: Count, busy: Count }),
  created_at: Time,
  last_access: Time,
  idle_ms: Milliseconds,
  hits: Count,
})

/** EvictionSchema is one line of the eviction log. */
export const EvictionSchema = Type.Object({
  tenant_id: Type.String(),
  generation: Type.Integer(),
  reason: Reason,
  at: Time,
  age_ms: Milliseconds,
  idle_ms: Milliseconds,
  leases: Count,
  connections: Count,
})

/** SweepSchema is what a sweep did or, in a dry run, would do. */
export const SweepSchema = Type.Object({
  dry_run: Type.Boolean(),
  started_at: Time,
  duration_ms: Type.Number({ minimum: 0 }),
  resident: Count,
  idle: Count,
  evicted: Type.Array(
    Type.Object({
      tenant_id: Type.String(),
      reason: Reason,
      idle_ms: Milliseconds,
      connections: Count,
      why: Type.String(),
    }),
  ),
  connections_closed: Count,
})

export function presentPool(pool: PoolSnapshot) {
  return {
    tenant_id: pool.tenantId,
    generation: pool.generation,
    server: pool.server,
    state: pool.state,
    leases: pool.leases,
    waiting: pool.waiting,
    connections: pool.connections,
    created_at: rfc3339(pool.createdAt),
    last_access: rfc3339(pool.lastAccess),
    idle_ms: Math.round(pool.idleMs),
    hits: pool.hits,
  }
}

export function presentEviction(eviction: EvictionRecord) {
  return {
    tenant_id: eviction.tenantId,
    generation: eviction.generation,
    reason: eviction.reason,
    at: rfc3339(eviction.at),
    age_ms: Math.round(eviction.ageMs),
    idle_ms: Math.round(eviction.idleMs),
    leases: eviction.leases,
    connections: eviction.connections,
  }
}

export function presentSweep(report: SweepReport) {
  return {
    dry_run: report.dryRun,
    started_at: rfc3339(report.startedAt),
    duration_ms: Math.round(report.durationMs * 1000) / 1000,
    resident: report.resident,
    idle: report.idle,
    evicted: report.evicted.map((candidate) => ({
      tenant_id: candidate.tenantId,
      reason: candidate.reason,
      idle_ms: Math.round(candidate.idleMs),
      connections: candidate.connections,
      why: candidate.why,
    })),
    connections_closed: report.connectionsClosed,
  }
}

function rfc3339(epochMs: number): string {
  return new Date(epochMs).toISOString()
}
