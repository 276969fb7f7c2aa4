import './own-server.ts'
import t, { type Test } from 'tap'
import { checkCatalog } from '../../src/isolation/check-catalog.ts'
import { openSession, type Session, statementOf } from '../../src/isolation/session.ts'
import type { Stage, StageTenant } from '../../src/isolation/stage.ts'
import { moveOut } from '../../src/placement/partition-moves.ts'
import { randomPassword, scramVerifier } from '../../src/placement/scram.ts'
import { dropVisitors, makeVisitor, visitorName } from '../../src/placement/visitor-login.ts'
import type { ConnectionTarget } from '../../src/pool/contract.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { LIMITS, openAdmin, rolePlacement, rowPlacement } from '../placement/support.ts'
import { openHouse } from './placements.ts'

// EXPLAIN shows what the planner expects, and row level security does not stand before that: what PostgreSQL keeps of
// a column's values would tell whether another tenant has one. Every name, city and e-mail address of the other
// tenant begins with the letter M; a login that asks for each letter of the alphabet gets the same answer for all.

const LETTERS = [...'abcdefghijklmnopqrstuvwxyz']
const ROWS = 3_000

/** QUESTIONS are statements about `$`, a letter; `#` is the other tenant's id. */
const QUESTIONS = {
  'a prefix': `select from people where name like '$%'`,
  'a value': `select from people where name = '$usk'`,
  'what is not a value': `select from people where name <> '$usk'`,
  'a range': `select from people where name >= '$' and name < '$zz'`,
  'a value of the other tenant': `select from people where tenant_id = '#' and name = '$usk'`,
  'a prefix of the other tenant': `select from people where tenant_id = '#' and email like '$%'`,
  'a view': `select from my_people where name like '$%'`,
  'a join': `select from letters l join people p on p.tenant_id = l.tenant_id and p.id = l.person where p.name = '$usk'`,
  'a join by the value': `select from letters l join people p on p.name = l.body where l.body = '$usk'`,
  'an expression of an index': `select from people where lower(name) = '$usk'`,
  'a part of a document': `select from people where details ->> 'city' like '$%'`,
  'a document': `select from people where details = '{"city": "$usk"}'`,
  'an element': `select from people where tags @> array['$usk']`,
  'a number of groups': `select name from people where name like '$%' group by name`,
} as const

const house = await openHouse(t)
const [role, row] = [await house.stage(t, 'role'), await house.stage(t, 'row')]
await house.admin.script(`
  set search_path = app;
  create table people (
    tenant_id uuid, id bigint generated always as identity, name text not null, email text, status text,
    details jsonb, tags text[], primary key (tenant_id, id)
  );
  create unique index on people (tenant_id, email);
  create index on people (tenant_id, lower(name));
  create index on people (tenant_id, (details ->> 'city'));
  select lessor.protect('people'), lessor.tenant_view('people');
  create table letters (
    tenant_id uuid, id bigint generated always as identity, person bigint not null, body text,
    primary key (tenant_id, id), foreign key (tenant_id, person) references people
  );
  select lessor.protect('letters');
  reset search_path`)
for (const { other, own } of [role, row]) {
  await house.admin.script(`
    insert into app.people (tenant_id, name, email, status, details, tags)
    select '${other.id}', case when i % 3 = 0 then 'musk' else 'm' || i end, 'm' || i || '@example.com',
      case when i % 50 = 0 then 'late' else 'paid' end, jsonb_build_object('city', 'musk'), array['musk']
    from generate_series(1, ${ROWS}) i;
    insert into app.people (tenant_id, name) select '${own.id}', 'nobody' from generate_series(1, 20);
    insert into app.letters (tenant_id, person, body) select tenant_id, id, name from app.people`)
}

/** analyze works in a session of its own: before PostgreSQL 17 one that has an index open goes on with its earlier target. */
async function analyze(scope: Test, ...more: readonly string[]): Promise<void> {
  const admin = openAdmin(scope, house.url)
  for (const table of ['app.people', 'app.letters', ...more])
    await admin.query(statementOf(`analyze ${table}`))
  await admin.close()
}

/** Spy is a login of a tenant that asks about another one. */
interface Spy {
  readonly name: string
  readonly session: Session
  readonly own: StageTenant
  readonly other: StageTenant
}

async function spies(scope: Test): Promise<readonly Spy[]> {
  const open = async (name: string, target: ConnectionTarget, { own, other }: Stage): Promise<Spy> => {
    const session = await openSession(openConnection, target, 20_000)
    scope.teardown(() => session.close())
    return { name, session, own, other }
  }
  const visitor = visitorName(row.own.id)
  const password = randomPassword()
  await makeVisitor(house.admin, rowPlacement(), {
    role: visitor,
    tenantId: row.own.id,
    verifier: scramVerifier(password),
    limits: LIMITS,
    validUntil: new Date(Date.now() + 3_600_000),
    writes: false,
  })
  scope.teardown(() => dropVisitors(house.admin, row.own.id))
  const { parameters } = rolePlacement().login(row.own.id, 'blue')
  return [
    await open('role', role.own.target, role),
    await open('row', row.own.target, row),
    await open(
      'a visitor of row',
      { ...row.own.target, user: visitor, password, isShared: false, parameters },
      row,
    ),
  ]
}

/** plansOf asks one question for each letter, and gives the different answers; the letter itself does not count. */
async function plansOf({ session, own, other }: Spy, question: string): Promise<ReadonlySet<string>> {
  const plans = new Set<string>()
  for (const letter of LETTERS) {
    const next = String.fromCharCode(letter.charCodeAt(0) + 1)
    const text = question.replaceAll('$', letter).replaceAll('#', other.id)
    const outcome = await session.attempt(
      [`set local rls.tenant_id = '${own.id}'`, `set local search_path = app`],
      `explain (format json) ${text}`,
    )
    if (outcome.kind === 'refused') throw new Error(`${text}: ${outcome.message}`)
    plans.add(
      JSON.stringify(outcome.rows)
        .replaceAll(new RegExp(`'${letter}(?=zz'|usk'|%'|')`, 'g'), `'$`)
        .replaceAll(new RegExp(`'${next}'`, 'g'), `'$+1'`)
        .replaceAll(`{${letter}usk}`, '{$usk}')
        .replaceAll(`\\"${letter}usk\\"`, '\\"$usk\\"')
        .replaceAll(new RegExp(`(city[^a-z]+)${letter}usk`, 'g'), '$1$$usk'),
    )
  }
  return plans
}

async function toldApart(all: readonly Spy[]): Promise<readonly string[]> {
  const told: string[] = []
  for (const spy of all) {
    for (const [what, question] of Object.entries(QUESTIONS)) {
      if ((await plansOf(spy, question)).size > 1) told.push(`${spy.name}: ${what}`)
    }
  }
  return told
}

async function brokenRules(): Promise<readonly string[]> {
  return (await checkCatalog(house.admin, 'default')).broken.map(
    ({ object, problem }) => `${object}: ${problem}`,
  )
}

t.test('no estimate tells whether another tenant has a value', async (t) => {
  await analyze(t)
  t.strictSame(await toldApart(await spies(t)), [])
  t.strictSame(await brokenRules(), [])
})

t.test(
  'the attack is one: a column of which values are kept tells them, and the rules name it',
  async (t) => {
    await house.admin.script(`alter table app.people alter column name set statistics 100`)
    await analyze(t)
    const [spy] = await spies(t)
    if (spy === undefined) throw new Error('there is no login')
    for (const what of ['a prefix', 'a value', 'a view', 'a range', 'a value of the other tenant'] as const)
      t.ok((await plansOf(spy, QUESTIONS[what])).size > 1, what)
    t.strictSame(await brokenRules(), [
      'app.people: PostgreSQL keeps values of column name',
      'app.people: values of column name are there',
    ])
    await house.admin.script(`select lessor.protect('app.people')`)
    t.equal((await plansOf(spy, QUESTIONS['a prefix'])).size, 1, 'what was kept is gone')
    t.strictSame(await brokenRules(), [])
  },
)

t.test('an index of an expression tells as well, until the table is protected again', async (t) => {
  const [index] = await house.admin.query<{ name: string }>(
    statementOf(
      `select indexrelid::regclass::text as name from pg_index where indrelid = 'app.people'::regclass and pg_get_indexdef(indexrelid) like '%lower%'`,
    ),
  )
  await house.admin.script(`alter index ${index?.name} alter column 2 set statistics 100`)
  await analyze(t)
  const [spy] = await spies(t)
  if (spy === undefined) throw new Error('there is no login')
  t.ok((await plansOf(spy, QUESTIONS['an expression of an index'])).size > 1)
  t.strictSame(await brokenRules(), [
    `${index?.name}: PostgreSQL keeps values of column lower`,
    `${index?.name}: values of column lower are there`,
  ])
  await house.admin.script(`select lessor.protect('app.people')`)
  await analyze(t)
  t.equal((await plansOf(spy, QUESTIONS['an expression of an index'])).size, 1)
  t.strictSame(await brokenRules(), [])
})

t.test('a column that comes later is named by the rules', async (t) => {
  await house.admin.script('alter table app.people add column nick text')
  t.strictSame(await brokenRules(), ['app.people: PostgreSQL keeps values of column nick'])
  await house.admin.script(`select lessor.protect('app.people')`)
  t.strictSame(await brokenRules(), [])
})

t.test('a statistics object over what was not named is named by the rules', async (t) => {
  await house.admin.script('create statistics app.told on name, email from app.people')
  t.strictSame(await brokenRules(), ['app.told: it is over columns that were not named as no secret'])
  await house.admin.script('drop statistics app.told')
  await house.admin.script('create statistics app.told on lower(name), tenant_id from app.people')
  t.strictSame(await brokenRules(), ['app.told: it is over columns that were not named as no secret'])
  await house.admin.script(`select lessor.protect('app.people')`)
  t.strictSame(await brokenRules(), [], 'protecting the table drops it')
})

t.test('with tenant_statistics a column that was named tells, and no other', async (t) => {
  await house.admin.script(`
    select lessor.tenant_statistics('app.people'), lessor.tenant_statistics('app.people', array['status']);
    select lessor.protect('app.people')`)
  await analyze(t)
  const all = await spies(t)
  t.strictSame(await toldApart(all), [])
  t.strictSame(await brokenRules(), [])
  const [spy] = all
  if (spy === undefined) throw new Error('there is no login')
  const status = async (value: string) => {
    const outcome = await spy.session.attempt(
      ['set local search_path = app'],
      `explain (format json) select from people where tenant_id = '${spy.other.id}' and status = '${value}'`,
    )
    return JSON.stringify(outcome.kind === 'done' ? outcome.rows : outcome.message).replaceAll(value, '')
  }
  t.not(await status('paid'), await status('late'), 'that is what naming it says')
  await house.admin.script(`select lessor.hide_statistics('app.people', array['status'])`)
  await analyze(t)
  t.equal(await status('paid'), await status('late'), 'until the name is taken back')
  t.strictSame(await brokenRules(), [])
})

t.test('nor does a promoted tenant’s own partition tell', async (t) => {
  const options = { signal: new AbortController().signal, note: async () => {}, tablespace: undefined }
  await moveOut(house.admin, role.other.id, options)
  const [leaf] = await house.admin.query<{ name: string }>(
    statementOf(`select lessor.partition_of('app.people', '${role.other.id}')::text as name`),
  )
  await analyze(t, leaf?.name ?? '', 'lessor_partitions.people')
  const all = await spies(t)
  t.strictSame(await toldApart(all), [])
  t.strictSame(await brokenRules(), [])
  await house.admin.script(`select lessor.tenant_statistics('app.people', array['status'])`)
  await analyze(t, leaf?.name ?? '', 'lessor_partitions.people')
  t.strictSame(await toldApart(all.slice(0, 1)), [], 'nor when a column of it was named')
  t.strictSame(await brokenRules(), [])
  await house.admin.script(`alter table ${leaf?.name} alter column name set statistics 10`)
  t.strictSame(await brokenRules(), [`${leaf?.name}: PostgreSQL keeps values of column name`])
})
