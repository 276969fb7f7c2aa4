import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { FAILING_RUNS } from '../../src/tasks.ts'
import { type TestApp, testApp } from '../support/app.ts'
import { testDatabase } from '../support/database.ts'

const REFUSE_FOLDING = `
  create function lessor.refuse() returns trigger language plpgsql as
    $$ begin raise exception 'no room' using errcode = 'disk_full'; end $$;
  create trigger refuse before delete on lessor.tenant_counts for each statement execute function lessor.refuse()`

/** Runs each step of recovery once, as the service does on its schedule. */
async function recoverOnce({ lessor: { tasks, tenants } }: TestApp): Promise<void> {
  for (const { task, run } of tenants.recoverySteps) await tasks.run(task, run)
}

async function metricsOf(app: TestApp): Promise<readonly string[]> {
  return (await app.operator({ url: '/metrics' })).body.split('\n')
}

function aboutTasks(app: TestApp) {
  return app
    .logged()
    .filter(({ task }) => task !== undefined)
    .map(({ level, msg, task }) => ({ level, msg, task }))
}

t.test(
  'a temporary login ends though a step of recovery fails, and that is logged and counted',
  async (t) => {
    const { url: DATABASE_URL } = await testDatabase(t)
    const before = await testApp(t, { DATABASE_URL })
    const { id } = await before.onboard()
    const { tenants } = before.lessor
    const { role } = await tenants.visits.open({ tenantId: id, visitor: 'ada', minutes: 1, writes: false })
    await before.lessor.control.query(sql`update lessor.visits set valid_until = now() - interval '1 second'`)
    await before.lessor.control.script(REFUSE_FOLDING)
    await before.app.close()

    const app = await testApp(t, {
      DATABASE_URL,
      VAULT_KEYS: before.vaultKeys,
      OPERATOR_KEY: before.operatorKey,
    })
    const hasLogin = sql`select from pg_roles where rolname = ${role}`
    while ((await app.lessor.control.query(hasLogin)).length > 0) await sleep(5)
    const failures = () => app.lessor.tasks.list().find(({ name }) => name === 'counts')?.runs.failed ?? 0
    while (failures() === 0) await sleep(5)
    const lines = await metricsOf(app)
    t.ok(lines.some((line) => /^lessor_task_runs_total\{task="counts",outcome="failed"\} [1-9]/.test(line)))
    t.ok(lines.some((line) => /^lessor_task_runs_total\{task="visits",outcome="failed"\} 0$/.test(line)))
    t.strictSame(aboutTasks(app)[0], {
      level: 40,
      msg: 'a task failed, it will be run again',
      task: 'counts',
    })
    const [line] = app.logged().filter(({ task }) => task !== undefined)
    t.match(JSON.stringify(line), /no room/)
  },
)

t.test(
  'a task that fails again and again is a reason of /readyz and a metric, and takes no requests away',
  async (t) => {
    const app = await testApp(t)
    const { control } = app.lessor
    await recoverOnce(app)
    const well = (await app.app.inject('/readyz')).json()
    t.strictSame([well.status, well.reasons], ['ready', []])
    t.strictSame([well.checks.background_tasks, well.checks.tenant_jobs], ['ok', 'ok'])

    await control.script(REFUSE_FOLDING)
    for (let run = 0; run < FAILING_RUNS; run++) await recoverOnce(app)
    const response = await app.app.inject('/readyz')
    t.equal(response.statusCode, 200)
    t.strictSame(response.json(), {
      ...well,
      reasons: ['Tasks of this process fail again and again (counts); the log says why'],
      checks: { ...well.checks, background_tasks: 'failed' },
    })
    const lines = await metricsOf(app)
    t.ok(lines.includes(`lessor_task_failures_in_a_row{task="counts"} ${FAILING_RUNS}`))
    t.ok(lines.includes('lessor_task_failures_in_a_row{task="visits"} 0'))
    t.strictSame(aboutTasks(app).at(-1), {
      level: 50,
      msg: 'a task fails again and again, what it is for is not done',
      task: 'counts',
    })

    await control.script('drop trigger refuse on lessor.tenant_counts')
    await recoverOnce(app)
    t.strictSame((await app.app.inject('/readyz')).json(), well)
    t.strictSame(aboutTasks(app).at(-1), {
      level: 30,
      msg: 'a task that had failed works again',
      task: 'counts',
    })
  },
)

t.test(
  "a tenant's job that fails again and again is reported, and names no tenant to those without a key",
  async (t) => {
    const app = await testApp(t)
    const { id } = await app.onboard('shop')
    await app.lessor.control.query(sql`
    insert into lessor.jobs (id, kind, tenant_id, step, attempts, error, claimed_by, claimed_until)
    values (gen_random_uuid(), 'delete', ${id}::uuid, 'rows', 5, '53200', gen_random_uuid(), now() + interval '1 hour')`)
    await recoverOnce(app)
    const response = await app.app.inject('/readyz')
    t.equal(response.statusCode, 200)
    const { checks, reasons, status } = response.json()
    t.equal(status, 'ready')
    t.strictSame(reasons, ['Work on tenants fails again and again (delete); the log says of which and why'])
    t.strictSame([checks.background_tasks, checks.tenant_jobs], ['ok', 'failed'])
    t.notOk(response.body.includes(id) || response.body.includes('shop'))
    const glance = (await app.app.inject('/health_check')).json()
    t.strictSame([glance.status, glance.checks], ['ok', checks])
    const lines = await metricsOf(app)
    t.ok(lines.includes('lessor_jobs_failing{kind="delete"} 1'))
    t.ok(lines.includes('lessor_jobs_failing{kind="end_visit"} 0'))
  },
)
