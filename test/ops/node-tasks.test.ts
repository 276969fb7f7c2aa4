import { mock } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { sql } from '../../src/pool/statement.ts'
import type { TaskName } from '../../src/tasks.ts'
import { type TestApp, testApp } from '../support/app.ts'
import { testDatabase } from '../support/database.ts'
import { hold } from '../tenants/logins.ts'

/** Runs of a task so far, well and badly. */
function runsOf({ lessor }: TestApp, name: TaskName): { readonly ok: number; readonly failed: number } {
  return lessor.tasks.list().find((state) => state.name === name)?.runs ?? { ok: 0, failed: 0 }
}

/** For how long the run of a task has been under way. */
function runningMs({ lessor }: TestApp, name: TaskName): number {
  return lessor.tasks.list().find((state) => state.name === name)?.runningMs ?? 0
}

/** Resolves when it holds; the test's own timeout is the limit. */
async function until(is: () => boolean): Promise<void> {
  while (!is()) await sleep(5)
}

const FIVE_MINUTES = 300_000

t.test('all that a node repeats by itself is counted, each by its name', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const app = await testApp(t, { SWEEP_CRON: '* * * * * *' })
  await until(() => runsOf(app, 'listener').ok > 0)
  // By intervals, which the test moves.
  mock.timers.tick(FIVE_MINUTES)
  const byItself: TaskName[] = ['changes', 'changes_trim', 'connection_limits', 'vault_keys']
  for (const task of byItself) await until(() => runsOf(app, task).ok > 0)
  const recovered: TaskName[] = [
    'data_servers',
    'jobs',
    'settlements',
    'visits',
    'answers',
    'counts',
    'failing_jobs',
  ]
  for (const task of recovered) await until(() => runsOf(app, task).ok > 0)
  await until(() => runsOf(app, 'node_lease').ok > 0 && runsOf(app, 'sweep').ok > 0)
  t.strictSame(
    app.lessor.tasks
      .list()
      .filter(({ runs }) => runs.failed > 0)
      .map(({ name }) => name),
    [],
  )
})

t.test('what a node repeats and cannot do is counted as failed, and works again', async (t) => {
  const app = await testApp(t, { CHANGE_POLL_MS: '100' })
  const { control, tasks } = app.lessor
  await until(() => runsOf(app, 'listener').ok > 0)
  await control.script(`
    alter table lessor.nodes rename to no_nodes;
    alter table lessor.change_counter rename to no_counter;
    alter table lessor.vault_keys rename to no_keys`)
  await control.query(sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and query ilike 'listen %'`)
  await until(() => runsOf(app, 'listener').failed > 0)
  // Whoever listens again looks at the keys.
  await until(() => runsOf(app, 'vault_keys').failed > 0)
  await until(() => tasks.failing().includes('node_lease') && tasks.failing().includes('changes'))
  await control.script(`
    alter table lessor.no_nodes rename to nodes;
    alter table lessor.no_counter rename to change_counter;
    alter table lessor.no_keys rename to vault_keys`)
  await until(() => tasks.failing().length === 0)
  t.ok(runsOf(app, 'listener').ok >= 2)
})

t.test('sweeps, trials of the walls and limits of logins that fail are counted as failed', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const everySecond = '* * * * * *'
  const app = await testApp(t, { SWEEP_CRON: everySecond, ISOLATION_CRON: everySecond })
  const { control, pools } = app.lessor
  mock.method(pools, 'sweep', () => {
    throw new Error('of the test')
  })
  await control.script('alter table lessor.tenants rename to elsewhere')
  mock.timers.tick(FIVE_MINUTES)
  const failing: TaskName[] = ['connection_limits', 'isolation', 'sweep']
  for (const task of failing) await until(() => runsOf(app, task).failed > 0)
  t.strictSame([runsOf(app, 'connection_limits').ok, runsOf(app, 'isolation').ok], [0, 0])
})

t.test('a removal of old changes that is under way is not begun again', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const { lessor } = await testApp(t)
  const { tasks } = lessor
  const run = tasks.run.bind(tasks)
  const held = Promise.withResolvers<void>()
  const trims: Promise<void>[] = []
  mock.method(tasks, 'run', (name: TaskName, work: () => unknown) => {
    if (name !== 'changes_trim') return run(name, work)
    const trim = run(name, () => held.promise.then(work))
    trims.push(trim)
    return trim
  })
  mock.timers.tick(FIVE_MINUTES)
  mock.timers.tick(FIVE_MINUTES)
  t.equal(trims.length, 1)
  held.resolve()
  await Promise.all(trims)
  mock.timers.tick(FIVE_MINUTES)
  t.equal(trims.length, 2, 'and is when it has ended')
  await Promise.all(trims)
})

t.test('a run that begins and ends at one place is seen for as long as it is under way', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const app = await testApp(t, { ISOLATION_CRON: '* * * * * *' })
  const { control, servers } = app.lessor
  const held = Promise.withResolvers<void>()
  const admin = servers.admin.bind(servers)
  mock.method(servers, 'admin', async (name: string) => {
    await held.promise
    return admin(name)
  })
  mock.timers.tick(FIVE_MINUTES)
  for (const task of ['connection_limits', 'isolation'] as const) {
    await until(() => runningMs(app, task) > 0)
    t.strictSame(runsOf(app, task), { ok: 0, failed: 0 })
  }
  held.resolve()
  await until(() => runsOf(app, 'connection_limits').ok > 0 && runsOf(app, 'isolation').ok > 0)
  t.equal(runningMs(app, 'connection_limits'), 0)
  await until(() => runningMs(app, 'vault_keys') === 0)
  await control.transaction(async (tx) => {
    await tx.script('lock table lessor.vault_keys')
    mock.timers.tick(FIVE_MINUTES)
    await until(() => runningMs(app, 'vault_keys') > 0)
  })
  await until(() => runningMs(app, 'vault_keys') === 0)
})

t.test('each step of recovery that cannot be done is counted as failed', async (t) => {
  const app = await testApp(t)
  const { control, tasks, tenants } = app.lessor
  const steps = tenants.recoverySteps.map(({ task }) => task)
  t.strictSame(steps.toSorted(), ['answers', 'counts', 'failing_jobs', 'jobs', 'settlements', 'visits'])
  const before = new Map(steps.map((task) => [task, runsOf(app, task).failed]))
  await control.script('alter schema lessor rename to elsewhere')
  for (const { task, run } of tenants.recoverySteps) await tasks.run(task, run)
  await control.script('alter schema elsewhere rename to lessor')
  for (const task of steps) t.ok(runsOf(app, task).failed > (before.get(task) ?? 0), task)
})

t.test('a step of recovery that hangs, and one that fails, keep no other from running', async (t) => {
  const { url } = await testDatabase(t, { template: 'control' })
  const db = new ControlDatabase({ url })
  t.teardown(() => db.close())
  await db.script(`
    create function lessor.refuse() returns trigger language plpgsql as $$ begin raise exception 'of the test'; end $$;
    create trigger refuse before delete on lessor.idempotency_keys for each statement execute function lessor.refuse()`)
  // Whoever reads the table goes on.
  const lock = await hold({ db }, sql`lock table lessor.login_settlements in share mode`)
  const app = await testApp(t, { DATABASE_URL: url })
  const others: TaskName[] = ['data_servers', 'jobs', 'visits', 'counts', 'failing_jobs']
  for (const task of others) await until(() => runsOf(app, task).ok > 0)
  await until(() => runsOf(app, 'answers').failed > 0)
  t.strictSame([runsOf(app, 'settlements'), runsOf(app, 'answers').ok], [{ ok: 0, failed: 0 }, 0])
  await lock.release()
  await until(() => runsOf(app, 'settlements').ok > 0)
})
