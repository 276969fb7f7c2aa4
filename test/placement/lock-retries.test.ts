import t, { type Test } from 'tap'
import { withLockRetries } from '../../src/placement/lock-retries.ts'
import { moveOut } from '../../src/placement/partition-moves.ts'
import { promotionProblems } from '../../src/placement/partitions.ts'
import { sql } from '../../src/pool/statement.ts'
import { testDatabase } from '../support/database.ts'
import { rejectsLike, sameRows } from '../support/like.ts'
import { openAdmin, openSession, openTenant, provisionTenant, rolePlacement } from './support.ts'

const { signal } = new AbortController()
const IMPATIENT = { lockTimeoutMs: 50, patienceMs: 0 }
const PATIENT = { lockTimeoutMs: 50, patienceMs: 60_000 }

async function prepared(t: Test) {
  const { url } = await testDatabase(t)
  const admin = openAdmin(t, url)
  const placement = rolePlacement()
  await placement.prepare(admin)
  return { url, admin, placement }
}

t.test('a change waits shortly for a lock, and tries again until it has it', async (t) => {
  const { url, admin } = await prepared(t)
  const other = await openSession(t, url)
  await other.command('begin')
  await other.query(sql`lock table app.users in access exclusive mode`)
  let tries = 0
  const change = (patience: typeof PATIENT, end: AbortSignal = signal) =>
    withLockRetries(admin, patience, end, async (tx) => {
      tries += 1
      await tx.query(sql`lock table app.users in share mode`)
      return 'done'
    })
  await rejectsLike(t, change(IMPATIENT), { code: '55P03' })
  t.equal(tries, 1)
  const ending = new AbortController()
  const cut = change(PATIENT, ending.signal)
  while (tries < 4) await new Promise(setImmediate)
  ending.abort(new Error('enough'))
  await rejectsLike(t, cut, { message: 'enough' })
  const patient = change(PATIENT)
  const before = tries
  while (tries < before + 3) await new Promise(setImmediate)
  await other.command('rollback')
  t.equal(await patient, 'done')
})

t.test('a change that fails for another reason is not tried again', async (t) => {
  const { admin } = await prepared(t)
  let tries = 0
  const change = withLockRetries(admin, PATIENT, signal, async (tx) => {
    tries += 1
    await tx.query(sql`select 1 / 0`)
  })
  await rejectsLike(t, change, { code: '22012' })
  t.equal(tries, 1)
})

t.test('a tenant is not moved past a transaction that looks further back', async (t) => {
  const { url, admin, placement } = await prepared(t)
  const tenant = await provisionTenant(t, placement, admin)
  const db = await openTenant(t, url, placement, tenant)
  await db.query(sql`insert into users (first_name, last_name) values ('A', 'B')`)
  await admin.script(`select lessor.partition('app.users')`)
  const other = await openSession(t, url)
  await other.command('begin')
  await other.query(sql`set transaction isolation level repeatable read`)
  // It has looked at the database, and not yet at the table.
  await other.query(sql`select count(*) from pg_class`)
  const move = (patience: typeof PATIENT) =>
    moveOut(admin, tenant.id, { signal, note: async () => {}, tablespace: undefined, patience })
  await rejectsLike(t, move(IMPATIENT), {
    code: '55P03',
    message: '1 transactions look at the table app.users as it was.',
  })
  sameRows(
    t,
    await db.query(sql`select first_name from users`),
    [{ first_name: 'A' }],
    'and nothing has happened',
  )
  await other.command('commit')
  await move(PATIENT)
  sameRows(t, await db.query(sql`select first_name from users`), [{ first_name: 'A' }])
})

t.test(
  'who has read the table and waits to write it ends before the switch, not in a deadlock',
  async (t) => {
    const { url, admin, placement } = await prepared(t)
    const tenant = await provisionTenant(t, placement, admin)
    const db = await openTenant(t, url, placement, tenant)
    await db.query(sql`insert into users (first_name, last_name) values ('A', 'B')`)
    await admin.script(`select lessor.partition('app.users')`)
    await db.command('begin')
    await db.query(sql`select count(*) from users`)
    const steps: string[] = []
    const moving = moveOut(admin, tenant.id, {
      signal,
      note: async (step) => void steps.push(step),
      tablespace: undefined,
      patience: PATIENT,
    })
    while (!steps.includes('switch')) await new Promise(setImmediate)
    await db.query(sql`update users set first_name = 'C'`)
    await db.command('commit')
    await moving
    sameRows(
      t,
      await db.query(sql`select first_name, tableoid::regclass::text like '%users_%' as own from users`),
      [{ first_name: 'C', own: true }],
    )
  },
)

t.test('tables that refer to each other in a circle are no ground for a promotion', async (t) => {
  const { admin } = await prepared(t)
  t.strictSame(await promotionProblems(admin, undefined), [])
  await admin.script(`
    create table app.hens (tenant_id uuid, id integer, egg integer, primary key (tenant_id, id));
    create table app.eggs (tenant_id uuid, id integer, hen integer, primary key (tenant_id, id),
      foreign key (tenant_id, hen) references app.hens);
    alter table app.hens add foreign key (tenant_id, egg) references app.eggs;
    select lessor.protect('app.hens'), lessor.protect('app.eggs')`)
  t.strictSame(await promotionProblems(admin, undefined), [
    'The table app.eggs cannot be partitioned: its foreign keys lead back to it, or to a circle.',
    'The table app.hens cannot be partitioned: its foreign keys lead back to it, or to a circle.',
  ])
})
