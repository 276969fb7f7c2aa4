import { Type } from 'typebox'
import {
  BREAKER_STATES,
  type BreakerSnapshot,
  type BreakerState,
  ENTRY_STATES,
  type EntryState,
  EVICTION_REASONS,
  type EvictionCandidate,
  type EvictionReason,
  type EvictionRecord,
  type PoolSnapshot,
  type SweepReport,
} from '../pool/contract.ts'
import type { Stays } from './who-stays.ts'

const Time = Type.String({ format: 'date-time' })
export const Count = Type.Integer({ minimum: 0 })
const Milliseconds = Type.Integer({ minimum: 0, description: 'Milliseconds' })

export const State = Type.Unsafe<EntryState>(Type.String({ enum: ENTRY_STATES }))
export const Reason = Type.Unsafe<EvictionReason>(Type.String({ enum: EVICTION_REASONS }))

/** BreakerSchema is a breaker as operators see it. */
export const BreakerSchema = Type.Object({
  state: Type.Unsafe<BreakerState>(Type.String({ enum: BREAKER_STATES })),
  failures: Type.Integer({ minimum: 0, description: 'Failures in a row' }),
  retry_at: Type.Union([Time, Type.Null()], { description: 'When the next try may go; null while closed' }),
  last_code: Type.Union([Type.String(), Type.Null()], {
    description: 'SQLSTATE or system code of the last failure',
  }),
})

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
  idle_limit_ms: Type.Integer({ minimum: 0, description: 'Idle time after which a sweep evicts it' }),
  hits: Count,
  weight: Type.Number({ description: "The tenant's part where connections are short, against 1 for others" }),
  breaker: BreakerSchema,
})

/** AbsentPoolSchema is a tenant that has no pool since it could not be opened of late. */
export const AbsentPoolSchema = Type.Object(
  { tenant_id: Type.String(), state: Type.Literal('closed'), breaker: BreakerSchema },
  { description: 'The tenant has no pool, and a breaker that is not closed' },
)

/** CandidateSchema is a pool that goes when room is needed, and why it rather than others. */
export const CandidateSchema = Type.Object({
  tenant_id: Type.String(),
  server: Type.Union([Type.String(), Type.Null()]),
  reason: Type.Unsafe<EvictionCandidate['reason']>(Type.String({ enum: ['capacity', 'budget'] })),
  idle_ms: Milliseconds,
  connections: Count,
  reopen_ms: Milliseconds,
  cost: Type.Number({ description: 'Lower goes first' }),
  why: Type.String(),
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
  stays: Type.Object(
    {
      opening: Count,
      in_use: Type.Integer({ minimum: 0, description: 'Has leases, or callers that wait' }),
      recently_used: Type.Integer({ minimum: 0, description: 'Idle, but not for long enough' }),
      idle_extended: Type.Integer({
        minimum: 0,
        description: 'Idle for long enough but for thrash, which has lengthened its idle time',
      }),
    },
    { description: 'Pools that are not evicted, by the reason' },
  ),
  next_in_ms: Type.Union([Milliseconds, Type.Null()], {
    description: 'When the next idle pool will have been idle for long enough; null when none is idle',
  }),
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
    idle_limit_ms: Math.round(pool.idleLimitMs),
    hits: pool.hits,
    weight: pool.weight,
    breaker: presentBreaker(pool.breaker),
  }
}

export function presentBreaker({ state, failures, retryAt, lastCode }: BreakerSnapshot) {
  return { state, failures, retry_at: retryAt === null ? null : rfc3339(retryAt), last_code: lastCode }
}

export function presentCandidate(candidate: EvictionCandidate) {
  return {
    tenant_id: candidate.tenantId,
    server: candidate.server,
    reason: candidate.reason,
    idle_ms: Math.round(candidate.idleMs),
    connections: candidate.connections,
    reopen_ms: Math.round(candidate.reopenMs),
    cost: candidate.cost,
    why: candidate.why,
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

export function presentSweep(report: SweepReport, stays: Stays) {
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
    stays: {
      opening: stays.opening,
      in_use: stays.inUse,
      recently_used: stays.recentlyUsed,
      idle_extended: stays.idleExtended,
    },
    next_in_ms: stays.nextInMs === null ? null : Math.round(stays.nextInMs),
  }
}

function rfc3339(epochMs: number): string {
  return new Date(epochMs).toISOString()
}
