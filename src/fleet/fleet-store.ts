import type { OwnProcess } from '../control/own-process.ts'
import { type Db, type Statement, sql } from '../pool/statement.ts'
import type {
  FleetFailure,
  FleetFilter,
  FleetOptions,
  FleetTenant,
  Outcome,
  OutcomeCounts,
  OutcomeState,
  StopReason,
} from './fleet.ts'

/** RunTicket is the right to work on a run; each claim has a token of its own. */
export interface RunTicket {
  readonly runId: string
  readonly token: string
  /** How long the claim holds without being renewed. */
  readonly claimMs: number
}

/** OpenRun is the run that has not finished: under way, or stopped. */
export interface OpenRun {
  readonly id: string
  readonly target: number
  readonly isSame: boolean
  readonly isClaimed: boolean
  readonly holder: string
  readonly pid: number
  readonly space: string | null
  readonly startedAt: Date
  readonly waves: number
}

export interface NewRun {
  readonly target: number
  readonly filter: FleetFilter
  readonly options: FleetOptions
}

/** How many runs are kept for people to look at, the newest one included. */
const KEPT_RUNS = 20

/** The words of the index tenants_schema_version, without which the planner would not use it. */
const HAS_OWN_TABLES = sql`t.placement in ('schema', 'database') and t.status in ('active', 'suspended')`
const VERSION = sql`coalesce(t.schema_version, 0)`
const TENANT = sql`t.id, t.name, n.name as namespace, t.placement, t.server`

/** lockOpenRun finds the run that has not finished and keeps others from it until the transaction ends. */
export async function lockOpenRun(tx: Db, run: NewRun): Promise<OpenRun | undefined> {
  const [row] = await tx.query<OpenRun>(sql`
    select id, target, target = ${run.target} and filter = ${{ ...run.filter }} as "isSame",
      state = 'running' and claimed_until > clock_timestamp() as "isClaimed",
      holder, pid, process_space as space, started_at as "startedAt", waves
    from lessor.fleet_runs
    where state in ('running', 'stopped')
    for update`)
  return row
}

/** insertRun makes a run that the ticket's holder has claimed; false when another one was made meanwhile. */
export async function insertRun(tx: Db, ticket: RunTicket, run: NewRun, own: OwnProcess): Promise<boolean> {
  const rows = await tx.query(sql`
    insert into lessor.fleet_runs
      (id, target, filter, options, claimed_by, claimed_until, holder, pid, process_space)
    values (${ticket.runId}, ${run.target}, ${{ ...run.filter }}, ${{ ...run.options }}, ${ticket.token},
      ${until(ticket)}, ${own.name}, ${own.pid}, ${own.space})
    on conflict ((true)) where state in ('running', 'stopped') do nothing
    returning id`)
  if (rows.length === 0) return false
  await tx.query(sql`
    delete from lessor.fleet_runs
    where id in (select id from lessor.fleet_runs order by started_at desc offset ${KEPT_RUNS})`)
  return true
}

/** takeRun claims an open run; those who failed get another turn. */
export async function takeRun(
  tx: Db,
  ticket: RunTicket,
  options: FleetOptions,
  own: OwnProcess,
): Promise<void> {
  await tx.query(sql`
    update lessor.fleet_runs
    set state = 'running', reason = null, options = ${{ ...options }}, claimed_by = ${ticket.token},
      claimed_until = ${until(ticket)}, holder = ${own.name}, pid = ${own.pid},
      process_space = ${own.space}, updated_at = clock_timestamp()
    where id = ${ticket.runId}`)
  await tx.query(sql`
    update lessor.fleet_tenants set state = 'pending', updated_at = clock_timestamp()
    where run_id = ${ticket.runId} and state = 'failed'`)
}

/** supersedeRun ends an open run that nobody will resume. */
export async function supersedeRun(tx: Db, runId: string): Promise<void> {
  await tx.query(sql`
    update lessor.fleet_runs set state = 'superseded', updated_at = clock_timestamp() where id = ${runId}`)
}

/** renewRun keeps the claim for its whole length from now; false when it is lost. */
export async function renewRun(db: Db, ticket: RunTicket): Promise<boolean> {
  const rows = await db.query(sql`
    update lessor.fleet_runs set claimed_until = ${until(ticket)}, updated_at = clock_timestamp()
    where id = ${ticket.runId} and claimed_by = ${ticket.token}
    returning id`)
  return rows.length > 0
}

/** endRun gives the claim back with the run's state; does nothing when the claim is lost. */
export async function endRun(db: Db, ticket: RunTicket, reason: StopReason | null): Promise<void> {
  await db.query(sql`
    update lessor.fleet_runs
    set state = ${reason === null ? 'finished' : 'stopped'}, reason = ${reason},
      claimed_until = clock_timestamp(), updated_at = clock_timestamp()
    where id = ${ticket.runId} and claimed_by = ${ticket.token}`)
}

/** countWave notes that a wave has ended, so that a resumed run goes on with the next size. */
export async function countWave(db: Db, ticket: RunTicket): Promise<void> {
  await db.query(sql`
    update lessor.fleet_runs set waves = waves + 1
    where id = ${ticket.runId} and claimed_by = ${ticket.token}`)
}

/** enlist adds everybody who is behind, the newest first, and resolves with how many were new to the run. */
export async function enlist(db: Db, ticket: RunTicket, run: NewRun): Promise<number> {
  const rows = await db.query(sql`
    insert into lessor.fleet_tenants (run_id, tenant_id, position)
    select ${ticket.runId}::uuid, t.id,
      (select coalesce(max(position), 0) from lessor.fleet_tenants where run_id = ${ticket.runId})
        + row_number() over (order by t.created_at desc, t.id)
    from lessor.tenants t
    where ${isBehind(run.target, run.filter)}
    on conflict (run_id, tenant_id) do nothing
    returning tenant_id`)
  return rows.length
}

/** nameCanaries makes these tenants of the run its canaries. */
export async function nameCanaries(db: Db, ticket: RunTicket, tenants: readonly string[]): Promise<void> {
  await db.query(sql`
    update lessor.fleet_tenants set is_canary = true
    where run_id = ${ticket.runId} and tenant_id = any(${tenants}::uuid[])`)
}

/** chooseCanaries makes the first `count` tenants of the run its canaries, unless it has some. */
export async function chooseCanaries(db: Db, ticket: RunTicket, count: number): Promise<void> {
  await db.query(sql`
    update lessor.fleet_tenants set is_canary = true
    where run_id = ${ticket.runId}
      and not exists (select from lessor.fleet_tenants where run_id = ${ticket.runId} and is_canary)
      and tenant_id in (
        select tenant_id from lessor.fleet_tenants
        where run_id = ${ticket.runId} and state = 'pending'
        order by position limit ${count})`)
}

/** nextTenants finds who comes next; without a limit, all who are left. */
export async function nextTenants(
  db: Db,
  ticket: RunTicket,
  which: { readonly canary: boolean; readonly limit: number | null },
): Promise<readonly FleetTenant[]> {
  return db.query<FleetTenant>(sql`
    select ${TENANT}
    from lessor.fleet_tenants f
    join lessor.tenants t on t.id = f.tenant_id
    join lessor.namespaces n on n.id = t.namespace_id
    where f.run_id = ${ticket.runId} and f.state = 'pending' and f.is_canary = ${which.canary}
    order by f.position
    limit ${which.limit}`)
}

/** isAlive says whether a tenant is still one to migrate. */
export async function isAlive(db: Db, tenantId: string): Promise<boolean> {
  const rows = await db.query(sql`
    select from lessor.tenants t where t.id = ${tenantId} and ${HAS_OWN_TABLES}`)
  return rows.length > 0
}

/**
 * saveOutcome notes a tenant's turn; false when the claim is lost. The version is noted in any case, since
 * the migration has happened.
 */
export async function saveOutcome(
  db: Db,
  ticket: RunTicket,
  tenantId: string,
  outcome: Pick<Outcome, 'state' | 'attempts' | 'error'> & { readonly version: number | null },
): Promise<boolean> {
  const rows = await db.query(sql`
    with reported as (
      update lessor.tenants
      set schema_version = greatest(coalesce(schema_version, 0), ${outcome.version}::integer)
      where id = ${tenantId} and ${outcome.version}::integer is not null)
    update lessor.fleet_tenants f
    set state = ${outcome.state}, attempts = f.attempts + ${outcome.attempts}, error = ${outcome.error},
      updated_at = clock_timestamp()
    from lessor.fleet_runs r
    where r.id = f.run_id and r.claimed_by = ${ticket.token}
      and f.run_id = ${ticket.runId} and f.tenant_id = ${tenantId}
    returning f.tenant_id`)
  return rows.length > 0
}

/** countOutcomes counts the tenants of a run. */
export async function countOutcomes(db: Db, runId: string): Promise<OutcomeCounts> {
  const rows = await db.query<{ state: OutcomeState; count: number }>(sql`
    select state, count(*)::integer as count from lessor.fleet_tenants where run_id = ${runId} group by state`)
  return {
    pending: 0,
    done: 0,
    failed: 0,
    skipped: 0,
    ...Object.fromEntries(rows.map(({ state, count }) => [state, count])),
  }
}

/** listFailures resolves with the first tenants of a run that failed. */
export async function listFailures(db: Db, runId: string, limit: number): Promise<readonly FleetFailure[]> {
  return db.query<FleetFailure>(sql`
    select t.id, t.name, coalesce(f.error, 'INTERNAL') as error, f.attempts
    from lessor.fleet_tenants f join lessor.tenants t on t.id = f.tenant_id
    where f.run_id = ${runId} and f.state = 'failed'
    order by f.position limit ${limit}`)
}

/** listBehind resolves with everybody who is behind, in the order of a run. */
export async function listBehind(
  db: Db,
  target: number,
  filter: FleetFilter,
): Promise<readonly FleetTenant[]> {
  return db.query<FleetTenant>(sql`
    select ${TENANT}
    from lessor.tenants t join lessor.namespaces n on n.id = t.namespace_id
    where ${isBehind(target, filter)}
    order by t.created_at desc, t.id`)
}

/** countBehind counts those who are behind: it reads the index of those alone. */
export async function countBehind(db: Db, target: number): Promise<number> {
  const [row] = await db.query<{ count: number }>(sql`
    select count(*)::integer as count from lessor.tenants t
    where ${isBehind(target, { servers: [], placements: [], tenants: [] })}`)
  return row?.count ?? 0
}

/** findByNameOrId resolves with the tenants that live and have this id, or this name's key in any namespace. */
export async function findByNameOrId(
  db: Db,
  wanted: { readonly id: string } | { readonly nameKey: string },
): Promise<readonly FleetTenant[]> {
  return db.query<FleetTenant>(sql`
    select ${TENANT}
    from lessor.tenants t join lessor.namespaces n on n.id = t.namespace_id
    where ${'id' in wanted ? sql`t.id = ${wanted.id}` : sql`t.name_key = ${wanted.nameKey}`}
      and t.status in ('active', 'suspended')
    order by t.id limit 10`)
}

function isBehind(target: number, { servers, placements, tenants }: FleetFilter): Statement {
  return sql`${HAS_OWN_TABLES} and ${VERSION} < ${target}
    ${servers.length === 0 ? sql`` : sql`and t.server = any(${servers})`}
    ${placements.length === 0 ? sql`` : sql`and t.placement = any(${placements})`}
    ${tenants.length === 0 ? sql`` : sql`and t.id = any(${tenants}::uuid[])`}`
}

function until(ticket: RunTicket): Statement {
  return sql`clock_timestamp() + ${ticket.claimMs}::integer * interval '1 millisecond'`
}
