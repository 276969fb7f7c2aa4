import { LessorError } from '../errors.ts'
import { type Batch, MAX_BATCH, MAX_BATCH_KEYS } from './batch.ts'
import { parseTenantName } from './name.ts'
import { DEFAULT_NAMESPACE } from './namespace.ts'
import { parseQuota } from './quota.ts'
import { type PlacementName, parseTenantId, type Quota } from './tenant.ts'

/** Stands for no tenant where shared tables are partitioned (sql/walls/000002-partitions.sql). */
const NIL = '00000000-0000-0000-0000-000000000000'

/** CreateTenants is a request for many `row` tenants, as callers write it. */
export interface CreateTenants {
  readonly tenants: readonly { readonly name: string; readonly id?: string }[]
  readonly namespace?: string
  readonly placement?: PlacementName
  readonly server?: string
  readonly server_labels?: Readonly<Record<string, string>>
  readonly quota?: Quota
  /** Whether each gets an API key of its own. */
  readonly api_keys?: boolean
}

/**
 * parseBatch checks a request; a name that is none fails all of it, as it would fail a form.
 * @throws LessorError INVALID_REQUEST that names the item, PLACEMENT_UNAVAILABLE
 */
export function parseBatch(request: CreateTenants, maxConnections: number): Batch {
  const { tenants, namespace = DEFAULT_NAMESPACE, placement = 'row', server, server_labels: labels } = request
  if (placement !== 'row') {
    throw new LessorError(
      'PLACEMENT_UNAVAILABLE',
      `A batch makes tenants of placement "row" only: those of "${placement}" get logins of their own, one by one, by POST /v1/tenants.`,
    )
  }
  const withKeys = request.api_keys ?? false
  const most = withKeys ? MAX_BATCH_KEYS : MAX_BATCH
  if (tenants.length < 1 || tenants.length > most) {
    throw invalid(
      '/tenants',
      `must have 1 to ${most} items${withKeys ? ' where api_keys are asked for' : ''}`,
    )
  }
  return {
    tenants: tenants.map((item, index) => ({
      name: parseTenantName(item.name, `/tenants/${index}/name`),
      ...(item.id !== undefined && { id: parseId(item.id, index) }),
    })),
    namespace,
    wish: { placement, ...(server !== undefined && { server }), ...(labels && { labels }) },
    quota: parseQuota(request.quota ?? {}, maxConnections),
    withKeys,
  }
}

function parseId(text: string, index: number): string {
  const id = parseTenantId(text)
  if (id === undefined || id === NIL)
    throw invalid(`/tenants/${index}/id`, 'must be a UUID, and not the nil one')
  return id
}

function invalid(path: string, message: string): LessorError {
  return new LessorError('INVALID_REQUEST', `The body field ${path} ${message}.`, {
    errors: [{ in: 'body', path, message }],
  })
}
