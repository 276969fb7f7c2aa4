import './own-server.ts'
import t from 'tap'
import { createLogger } from '../../src/http/logger.ts'
import { IsolationCheck } from '../../src/isolation/isolation-check.ts'
import { IsolationJob } from '../../src/isolation/isolation-job.ts'
import type { IsolationReport } from '../../src/isolation/report.ts'
import { CANARY_NAMESPACE } from '../../src/tenants/namespace.ts'
import { PLACEMENTS } from '../../src/tenants/tenant.ts'
import { openAdmin } from '../placement/support.ts'
import { testApp } from '../support/app.ts'
import { excludes, like, rejectsLike, throwsLike } from '../support/like.ts'

const HELD: IsolationReport = {
  held: true,
  version: '1',
  startedAt: '2026-01-01T00:00:00.000Z',
  durationMs: 1,
  stages: [],
  catalogs: [],
  trials: [],
}
const BROKEN = { ...HELD, held: false }

function makeCheck(outcomes: (IsolationReport | Error)[]) {
  let now = 1000
  let runs = 0
  const check = new IsolationCheck({
    clock: { now: () => now },
    timeoutMs: 60_000,
    freshMs: 100,
    prove: async () => {
      runs++
      const outcome = outcomes.shift()
      if (outcome === undefined || outcome instanceof Error) throw outcome ?? new Error('no more outcomes')
      return outcome
    },
  })
  return {
    check,
    runs: () => runs,
    pass: (ms: number) => {
      now += ms
    },
  }
}

t.test('a running service tries its walls in every placement in use, with tenants of its own', async (t) => {
  const { lessor, operator, databaseUrl } = await testApp(t, { ISOLATION_CRON: 'off' })
  const real = []
  for (const placement of PLACEMENTS) {
    const { tenant } = await lessor.tenants.onboard({ name: `real ${placement}`, placement })
    real.push(tenant)
  }
  const before = await metricsOf()
  t.ok(/^lessor_isolation_held NaN$/im.test(before))
  t.ok(/^lessor_isolation_last_held_timestamp_seconds 0$/m.test(before))

  const response = await operator({ url: '/ops/isolation' })
  t.equal(response.statusCode, 200)
  const report = response.json()
  t.strictSame([report.broken_rules, report.failed_attacks], [[], []])
  t.equal(report.held, true)
  t.strictSame(
    new Set(report.stages.map(({ placement }: { placement: string }) => placement)),
    new Set(PLACEMENTS),
  )
  for (const stage of report.stages) t.ok(stage.attacks > 20, `${stage.placement}: ${stage.attacks} attacks`)
  excludes(t, response.body, /password|SCRAM/i)

  const { records } = (await operator({ url: `/v1/tenants?namespace=${CANARY_NAMESPACE}` })).json()
  t.equal(records.length, 2 * PLACEMENTS.length, 'two canaries for each placement')
  const listed = (await operator({ url: '/v1/tenants' })).json()
  t.strictSame(
    new Set(listed.records.map(({ id }: { id: string }) => id)),
    new Set(real.map(({ id }) => id)),
    'which are not among the others',
  )
  const again = (await operator({ url: '/ops/isolation' })).json()
  t.equal(again.started_at, report.started_at, 'the next one gets the same report')

  const metrics = await metricsOf()
  t.ok(/^lessor_isolation_held 1$/m.test(metrics))
  t.ok(/^lessor_isolation_last_held_timestamp_seconds \d{10}/m.test(metrics))
  t.ok(/^lessor_isolation_attacks\{outcome="held"\} [1-9]/m.test(metrics))
  t.ok(/^lessor_isolation_attacks\{outcome="failed"\} 0$/m.test(metrics))

  // A table that nobody protects, as a deployment would bring it.
  await openAdmin(t, databaseUrl).script('create table app.forgotten (id integer primary key)')
  const broken = await lessor.isolation.prove(AbortSignal.timeout(60_000))
  t.equal(broken.held, false)
  const objects = broken.catalogs.flatMap((catalog) => catalog.broken.map(({ object }) => object))
  t.strictSame([...new Set(objects)].toSorted(), ['app.forgotten', 'app.forgotten_pkey'])

  async function metricsOf() {
    return (await operator({ url: '/metrics' })).body
  }
})

t.test('what tries the walls of a running service reaches for no row of a real tenant', async (t) => {
  const { lessor, operator, databaseUrl } = await testApp(t, { ISOLATION_CRON: 'off' })
  await lessor.tenants.onboard({ name: 'real' })
  t.equal((await operator({ url: '/ops/isolation' })).statusCode, 200)
  const admin = openAdmin(t, databaseUrl)
  // A wall that is down, and a trap for whoever comes near the rows behind it.
  await admin.script(`
    alter table app.users disable row level security;
    insert into app.users (tenant_id, first_name, last_name)
      select gen_random_uuid(), 'real', 'real' from generate_series(1, 50);
    create function app.trap() returns trigger language plpgsql as $$ begin
      if old.first_name = 'real' then raise exception 'a real row was touched' using errcode = 'ZZ001'; end if;
      return coalesce(new, old);
    end $$;
    create trigger trap before update or delete on app.users for each row execute function app.trap()`)
  const report = await lessor.isolation.prove(AbortSignal.timeout(60_000))
  t.equal(report.held, false)
  const outcomes = report.trials.map(({ outcome }) => outcome)
  t.notOk(outcomes.some((outcome) => outcome.includes('ZZ001')))
  t.ok(
    outcomes.some((outcome) => /rows of others/.test(outcome)),
    'the canaries see each other',
  )
  t.notOk(
    outcomes.some((outcome) => /\b5\d\b/.test(outcome)),
    'and nobody else',
  )
})

t.test('only operators see the proof', async (t) => {
  const { app, onboard } = await testApp(t, { ISOLATION_CRON: 'off' })
  t.equal((await app.inject({ url: '/ops/isolation' })).statusCode, 401)
  const tenant = await onboard()
  t.equal((await tenant.inject({ url: '/ops/isolation' })).statusCode, 403)
})

t.test('there is one run at a time, and none while the last report is fresh', async (t) => {
  const { check, runs, pass } = makeCheck([HELD, HELD])
  t.equal(check.state.held, undefined)
  await Promise.all([check.run(), check.run()])
  await check.run()
  t.equal(runs(), 1)
  like(t, check.state, { held: true, lastHeldAt: 1000 })
  pass(100)
  await check.run()
  t.equal(runs(), 2)
  t.equal(check.state.lastHeldAt, 1100)
})

t.test('a wall that does not hold is tried once more before anybody is alarmed', async (t) => {
  const { check, pass } = makeCheck([BROKEN, HELD, BROKEN, BROKEN])
  t.equal((await check.run()).held, true)
  pass(100)
  t.equal((await check.run()).held, false)
  like(t, check.state, { held: false, lastHeldAt: 1000 })
})

t.test('a run that could not be made leaves what was known', async (t) => {
  const { check, pass } = makeCheck([HELD, new Error('no server')])
  await check.run()
  pass(100)
  await rejectsLike(t, check.run(), { message: 'no server' })
  like(t, check.state, { held: true, lastHeldAt: 1000 })
})

t.test('closing ends a run under way', async (t) => {
  const check = new IsolationCheck({
    clock: { now: () => 0 },
    timeoutMs: 60_000,
    freshMs: 100,
    prove: (signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  })
  const run = check.run()
  const rejected = rejectsLike(t, run, { code: 'SHUTTING_DOWN' })
  await check.close()
  await rejected
})

t.test('a run that takes too long ends, and says that a server does not answer', async (t) => {
  const check = new IsolationCheck({
    clock: { now: () => 0 },
    timeoutMs: 20,
    freshMs: 100,
    prove: (signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  })
  const alive = setInterval(() => {}, 1000)
  await rejectsLike(t, check.run(), { code: 'SERVER_UNAVAILABLE' })
  clearInterval(alive)
})

t.test('the schedule may be off, and is checked when it is not', async (t) => {
  const { logger } = createLogger('silent', { write: () => {} })
  const check = { run: async () => HELD }
  throwsLike(t, () => new IsolationJob({ cron: '99 * * * * *', check, logger }), {
    message: /ISOLATION_CRON must be a cron expression/,
  })
  const off = new IsolationJob({ cron: 'off', check, logger })
  off.start()
  off.stop()
})

t.test('the job says in the log what does not hold, and that a run could not be made', async (t) => {
  for (const [outcome, level, message, failures] of [
    [BROKEN, 50, 'the walls between tenants do not hold', 0],
    [new Error('no server'), 40, 'the walls between tenants could not be tried', 1],
  ] as const) {
    const turn = Promise.withResolvers<number>()
    const { promise, resolve } = Promise.withResolvers<Record<string, unknown>>()
    const { logger } = createLogger('info', { write: (line) => resolve(JSON.parse(line)) })
    const run = async () => {
      if (outcome instanceof Error) throw outcome
      return outcome
    }
    let begun = 0
    const beginTurn = () => {
      begun += 1
      return turn.resolve
    }
    const job = new IsolationJob({ cron: '* * * * * *', check: { run }, logger, beginTurn })
    job.start()
    // The job's timer does not keep a process alive.
    const alive = setInterval(() => {}, 1000)
    const line = await promise
    t.equal(await turn.promise, failures)
    t.ok(begun > 0)
    clearInterval(alive)
    job.stop()
    like(t, line, { level, msg: message })
  }
})
