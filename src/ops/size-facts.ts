import type { BudgetSnapshot, PoolCounters, PoolLimits } from '../pool/contract.ts'
import type { ServerCapacity } from '../servers/server-capacity.ts'

/** ADVICE_SEVERITIES: a `warning` tells of callers refused, or about to be; a `notice` of a size that could be better. */
export const ADVICE_SEVERITIES = ['warning', 'notice'] as const
export type AdviceSeverity = (typeof ADVICE_SEVERITIES)[number]

/** Advice is one finding about the sizes in force. */
export interface Advice {
  /** The variable, or the property of a resource, to look at. */
  readonly about: string
  readonly severity: AdviceSeverity
  /** What was seen, with numbers, and what to do. */
  readonly text: string
}

/** SizeFacts is all that advice is drawn from. */
export interface SizeFacts {
  /** As configured; of a data server's connections this is what all nodes share. */
  readonly limits: Pick<
    PoolLimits,
    | 'maxEntries'
    | 'maxConnections'
    | 'sharedMaxConnections'
    | 'serverMaxConnections'
    | 'processMaxConnections'
    | 'maxOpening'
    | 'maxWaiting'
    | 'idleMs'
    | 'thrashMs'
  >
  /** Where a data server has a budget of its own instead of `serverMaxConnections`. */
  readonly serverBudgets?: ReadonlyMap<string, number>
  /** Sessions that PostgreSQL allows a tenant's role, over all nodes; 0 when that goes by the nodes. */
  readonly roleConnectionLimit: number
  /** Connections that one node has to the control database at most. */
  readonly controlMaxConnections: number
  /** Live nodes. */
  readonly nodes: number
  readonly uptimeMs: number
  readonly budget: BudgetSnapshot
  readonly counters: Pick<PoolCounters, 'opens' | 'evictions' | 'reopened' | 'saturated' | 'displaced'>
  /** By data server; those that could not be asked are not there. */
  readonly capacities: ReadonlyMap<string, ServerCapacity>
}
