import { LessorError } from '../errors.ts'
import { type Db, sql } from '../pool/statement.ts'
import type { Job, JobProgress } from './job.ts'

/** ClaimTicket is the right to work on a job; each claim has a token of its own. */
export interface ClaimTicket {
  readonly jobId: string
  readonly token: string
  /** How long the claim holds without being renewed. */
  readonly claimMs: number
  /** The node that works on it; undefined for a process that is none. */
  readonly node?: string | undefined
}

const COLUMNS = sql`id, kind, tenant_id as "tenantId", step, attempts, tablespace`

/**
 * insertJob makes a job that the ticket's holder has claimed.
 * @throws LessorError TENANT_BUSY when another job works on the tenant
 */
export async function insertJob(
  db: Db,
  ticket: ClaimTicket,
  job: Pick<Job, 'kind' | 'tenantId' | 'step'> & { readonly tablespace?: string | undefined },
): Promise<Job> {
  const [row] = await db.query<Job>(sql`
    insert into lessor.jobs (id, kind, tenant_id, step, tablespace, claimed_by, claimed_node, node_claim, claimed_until)
    values (${ticket.jobId}, ${job.kind}, ${job.tenantId}, ${job.step}, ${job.tablespace ?? null},
      ${ticket.token}, ${ticket.node ?? null}::uuid, ${ticket.token},
      now() + ${ticket.claimMs}::integer * interval '1 millisecond')
    on conflict (tenant_id) do nothing
    returning ${COLUMNS}`)
  if (row === undefined) throw new LessorError('TENANT_BUSY', undefined, { retryAfterSeconds: 1 })
  return row
}

/**
 * takeJob claims a job whose claim has run out, or whose node has no row any more: it has left, or was found dead. Undefined when
 * there is none. Only a node takes over from others before their time. One that is only silent may be back soon, as after an outage of this database. An onboarding is
 * marked to be undone, so that its first holder, should it live, cannot finish it any more.
 */
export async function takeJob(db: Db, claim: Omit<ClaimTicket, 'jobId'>): Promise<Job | undefined> {
  const [row] = await db.query<Job>(sql`
    update lessor.jobs
    set claimed_by = ${claim.token}, claimed_node = ${claim.node ?? null}::uuid, node_claim = ${claim.token}, attempts = attempts + 1, updated_at = now(),
      claimed_until = now() + ${claim.claimMs}::integer * interval '1 millisecond',
      state = case kind when 'onboard' then 'undoing' else state end
    where id = (
      select id from lessor.jobs
      where claimed_until < now()
        or node_claim = claimed_by and claimed_node <> ${claim.node ?? null}::uuid
          and not exists (select from lessor.nodes n where n.id = claimed_node)
      order by claimed_until limit 1
      for update skip locked)
    returning ${COLUMNS}`)
  return row
}

/** enterStep notes the step that comes next and renews the claim; false when the claim is lost. */
export async function enterStep(db: Db, ticket: ClaimTicket, step: string): Promise<boolean> {
  const rows = await db.query(sql`
    update lessor.jobs
    set step = ${step}, updated_at = now(),
      claimed_until = now() + ${ticket.claimMs}::integer * interval '1 millisecond'
    where id = ${ticket.jobId} and claimed_by = ${ticket.token}
    returning id`)
  return rows.length > 0
}

/** noteProgress says how far the step has come and renews the claim; false when the claim is lost. */
export async function noteProgress(db: Db, ticket: ClaimTicket, progress: JobProgress): Promise<boolean> {
  const rows = await db.query(sql`
    update lessor.jobs
    set progress = ${{ ...progress }}, updated_at = now(),
      claimed_until = now() + ${ticket.claimMs}::integer * interval '1 millisecond'
    where id = ${ticket.jobId} and claimed_by = ${ticket.token}
    returning id`)
  return rows.length > 0
}

/** renewClaim keeps the claim for its whole length from now; false when it is lost. */
export async function renewClaim(db: Db, ticket: ClaimTicket): Promise<boolean> {
  const rows = await db.query(sql`
    update lessor.jobs
    set claimed_until = now() + ${ticket.claimMs}::integer * interval '1 millisecond'
    where id = ${ticket.jobId} and claimed_by = ${ticket.token}
    returning id`)
  return rows.length > 0
}

/** markUndoing keeps an onboarding from being finished; false when the claim is lost. */
export async function markUndoing(db: Db, ticket: ClaimTicket): Promise<boolean> {
  const rows = await db.query(sql`
    update lessor.jobs set state = 'undoing', updated_at = now()
    where id = ${ticket.jobId} and claimed_by = ${ticket.token}
    returning id`)
  return rows.length > 0
}

/** releaseJob gives the claim back after a failure; the job may be taken again after `retryMs`, and has had so many attempts then. */
export async function releaseJob(
  db: Db,
  ticket: ClaimTicket,
  failure: { readonly attempts: number; readonly error: string; readonly retryMs: number },
): Promise<void> {
  await db.query(sql`
    update lessor.jobs
    set error = ${failure.error}, attempts = ${failure.attempts}::integer, updated_at = now(), claimed_node = null,
      claimed_until = now() + ${failure.retryMs}::integer * interval '1 millisecond'
    where id = ${ticket.jobId} and claimed_by = ${ticket.token}`)
}

/** finishJob removes a job that is done; false when the claim is lost. */
export async function finishJob(db: Db, ticket: ClaimTicket): Promise<boolean> {
  const rows = await db.query(sql`
    delete from lessor.jobs
    where id = ${ticket.jobId} and claimed_by = ${ticket.token} and state = 'running'
    returning id`)
  return rows.length > 0
}
