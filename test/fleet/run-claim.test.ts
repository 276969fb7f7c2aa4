import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.ts'
import { ControlDatabase } from '../../src/control/control-database.ts'
import { readOwnProcess } from '../../src/control/own-process.ts'
import type { FleetOptions } from '../../src/fleet/fleet.ts'
import {
  countBehind,
  countOutcomes,
  enlist,
  listBehind,
  type NewRun,
  nextTenants,
  saveOutcome,
} from '../../src/fleet/fleet-store.ts'
import { FleetBusyError, RunClaim } from '../../src/fleet/run-claim.ts'
import { type Db, sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { excludes, like, sameRows } from '../support/like.ts'

const OPTIONS: FleetOptions = {
  canaries: [],
  canaryCount: 1,
  waveSize: 10,
  pauseMs: 0,
  concurrency: 4,
  serverConcurrency: 2,
  lockTimeoutMs: 2_000,
  attempts: 5,
  maxFailures: { kind: 'count', count: 0 },
}
const ALL = { servers: [], placements: [], tenants: [] }
const RUN: NewRun = { target: 2, filter: ALL, options: OPTIONS }

/** openControl is a control database of the test's own, with a data server. */
async function openControl(t: Test) {
  const { url } = await testDatabase(t, { template: 'control' })
  const db = new ControlDatabase({ url, maxConnections: 4 })
  t.teardown(() => db.close())
  await db.query(sql`
    insert into lessor.servers (name, host, port, database, tls)
    values ('one', '127.0.0.1', 5432, 'data', 'disable'), ('two', '127.0.0.1', 5433, 'data', 'disable')`)
  return db
}

interface Given {
  readonly placement?: string
  readonly status?: string
  readonly version?: number | null
  readonly server?: string
}

async function tenant(db: ControlDatabase, given: Given = {}): Promise<string> {
  const id = randomUUID()
  const { placement = 'schema', status = 'active', version = 1, server = 'one' } = given
  await db.query(sql`
    insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status, schema_version)
    select ${id}, id, ${id}, ${id}, ${placement}, ${server}, ${status}, ${version}::integer
    from lessor.namespaces where name_key = 'default'`)
  return id
}

const claimOptions = (db: ControlDatabase, claimMs = 30_000) => ({
  db,
  clock: systemClock,
  process: readOwnProcess(),
  claimMs,
})

t.test('behind are those who live, have tables of their own, and an older version or none', async (t) => {
  const db = await openControl(t)
  const older = await tenant(db)
  const unknown = await tenant(db, { placement: 'database', version: null, status: 'suspended' })
  await tenant(db, { version: 2 })
  await tenant(db, { version: 3 })
  await tenant(db, { placement: 'role', version: null })
  await tenant(db, { placement: 'row', version: null })
  await tenant(db, { status: 'deleting' })
  await tenant(db, { status: 'provisioning' })
  const other = await tenant(db, { server: 'two' })
  const ids = async (filter = {}) =>
    (await listBehind(db, 2, { ...ALL, ...filter })).map(({ id }) => id).sort()
  t.strictSame(await ids(), [older, unknown, other].sort())
  t.equal(await countBehind(db, 2), 3)
  t.equal(await countBehind(db, 1), 1, 'at version 1 only the one of unknown version')
  t.strictSame(await ids({ servers: ['two'] }), [other])
  t.strictSame(await ids({ placements: ['database', 'row'] }), [unknown])
  t.strictSame(await ids({ tenants: [older, randomUUID()] }), [older])
})

t.test('who is behind is read from an index that tenants in shared tables are not in', async (t) => {
  const db = await openControl(t)
  await db.query(sql`
    insert into lessor.tenants (id, namespace_id, name, name_key, placement, server, status, schema_version)
    select gen_random_uuid(), n.id, 'tenant ' || i, 'tenant ' || i,
      case when i % 100 = 0 then 'schema' else 'row' end, 'one', 'active',
      case when i % 100 = 0 then case when i % 1000 = 0 then 1 else 2 end end
    from lessor.namespaces n, generate_series(1, 20000) i`)
  await db.script('analyze lessor.tenants')
  await tenant(db)
  const plan: string[] = []
  const explaining: Pick<Db, 'query'> = {
    async query(statement) {
      const rows = await db.query<{ 'QUERY PLAN': string }>(sql`
        explain (analyze, costs off, timing off, summary off, buffers off) ${statement}`)
      plan.push(...rows.map((row) => row['QUERY PLAN']))
      return []
    },
  }
  await countBehind(explaining as Db, 2)
  const text = plan.join('\n')
  t.match(text, /using tenants_schema_version|on tenants_schema_version/)
  excludes(t, text, /Rows Removed by Filter/)
  t.equal(await countBehind(db, 2), 21)
})

t.test('one process at a time has the claim', async (t) => {
  const db = await openControl(t)
  const first = await RunClaim.take(claimOptions(db), RUN)
  t.equal(first.isResumed, false)
  const error = await t.rejects(RunClaim.take(claimOptions(db), RUN), FleetBusyError)
  like(t, error, { message: new RegExp(readOwnProcess().name) })
  await first.release('interrupted')
  const second = await RunClaim.take(claimOptions(db), RUN)
  like(t, second, { isResumed: true, ticket: { runId: first.ticket.runId } })
  await second.release(null)
  const third = await RunClaim.take(claimOptions(db), RUN)
  t.equal(third.isResumed, false, 'what has finished is not resumed')
  t.not(third.ticket.runId, first.ticket.runId)
  await third.release(null)
})

t.test('of several processes that begin at once one gets through', async (t) => {
  const db = await openControl(t)
  const takes = await Promise.allSettled([1, 2, 3, 4].map(() => RunClaim.take(claimOptions(db), RUN)))
  const taken = takes.filter((each) => each.status === 'fulfilled')
  t.equal(taken.length, 1)
  for (const each of takes) if (each.status === 'rejected') t.type(each.reason, FleetBusyError)
  await taken[0]?.value.release(null)
})

t.test('a claim that ran out is taken over, and the one who had it notices', async (t) => {
  const db = await openControl(t)
  const silent = await RunClaim.take(claimOptions(db), RUN)
  const id = await tenant(db)
  await enlist(db, silent.ticket, RUN)
  t.equal(silent.isLost, false)
  await db.query(sql`update lessor.fleet_runs set claimed_until = clock_timestamp() - interval '1 second'`)
  const next = await RunClaim.take(claimOptions(db), RUN)
  like(t, next, { isResumed: true, ticket: { runId: silent.ticket.runId } })
  const done = { state: 'done', attempts: 1, error: null, version: 2 } as const
  t.equal(await saveOutcome(db, silent.ticket, id, done), false)
  like(t, await countOutcomes(db, next.ticket.runId), { pending: 1, done: 0 })
  t.equal(await countBehind(db, 2), 0, 'the migration has happened all the same')
  await silent.release(null)
  await t.rejects(RunClaim.take(claimOptions(db), RUN), FleetBusyError, 'who has lost it cannot end it')
  await next.release(null)
})

t.test('a claim is renewed while it is held', async (t) => {
  const db = await openControl(t)
  const claim = await RunClaim.take(claimOptions(db, 300), RUN)
  const until = async () => {
    const [row] = await db.query<{ until: Date }>(sql`select claimed_until as until from lessor.fleet_runs`)
    return row?.until.getTime() ?? 0
  }
  const first = await until()
  while ((await until()) === first) await new Promise((resolve) => setImmediate(resolve))
  t.ok((await until()) > first)
  await db.query(sql`update lessor.fleet_runs set claimed_by = ${randomUUID()}`)
  while (!claim.isLost) await new Promise((resolve) => setImmediate(resolve))
  t.pass('the one who had it notices that it is gone')
  await claim.release('taken over')
})

t.test('a process that died on this machine is not waited for', async (t) => {
  const db = await openControl(t)
  const own = readOwnProcess()
  const dead = {
    ...claimOptions(db),
    process: { name: 'dead', pid: 2 ** 30, space: own.space ?? 'here', started: null },
  }
  const first = await RunClaim.take(dead, RUN)
  const living = { ...claimOptions(db), process: { ...own, space: own.space ?? 'here' } }
  const elsewhere = { ...living, process: { ...living.process, space: 'another machine' } }
  await t.rejects(RunClaim.take(elsewhere, RUN), FleetBusyError, 'elsewhere its process id means nothing')
  const next = await RunClaim.take(living, RUN)
  t.equal(next.ticket.runId, first.ticket.runId)
  await first.release(null)
  await next.release(null)
})

t.test('another request supersedes the run that stopped', async (t) => {
  const db = await openControl(t)
  const first = await RunClaim.take(claimOptions(db), RUN)
  await first.release('canary')
  const filtered = await RunClaim.take(claimOptions(db), { ...RUN, filter: { ...ALL, servers: ['two'] } })
  t.equal(filtered.isResumed, false)
  await filtered.release('canary')
  const newer = await RunClaim.take(claimOptions(db), { ...RUN, target: 3 })
  t.equal(newer.isResumed, false)
  await newer.release(null)
  const states = await db.query(sql`select state, reason from lessor.fleet_runs order by started_at`)
  sameRows(t, states, [
    { state: 'superseded', reason: 'canary' },
    { state: 'superseded', reason: 'canary' },
    { state: 'finished', reason: null },
  ])
})

t.test('a resumed run goes on with who is left, and gives another turn to who failed', async (t) => {
  const db = await openControl(t)
  const ids = [await tenant(db), await tenant(db), await tenant(db)]
  const first = await RunClaim.take(claimOptions(db), RUN)
  t.equal(await enlist(db, first.ticket, RUN), 3)
  const [a, b, c] = await nextTenants(db, first.ticket, { canary: false, limit: 3 })
  t.strictSame([a?.id, b?.id, c?.id], ids.toReversed(), 'the newest first')
  if (!a || !b) throw new Error('bug: two tenants were made')
  await saveOutcome(db, first.ticket, a.id, { state: 'done', attempts: 1, error: null, version: 2 })
  await saveOutcome(db, first.ticket, b.id, { state: 'failed', attempts: 2, error: '55P03', version: null })
  await first.release('failures')
  const later = await tenant(db)
  const second = await RunClaim.take(claimOptions(db), RUN)
  t.equal(await enlist(db, second.ticket, RUN), 1, 'who came later is added')
  const next = await nextTenants(db, second.ticket, { canary: false, limit: null })
  t.strictSame(
    next.map(({ id }) => id),
    [b.id, c?.id, later],
  )
  t.strictSame(await countOutcomes(db, second.ticket.runId), { done: 1, failed: 0, skipped: 0, pending: 3 })
  await second.release('interrupted')
})
