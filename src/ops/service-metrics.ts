import { TENANT_STATUSES, type TenantStatus } from '../tenants/tenant.ts'
import type { Checks } from './health.ts'
import { Question } from './question.ts'
import { by, one, type ScrapedMetric } from './scraped.ts'

/** TenantCounts is the number of tenants by status; a status without tenants may be left out. */
export type TenantCounts = Readonly<Partial<Record<TenantStatus, number>>>

/** NodeGauges is what this process knows of the nodes without asking. */
export interface NodeGauges {
  /** Nodes whose lease has not run out, this one included. */
  readonly live: number
  /** Time since the changes of other nodes were last read, in milliseconds. */
  readonly unreadMs: number
  /** Announcements of this process's own changes that failed. */
  readonly unannounced: number
}

export interface ServiceSources {
  readonly version: string
  readonly countTenants: () => Promise<TenantCounts>
  /** Tenants whose own tables are older than this code. */
  readonly countBehind: () => Promise<number>
  readonly check: () => Promise<Checks>
  /** Undefined where the process is no node yet. */
  readonly nodes: () => NodeGauges | undefined
}

/** A scrape comes in time, whatever the control database does: Prometheus waits for ten seconds. */
const TIMEOUT_MS = 2000

/** serviceMetrics is what there is to know of the process besides its pools. */
export function serviceMetrics(sources: ServiceSources): readonly ScrapedMetric[] {
  const tenants = new Question(sources.countTenants, TIMEOUT_MS)
  const behind = new Question(sources.countBehind, TIMEOUT_MS)
  return [
    {
      name: 'lessor_info',
      help: 'The version that runs; always 1',
      type: 'gauge',
      read: () => [[{ version: sources.version }, 1]],
    },
    {
      name: 'lessor_ready',
      help: 'Parts of readiness: 1 when well, as /readyz says',
      type: 'gauge',
      read: async () => {
        const { controlDatabase, migrations, vaultKeys, draining } = await sources.check()
        return by('check', {
          control_database: Number(controlDatabase),
          migrations: Number(migrations),
          vault_keys: Number(vaultKeys),
          serving: Number(!draining),
        })
      },
    },
    {
      name: 'lessor_tenants',
      help: 'Tenants by status',
      type: 'gauge',
      read: async () => {
        const counts = await tenants.answer()
        return TENANT_STATUSES.map((status) => [{ status }, counts[status] ?? 0] as const)
      },
    },
    {
      name: 'lessor_tenants_behind',
      help: 'Tenants whose own tables are older than this version of the application',
      type: 'gauge',
      read: async () => one(await behind.answer()),
    },
    {
      name: 'lessor_nodes',
      help: 'Live nodes, as this one sees them',
      type: 'gauge',
      read: () => one(sources.nodes()?.live ?? 1),
    },
    {
      name: 'lessor_changes_unread_seconds',
      help: 'Time since the changes of other nodes were last read',
      type: 'gauge',
      read: () => one((sources.nodes()?.unreadMs ?? 0) / 1000),
    },
    {
      name: 'lessor_changes_unannounced_total',
      help: 'Announcements to the other nodes (NOTIFY) that failed; they find the changes by polling',
      type: 'counter',
      read: () => one(sources.nodes()?.unannounced ?? 0),
    },
  ]
}
