import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { LessorError } from '../../src/errors.ts'
import { hexOf } from '../../src/placement/tenant-names.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { NONE_FAILING } from '../../src/tenants/job.ts'
import { Jobs } from '../../src/tenants/jobs.ts'
import { Recovery } from '../../src/tenants/recovery.ts'
import type { TenantService } from '../../src/tenants/tenant-service.ts'
import { Visits } from '../../src/tenants/visits.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike } from '../support/like.ts'
import { type House, openHouse } from './house.ts'

async function openBrokenHouse(t: Test): Promise<House> {
  const { url } = await testDatabase(t, { template: 'control' })
  return openHouse(t, { url, offers: ['role'] })
}

/** Gives each step of recovery something to do, and resolves with what shows whether it did. */
async function leaveWork({ db, tenants }: House) {
  const { tenant: visited } = await tenants.onboard({ name: 'Visited' })
  const { role } = await tenants.visits.open({
    tenantId: visited.id,
    visitor: 'ada',
    minutes: 1,
    writes: false,
  })
  const { tenant: suspended } = await tenants.onboard({ name: 'Suspended' })
  const { tenant: left } = await tenants.onboard({ name: 'Left' })
  await db.query(sql`update lessor.visits set valid_until = now() - interval '1 second'`)
  // As a process leaves them that dies between two statements.
  await db.query(sql`update lessor.tenants set status = 'suspended' where id = ${suspended.id}::uuid`)
  await db.query(sql`
    insert into lessor.login_settlements (id, tenant_id, retry_at)
    values (gen_random_uuid(), ${suspended.id}::uuid, now() - interval '1 second')`)
  await db.query(sql`update lessor.tenants set status = 'deleting' where id = ${left.id}::uuid`)
  await db.query(sql`
    insert into lessor.jobs (id, kind, tenant_id, step, claimed_by, claimed_until)
    values (gen_random_uuid(), 'delete', ${left.id}::uuid, 'begin', gen_random_uuid(), now() - interval '1 second')`)
  await db.query(sql`
    insert into lessor.idempotency_keys (scope, key_hash, request_hash, response, key_id, expires_at)
    values ('s', '\\x00', '\\x00', '\\x00', 'k', now() - interval '1 second')`)
  await db.query(sql`
    insert into lessor.tenant_counts select 'default', 'role', 'active', 0 from generate_series(1, 200)`)

  return async () => ({
    jobs: (await tenants.get(left.id)).status === 'deleted',
    settlements: !(await exists(
      db,
      sql`
      select from pg_roles where rolname ~ ('^t[bg]_' || ${hexOf(suspended.id)}::text) and rolcanlogin`,
    )),
    visits: !(await exists(db, sql`select from pg_roles where rolname = ${role}`)),
    answers: !(await exists(db, sql`select from lessor.idempotency_keys`)),
    counts: !(await exists(db, sql`select from lessor.tenant_counts offset 100`)),
  })
}

async function exists(db: Db, statement: Parameters<Db['query']>[0]): Promise<boolean> {
  return (await db.query(statement)).length > 0
}

/** What each step cannot do without; a trigger refuses it as a full disk would. */
const BREAKS = {
  jobs: ['jobs', 'update'],
  settlements: ['login_settlements', 'update'],
  answers: ['idempotency_keys', 'delete'],
  counts: ['tenant_counts', 'delete'],
} as const

for (const [step, [table, verb]] of Object.entries(BREAKS)) {
  t.test(`recovery does all else though its step ${step} fails, and again when that works`, async (t) => {
    const house = await openBrokenHouse(t)
    const { db, tenants } = house
    const look = await leaveWork(house)
    await db.script(`
      create function lessor.refuse() returns trigger language plpgsql as
        $$ begin raise exception 'no room' using errcode = 'disk_full'; end $$;
      create trigger refuse before ${verb} on lessor.${table} for each statement execute function lessor.refuse()`)
    await rejectsLike(t, tenants.recover(), { code: '53100' })
    const done = { jobs: true, settlements: true, visits: true, answers: true, counts: true }
    t.strictSame(await look(), { ...done, [step]: false })
    await db.script(`drop trigger refuse on lessor.${table}`)
    await tenants.recover()
    t.strictSame(await look(), done)
  })
}

t.test('where several steps fail, all of that is told', async (t) => {
  const house = await openBrokenHouse(t)
  const look = await leaveWork(house)
  // Two steps read it: the one that drops logins, and the one that counts what fails.
  await house.db.script('alter table lessor.visits rename to away')
  const error = await house.tenants.recover().catch((reason: unknown) => reason)
  t.ok(error instanceof AggregateError)
  if (!(error instanceof AggregateError)) return
  t.strictSame(
    error.errors.map(({ code }) => code),
    ['42P01', '42P01'],
  )
  const { answers, counts, visits } = await look()
  t.strictSame({ answers, counts, visits }, { answers: true, counts: true, visits: false })
})

t.test('the steps of a service reject once it is closed, so that nothing begins any more', async (t) => {
  const { tenants } = await openBrokenHouse(t)
  t.strictSame(
    tenants.recoverySteps.map(({ task }) => task),
    ['jobs', 'settlements', 'visits', 'answers', 'counts', 'failing_jobs'],
  )
  for (const { run } of tenants.recoverySteps) await run()
  await tenants.close()
  for (const { run } of tenants.recoverySteps) await rejectsLike(t, run(), { code: 'SHUTTING_DOWN' })
})

t.test(
  'concurrent calls of a step share one run, other steps run meanwhile, and taken jobs are told',
  async (t) => {
    const { db, tenants } = await openBrokenHouse(t)
    const { tenant } = await tenants.onboard({ name: 'Left' })
    await db.query(sql`
    insert into lessor.jobs (id, kind, tenant_id, step, claimed_by, claimed_until)
    values (gen_random_uuid(), 'delete', ${tenant.id}::uuid, 'begin', gen_random_uuid(), now() - interval '1 second')`)
    const gate = Promise.withResolvers<void>()
    const counts = { settlements: 0, sweeps: 0 }
    const taken: number[] = []
    const bug = () => Promise.reject(new Error('bug: there is no such job'))
    const recovery = new Recovery({
      db,
      jobs: new Jobs({ db, claimMs: 30_000, observer: { failed() {}, overdue() {} } }),
      onboarding: { resume: bug },
      deletion: { run: (claim) => claim.finish(db) },
      rotation: { resume: bug },
      promotion: { resume: bug },
      suspension: {
        async settleAll() {
          counts.settlements += 1
          await gate.promise
        },
      },
      visits: {
        async sweep() {
          counts.sweeps += 1
        },
      },
      onTaken: (jobs) => taken.push(jobs),
    })
    const [jobs, settlements, visits] = recovery.steps
    if (jobs === undefined || settlements === undefined || visits === undefined)
      throw new Error('too few steps')
    const both = [settlements.run(), settlements.run()]
    t.strictSame(counts, { settlements: 1, sweeps: 0 })
    await visits.run()
    t.strictSame(counts, { settlements: 1, sweeps: 1 })
    gate.resolve()
    await Promise.all(both)
    await settlements.run()
    t.strictSame(counts, { settlements: 2, sweeps: 1 })
    await jobs.run()
    await jobs.run()
    t.strictSame(taken, [1], 'a run without jobs tells nothing')
  },
)

/** Runs the one step that counts what fails. */
async function failingOf(tenants: TenantService) {
  await tenants.recoverySteps.find(({ task }) => task === 'failing_jobs')?.run()
  return tenants.failingJobs
}

t.test('work on tenants fails again and again after five attempts, and by kind', async (t) => {
  const { db, tenants } = await openBrokenHouse(t)
  t.strictSame(tenants.failingJobs, NONE_FAILING, 'before the first look')
  const onboard = async (name: string) => (await tenants.onboard({ name })).tenant.id
  const [a, b, c, d] = [await onboard('a'), await onboard('b'), await onboard('c'), await onboard('d')]
  const claimed = sql`gen_random_uuid(), now() + interval '1 hour'`
  await db.query(sql`
    insert into lessor.jobs (id, kind, tenant_id, step, attempts, error, claimed_by, claimed_until)
    values (gen_random_uuid(), 'delete', ${a}::uuid, 'rows', 5, '53200', ${claimed}),
      (gen_random_uuid(), 'rotate', ${b}::uuid, 'login', 4, '53200', ${claimed}),
      (gen_random_uuid(), 'promote', ${c}::uuid, 'copy', 9, null, ${claimed})`)
  await db.query(sql`
    insert into lessor.login_settlements (id, tenant_id, attempts, retry_at)
    values (gen_random_uuid(), ${d}::uuid, 5, now() + interval '1 hour'),
      (gen_random_uuid(), ${d}::uuid, 7, now() + interval '1 hour'),
      (gen_random_uuid(), ${c}::uuid, 4, now() + interval '1 hour')`)
  await db.query(sql`
    insert into lessor.visits (role, tenant_id, server, visitor, valid_until)
    values ('tc_1', ${a}::uuid, 'default', 'ada', now() - interval '6 minutes'),
      ('tc_2', ${a}::uuid, 'default', 'ada', now() - interval '4 minutes')`)
  t.strictSame(await failingOf(tenants), {
    ...NONE_FAILING,
    delete: 1,
    promote: 1,
    settle: 1,
    end_visit: 1,
  })
  await db.query(sql`delete from lessor.jobs`)
  await db.query(sql`delete from lessor.login_settlements`)
  await db.query(sql`delete from lessor.visits`)
  t.strictSame(await failingOf(tenants), NONE_FAILING)
})

t.test(
  'a job whose process dies each time fails, and one that is handed on by each shutdown does not',
  async (t) => {
    const { db, tenants } = await openBrokenHouse(t)
    const { tenant } = await tenants.onboard({ name: 'large' })
    await db.query(sql`
    insert into lessor.jobs (id, kind, tenant_id, step, claimed_by, claimed_until)
    values (gen_random_uuid(), 'delete', ${tenant.id}::uuid, 'rows', gen_random_uuid(), now() - interval '1 second')`)
    const jobs = new Jobs({ db, claimMs: 30_000, observer: { failed() {}, overdue() {} } })
    const take = async () => {
      const taken = await jobs.take()
      if (taken === undefined) throw new Error('the job was not left behind')
      return taken
    }
    for (let deploys = 0; deploys < 6; deploys++) {
      const { job, ticket } = await take()
      await jobs.attempt(ticket, job, () => Promise.reject(new LessorError('SHUTTING_DOWN')))
    }
    t.strictSame(await failingOf(tenants), NONE_FAILING)
    for (let deaths = 0; deaths < 4; deaths++) {
      t.strictSame(await failingOf(tenants), NONE_FAILING)
      const { ticket } = await take()
      await db.query(sql`
      update lessor.jobs set error = null, claimed_until = now() - interval '1 second' where id = ${ticket.jobId}::uuid`)
    }
    t.strictSame(await failingOf(tenants), { ...NONE_FAILING, delete: 1 })
  },
)

t.test('a data server that hangs holds up no login of another one whose time is over', async (t) => {
  const { db, placements, servers, tenants } = await openBrokenHouse(t)
  const { tenant } = await tenants.onboard({ name: 'Two servers' })
  const { role } = await tenants.visits.open({
    tenantId: tenant.id,
    visitor: 'ada',
    minutes: 1,
    writes: false,
  })
  await db.query(sql`update lessor.visits set valid_until = now() - interval '1 second'`)
  await db.query(sql`
    insert into lessor.servers (name, host, port, database, tls) values ('hanging', 'localhost', 1, 'x', 'disable')`)
  await db.query(sql`
    insert into lessor.visits (role, tenant_id, server, visitor, valid_until)
    values ('tc_hangs', ${tenant.id}::uuid, 'hanging', 'ada', now() - interval '1 hour')`)
  const answer = Promise.withResolvers<never>()
  const visits = new Visits({
    db,
    placements,
    limits: () => {
      throw new Error('nobody is let in')
    },
    servers: {
      address: (name) => servers.address(name),
      ping: (name) => servers.ping(name),
      admin: (name) => (name === 'hanging' ? answer.promise : servers.admin(name)),
    },
  })
  const sweep = visits.sweep()
  while (await exists(db, sql`select from pg_roles where rolname = ${role}`)) await sleep(5)
  answer.reject(new Error('it has hung up'))
  await sweep
  t.strictSame([...(await db.query(sql`select role from lessor.visits`))], [{ role: 'tc_hangs' }])
})
