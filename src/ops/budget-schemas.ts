import { Type } from 'typebox'
import type { BudgetHolder, BudgetSnapshot, ServerBudget, Usage } from '../pool/contract.ts'
import type { ServerCapacity } from '../servers/server-capacity.ts'
import { BreakerSchema, Count, presentBreaker } from './pool-schemas.ts'
import { ADVICE_SEVERITIES, type AdviceSeverity } from './size-facts.ts'

const Time = Type.String({ format: 'date-time' })
const Reason = Type.Union([Type.String(), Type.Null()])

const UsageSchema = Type.Object({
  used: Count,
  limit: Count,
  peak: Type.Integer({ minimum: 0, description: 'The most in use at once since the start' }),
})

const CapacitySchema = Type.Object({
  max_connections: Count,
  superuser_reserved_connections: Count,
  reserved_connections: Count,
  sessions: Type.Object({
    tenants: Type.Integer({ minimum: 0, description: 'Of tenants of this database, through any node' }),
    service: Type.Integer({ minimum: 0, description: "Lessor's own in this database, of any node" }),
    others: Type.Integer({ minimum: 0, description: 'Everybody else, in any database of the server' }),
  }),
})

const ServerSchema = Type.Object({
  server: Type.String(),
  used: Count,
  limit: Type.Integer({
    minimum: 0,
    description:
      "This node's share of the server's connections (SERVER_MAX_CONNECTIONS, or its own max_connections)",
  }),
  peak: Count,
  opening: Count,
  closing: Count,
  claims: Type.Integer({ minimum: 0, description: 'Pools that wait for a connection' }),
  breaker: BreakerSchema,
  holders: Type.Array(
    Type.Object({
      tenant_id: Type.String(),
      connections: Count,
      waiting: Count,
      weight: Type.Number(),
      fair_share: Type.Number({
        description: 'Connections it would have if all that want some shared fairly',
      }),
    }),
    { description: 'Tenants that hold or want connections, those that hold most first' },
  ),
  holders_total: Type.Integer({ minimum: 0, description: 'All holders; the list ends at the limit' }),
  capacity: Type.Union([CapacitySchema, Type.Null()], {
    description: 'What the data server says of itself; null when it could not be asked',
  }),
  capacity_unavailable: Reason,
})

const NodeSchema = Type.Object({
  id: Type.String(),
  name: Type.String({ description: 'Host and process' }),
  is_this: Type.Boolean({ description: 'The node that answers' }),
  started_at: Time,
  heartbeat_at: Time,
  changes_applied: Type.String({ description: 'Version up to which all changes have done their work there' }),
  shares: Type.Array(Type.Object({ server: Type.String(), granted: Count, used: Count }), {
    description: 'Its part of the connections to each data server',
  }),
})

/** BudgetSchema is the hard limits, who holds what, and advice on them. */
export const BudgetSchema = Type.Object({
  entries: UsageSchema,
  connections: UsageSchema,
  opening: UsageSchema,
  waiting: UsageSchema,
  servers: Type.Array(ServerSchema),
  nodes: Type.Union([Type.Array(NodeSchema), Type.Null()], {
    description:
      'The live nodes, which share the data servers; null when the control database could not be asked',
  }),
  nodes_unavailable: Reason,
  advice: Type.Array(
    Type.Object({
      about: Type.String({ description: 'The variable, or property of a resource, to look at' }),
      severity: Type.Unsafe<AdviceSeverity>(Type.String({ enum: ADVICE_SEVERITIES })),
      text: Type.String(),
    }),
    { description: 'What the numbers say about the sizes in force, warnings first' },
  ),
})

/** NodeView is a live node as operators see it. */
export interface NodeView {
  readonly id: string
  readonly name: string
  readonly startedAt: Date
  readonly heartbeatAt: Date
  /** The version up to which all changes have done their work there. */
  readonly applied: bigint
  readonly shares: readonly { readonly server: string; readonly granted: number; readonly used: number }[]
}

/** Asked is an answer, or the reason why there is none. */
export type Asked<T> = { readonly value: T } | { readonly reason: string }

export function presentUsages({ entries, connections, opening, waiting }: BudgetSnapshot) {
  return {
    entries: presentUsage(entries),
    connections: presentUsage(connections),
    opening: presentUsage(opening),
    waiting: presentUsage(waiting),
  }
}

/** presentServer shows the first `limit` holders. */
export function presentServer(server: ServerBudget, capacity: Asked<ServerCapacity>, limit: number) {
  return {
    server: server.server,
    ...presentUsage(server),
    opening: server.opening,
    closing: server.closing,
    claims: server.claims,
    breaker: presentBreaker(server.breaker),
    holders: server.holders.slice(0, limit).map(presentHolder),
    holders_total: server.holders.length,
    capacity: 'value' in capacity ? presentCapacity(capacity.value) : null,
    capacity_unavailable: 'reason' in capacity ? capacity.reason : null,
  }
}

/** presentNodes marks the node whose id is `own`. */
export function presentNodes(nodes: Asked<readonly NodeView[]>, own: string) {
  return {
    nodes: 'value' in nodes ? nodes.value.map((node) => presentNode(node, own)) : null,
    nodes_unavailable: 'reason' in nodes ? nodes.reason : null,
  }
}

function presentNode(node: NodeView, own: string) {
  return {
    id: node.id,
    name: node.name,
    is_this: node.id === own,
    started_at: node.startedAt.toISOString(),
    heartbeat_at: node.heartbeatAt.toISOString(),
    changes_applied: String(node.applied),
    shares: node.shares.map(({ server, granted, used }) => ({ server, granted, used })),
  }
}

function presentUsage({ used, limit, peak }: Usage) {
  return { used, limit, peak }
}

function presentHolder(holder: BudgetHolder) {
  return {
    tenant_id: holder.tenantId,
    connections: holder.connections,
    waiting: holder.waiting,
    weight: holder.weight,
    fair_share: Math.round(holder.fairShare * 100) / 100,
  }
}

function presentCapacity(capacity: ServerCapacity) {
  return {
    max_connections: capacity.maxConnections,
    superuser_reserved_connections: capacity.superuserReserved,
    reserved_connections: capacity.reserved,
    sessions: capacity.sessions,
  }
}
