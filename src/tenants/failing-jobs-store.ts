import { type Db, sql } from '../pool/statement.ts'
import { type FailingJobs, type FailingKind, NONE_FAILING } from './job.ts'

/** With the pauses between them, so many attempts take more than a minute. */
const ATTEMPTS = 5
/** Longer than several runs of recovery. */
const OVERDUE_MINUTES = 5

/**
 * countFailingJobs counts the work that fails again and again: jobs and unsettled logins that have had five attempts,
 * and persons' logins whose time was over five minutes ago. A job without an error is one whose processes have died.
 */
export async function countFailingJobs(db: Db): Promise<FailingJobs> {
  const rows = await db.query<{ kind: FailingKind; count: number }>(sql`
    select kind, count(*)::integer as count
    from (
      select kind from lessor.jobs where attempts >= ${ATTEMPTS}::integer
      union all
      select 'settle' from (
        select distinct tenant_id from lessor.login_settlements where attempts >= ${ATTEMPTS}::integer
      ) unsettled
      union all
      select 'end_visit' from lessor.visits
      where valid_until < now() - ${OVERDUE_MINUTES}::integer * interval '1 minute'
    ) failing
    group by kind`)
  return { ...NONE_FAILING, ...Object.fromEntries(rows.map(({ kind, count }) => [kind, count])) }
}
