import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { like, sameRows } from '../support/like.ts'
import { appFolder, databaseOf, environment, NOTES, onboard, openFleetHouse } from './house.ts'
import type { MigratePlan } from './migrate-process.ts'

const PROCESS = fileURLToPath(new URL('./migrate-process.ts', import.meta.url))

/** Slow enough to be killed in the middle. */
const SLOW = `${NOTES} select pg_sleep(0.1);`

/** Each time that it is committed it leaves one row in `runs`. */
const COUNTED = `${SLOW} insert into public.runs (schema) select current_schema();`

async function openPlan(t: Test, files: Readonly<Record<string, string>>) {
  const { url } = await testDatabase(t, { template: 'control' })
  const { lessor } = await openFleetHouse(t, { url, serves: true })
  const admin = await lessor.servers.admin('default')
  const plan: MigratePlan = { url, keys: environment, appFiles: await appFolder(t, files), args: ['--json'] }
  return { lessor, admin, plan }
}

interface Line {
  readonly event: string
  readonly state?: string
  readonly resumed?: boolean
  readonly counts?: { readonly done: number; readonly pending: number }
}

/** run resolves when the process has ended, with the lines of JSON that it wrote. */
async function run(t: Test, plan: MigratePlan) {
  const child = spawn(process.execPath, [PROCESS, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  const lines: Line[] = out
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
  return { status: child.exitCode, signal: child.signalCode, lines, errors }
}

/** Where nobody can tell that the other process is dead, its claim has to run out. */
async function runUntilNotBusy(t: Test, plan: MigratePlan) {
  for (;;) {
    const ended = await run(t, plan)
    if (!ended.errors.includes('FleetBusyError')) return ended
  }
}

t.test('killed half-way through twelve tenants and run again, each is migrated exactly once', async (t) => {
  const { admin, lessor, plan } = await openPlan(t, { '000002-notes.sql': COUNTED })
  const ids = await onboard(t, lessor, ...Array.from({ length: 12 }, () => 'schema' as const))
  // A hole in the walls, so only once they have been checked.
  await admin.script(`
    create table public.runs (schema name not null);
    grant usage on schema public to lessor_ddl;
    grant insert on public.runs to lessor_ddl;`)
  const killed = await run(t, { ...plan, ends: { signal: 'SIGKILL', after: 5 } })
  t.equal(killed.signal, 'SIGKILL')
  const [left] = await lessor.control.query<{ done: number; pending: number }>(sql`
    select count(*) filter (where state = 'done')::integer as done,
      count(*) filter (where state = 'pending')::integer as pending
    from lessor.fleet_tenants`)
  t.ok(left && left.done >= 5 && left.pending >= 1, 'it was half-way')

  const resumed = await runUntilNotBusy(t, plan)
  t.equal(resumed.status, 0, resumed.errors)
  like(t, resumed.lines.at(0), { event: 'begin', resumed: true, counts: left })
  like(t, resumed.lines.at(-1), { event: 'report', state: 'finished', counts: { done: 12, pending: 0 } })
  const runs = await admin.query(sql`
    select schema::text, count(*)::integer as runs from public.runs where schema <> 'app' group by schema order by 1`)
  sameRows(
    t,
    runs,
    ids
      .map(databaseOf)
      .sort()
      .map((schema) => ({ schema, runs: 1 })),
  )
  const ledger = await admin.query(sql`
    select count(*)::integer as rows, count(distinct schema_name)::integer as tenants
    from lessor.schema_migrations where version = 2`)
  sameRows(t, ledger, [{ rows: 12, tenants: 12 }])
  for (const id of ids) t.equal((await lessor.tenants.get(id)).schemaVersion, 2)
})

t.test('SIGTERM ends what is under way and leaves the rest for the next go', async (t) => {
  const { lessor, plan } = await openPlan(t, { '000002-notes.sql': SLOW })
  await onboard(t, lessor, 'schema', 'schema', 'schema', 'schema')
  const stopped = await run(t, { ...plan, ends: { signal: 'SIGTERM', after: 1 } })
  t.equal(stopped.status, 1, stopped.errors)
  like(t, stopped.lines.at(-1), { event: 'report', state: 'stopped', reason: 'interrupted' })
  const [row] = await lessor.control.query(sql`
    select state, reason, claimed_until <= clock_timestamp() as free from lessor.fleet_runs`)
  t.strictSame(row, { state: 'stopped', reason: 'interrupted', free: true })
  const resumed = await run(t, plan)
  t.equal(resumed.status, 0, resumed.errors)
  like(t, resumed.lines.at(-1), { event: 'report', state: 'finished', counts: { done: 4 } })
})
