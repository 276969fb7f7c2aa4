import './own-server.ts'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { checkCatalog } from '../../src/isolation/check-catalog.ts'
import { type Outcome, openSession, type Session, statementOf } from '../../src/isolation/session.ts'
import type { Stage, StageTenant } from '../../src/isolation/stage.ts'
import { openConnection } from '../../src/pool/open-connection.ts'
import { sql } from '../../src/pool/statement.ts'
import type { PlacementName } from '../../src/tenants/tenant.ts'
import { like, rejectsLike, sameRows } from '../support/like.ts'
import { openHouse } from './placements.ts'

// Ways around row level security that are known by name, tried on every placement that they could be ways in.

const ALL = ['role', 'row', 'schema', 'database'] as const
const SHARED = ['role', 'row'] as const
const NO_RIGHT = '42501'

const house = await openHouse(t)
const stages = new Map<PlacementName, Stage>()
for (const name of ALL) stages.set(name, await house.stage(t, name))
await house.admin.script(`
  set search_path = app;
  create table posts (
    tenant_id uuid, id uuid default gen_random_uuid(), author uuid not null, title text,
    primary key (tenant_id, id), foreign key (tenant_id, author) references users (tenant_id, id)
  );
  select lessor.protect('posts');
  create table days (tenant_id uuid, day date, note text, primary key (tenant_id, day)) partition by range (day);
  create table days_all partition of days default;
  select lessor.protect('days');
  reset search_path`)

/** Party is a tenant at work on a real login, bound to it where the login is everybody's. */
interface Party {
  readonly tenant: StageTenant
  readonly session: Session
  attempt(text: string, ...before: string[]): Promise<Outcome>
  keep(text: string): Promise<readonly Record<string, unknown>[]>
}

async function open(scope: Test, tenant: StageTenant): Promise<Party> {
  const session = await openSession(openConnection, tenant.target, 20_000)
  scope.teardown(() => session.close())
  const bind = `set local rls.tenant_id = '${tenant.id}'`
  return {
    tenant,
    session,
    attempt: (text, ...before) => session.attempt([bind, ...before], text),
    async keep(text) {
      await session.db.command('begin')
      await session.db.query(statementOf(bind))
      const rows = await session.db.query(statementOf(text))
      await session.db.command('commit')
      return rows
    },
  }
}

/** inheritsOwner says whether a login has its owner role's rights without asking for them, as before PostgreSQL 16. */
async function inheritsOwner(): Promise<boolean> {
  const [server] = await house.admin.query<{ isOld: boolean }>(
    sql`select current_setting('server_version_num')::integer < 160000 as "isOld"`,
  )
  return server?.isOld === true
}

function stageOf(name: PlacementName): Stage {
  const stage = stages.get(name)
  if (stage === undefined) throw new Error(`no stage for ${name}`)
  return stage
}

/** both opens the two tenants of a placement, each with one user that carries its marker. */
async function both(scope: Test, name: PlacementName): Promise<{ own: Party; other: Party; theirs: string }> {
  const stage = stageOf(name)
  const [own, other] = [await open(scope, stage.own), await open(scope, stage.other)]
  const ids: string[] = []
  for (const party of [own, other]) {
    await party.keep('delete from users')
    const [row] = await party.keep(
      `insert into users (first_name, last_name) values ('${party.tenant.marker}', 'x') returning id`,
    )
    ids.push(String(row?.id))
  }
  return { own, other, theirs: ids[1] ?? '' }
}

function codeOf(outcome: Outcome): string {
  return outcome.kind === 'refused' ? outcome.code : `done (${outcome.count})`
}

function rowsOf(outcome: Outcome): readonly Record<string, unknown>[] {
  if (outcome.kind === 'refused') throw new Error(outcome.message)
  return outcome.rows
}

async function brokenRules(): Promise<string[]> {
  return (await checkCatalog(house.admin, 'default')).broken.map(({ object }) => object)
}

for (const name of SHARED) {
  t.test(`${name}: a view shows what its reader may see, or the rules name it`, async (t) => {
    const { own } = await both(t, name)
    await house.admin.script(`
      create view app.safe with (security_invoker) as select * from app.users;
      alter view app.safe owner to lessor_owner;
      create view app.owners as select * from app.users;
      grant select on app.safe, app.owners to lessor_tenant, lessor_row`)
    t.teardown(() => house.admin.script('drop view app.safe, app.owners'))
    sameRows(t, rowsOf(await own.attempt('select tenant_id from app.safe')), [{ tenant_id: own.tenant.id }])
    t.ok(
      rowsOf(await own.attempt('select tenant_id from app.owners')).length > 1,
      'a superuser’s view shows all',
    )
    t.ok((await brokenRules()).includes('app.owners'))
    t.notOk((await brokenRules()).includes('app.safe'))
  })

  t.test(`${name}: a materialized view, which knows no policies, is out of reach`, async (t) => {
    const { own } = await both(t, name)
    await house.admin.script(`
      create materialized view app.everybody as select * from app.users;
      alter materialized view app.everybody owner to lessor_owner`)
    t.teardown(() => house.admin.script('drop materialized view app.everybody'))
    t.equal(codeOf(await own.attempt('select * from app.everybody')), NO_RIGHT)
    t.strictSame(await brokenRules(), [])
    await house.admin.script('grant select on app.everybody to lessor_tenant')
    t.strictSame(await brokenRules(), ['app.everybody'])
  })

  t.test(`${name}: a function that runs with its owner's rights is named by the rules`, async (t) => {
    const { own } = await both(t, name)
    await house.admin.script(`
      create function app.count_all() returns bigint language sql security definer as 'select count(*) from app.users'`)
    t.teardown(() => house.admin.script('drop function app.count_all()'))
    t.strictSame(await brokenRules(), ['app.count_all()'])
    await house.admin.script('revoke execute on function app.count_all() from public')
    t.strictSame(await brokenRules(), [])
    t.equal(codeOf(await own.attempt('select app.count_all()')), NO_RIGHT)
  })

  t.test(`${name}: a leaf partition, which has no policy of its own, is out of reach`, async (t) => {
    const { own, other } = await both(t, name)
    for (const { keep } of [own, other])
      await keep(`insert into app.days (day) values ('2026-01-01') on conflict do nothing`)
    sameRows(t, rowsOf(await own.attempt('select tenant_id from app.days')), [{ tenant_id: own.tenant.id }])
    for (const text of ['select * from app.days_all', 'delete from app.days_all', 'truncate app.days_all'])
      t.equal(codeOf(await own.attempt(text)), NO_RIGHT, text)
  })

  t.test(`${name}: a foreign key does not tell whether another tenant has a row`, async (t) => {
    const { own, theirs } = await both(t, name)
    const refer = (id: string) => own.attempt(`insert into app.posts (author) values ('${id}')`)
    const [there, nowhere] = [await refer(theirs), await refer('00000000-0000-4000-8000-000000000000')]
    t.equal(codeOf(there), '23503')
    t.strictSame(there, nowhere, 'to the letter')
  })

  t.test(`${name}: a unique key does not tell whether another tenant has a row`, async (t) => {
    const { own, other, theirs } = await both(t, name)
    const insert = (tenantId: string, id: string) =>
      own.attempt(
        `insert into app.users (tenant_id, id, first_name, last_name) values ('${tenantId}', '${id}', 'a', 'b')`,
      )
    t.equal(codeOf(await insert(own.tenant.id, theirs)), 'done (1)')
    const [taken, free] = [
      await insert(other.tenant.id, theirs),
      await insert(other.tenant.id, '00000000-0000-4000-8000-000000000000'),
    ]
    t.equal(codeOf(taken), NO_RIGHT)
    t.strictSame(taken, free, 'to the letter')
  })

  t.test(`${name}: a sequence, whose numbers tell what others do, is out of reach`, async (t) => {
    const { own } = await both(t, name)
    await house.admin.script('create sequence app.numbers; alter sequence app.numbers owner to lessor_owner')
    t.teardown(() => house.admin.script('drop sequence app.numbers'))
    for (const text of [
      `select nextval('app.numbers')`,
      'select last_value from app.numbers',
      `select setval('app.numbers', 1)`,
    ])
      t.equal(codeOf(await own.attempt(text)), NO_RIGHT, text)
  })
}

for (const name of ALL) {
  t.test(`${name}: TRUNCATE, which no policy stops, is refused`, async (t) => {
    const { own, other } = await both(t, name)
    const outcome = await own.attempt('truncate users')
    const isOwner = (await inheritsOwner()) && (name === 'schema' || name === 'database')
    if (isOwner) t.equal(outcome.kind, 'done', 'of its own table, which is no one else’s')
    else t.equal(codeOf(outcome), NO_RIGHT)
    if (name === 'schema')
      t.equal(codeOf(await own.attempt(`truncate t_${other.tenant.id.replaceAll('-', '')}.users`)), NO_RIGHT)
  })

  t.test(`${name}: COPY gives own rows out and takes none in`, async (t) => {
    const { own } = await both(t, name)
    sameRows(t, rowsOf(await own.attempt('copy users (tenant_id) to stdout')), [{ line: own.tenant.id }])
    sameRows(t, rowsOf(await own.attempt('copy (select tenant_id from users) to stdout')), [
      { line: own.tenant.id },
    ])
    // "COPY FROM not supported with row-level security"
    t.equal(codeOf(await own.attempt('copy users (tenant_id) from stdin')), '0A000')
    t.equal(codeOf(await own.attempt(`copy users from '/etc/passwd'`)), NO_RIGHT)
    t.equal(codeOf(await own.attempt(`copy users to program 'cat'`)), NO_RIGHT)
  })

  t.test(`${name}: with row_security off a statement fails`, async (t) => {
    const { own } = await both(t, name)
    for (const text of ['select * from users', 'delete from users'])
      t.equal(codeOf(await own.attempt(text, 'set local row_security = off')), NO_RIGHT)
  })

  t.test(`${name}: nobody becomes another role`, async (t) => {
    const { own, other } = await both(t, name)
    const [superuser] = await house.admin.query<{ name: string }>(sql`select current_user as name`)
    const roles = ['lessor_owner', 'lessor_keeper', superuser?.name ?? '', other.tenant.target.user].filter(
      (role) => role !== own.tenant.target.user,
    )
    for (const role of roles) {
      t.equal(codeOf(await own.attempt(`set role "${role}"`)), NO_RIGHT, `set role ${role}`)
      t.equal(codeOf(await own.attempt(`set session authorization "${role}"`)), NO_RIGHT, role)
      t.equal(codeOf(await own.attempt(`select set_config('role', '${role}', true)`)), NO_RIGHT, role)
    }
  })

  t.test(`${name}: settings that a role keeps for itself open nothing`, async (t) => {
    const { own, other } = await both(t, name)
    const { user } = own.tenant.target
    t.teardown(() => house.admin.script(`alter role "${user}" reset row_security`))
    await own.session.db.query(statementOf(`alter role "${user}" set row_security = off`))
    const off = await open(t, own.tenant)
    t.equal(codeOf(await off.attempt('select * from users')), NO_RIGHT, 'row_security off stays an error')
    await own.session.db.query(statementOf(`alter role "${user}" reset row_security`))
    // Who he is he cannot keep at all, only the service can; and it says so anew at each login.
    t.equal(
      codeOf(await own.attempt(`alter role "${user}" set rls.tenant_id = '${other.tenant.id}'`)),
      NO_RIGHT,
    )
    for (const text of [
      `alter role "${user}" set role = lessor_owner`,
      `alter role "${user}" bypassrls`,
      `alter role lessor_tenant set row_security = off`,
    ]) {
      const outcome = await own.attempt(text)
      t.ok(text.includes('set role') || codeOf(outcome) === NO_RIGHT, text)
    }
  })

  t.test(`${name}: pg_stats shows no value of a column`, async (t) => {
    const { own } = await both(t, name)
    await stageOf(name).inTables((admin) =>
      admin.query(
        statementOf(`analyze ${name === 'schema' ? `t_${own.tenant.id.replaceAll('-', '')}` : 'app'}.users`),
      ),
    )
    const stats = `select * from pg_stats where tablename = 'users' and schemaname <> 'pg_catalog'`
    sameRows(t, rowsOf(await own.attempt(stats)), [])
    t.equal(codeOf(await own.attempt('select * from pg_statistic')), NO_RIGHT)
  })

  t.test(`${name}: a large object is its maker's alone`, async (t) => {
    const { own, other } = await both(t, name)
    const make = `select lo_from_bytea(0, 'secret') as oid`
    if (name === 'role' || name === 'row') {
      const makers = ['lo_create(0)', 'lo_creat(0)', `lo_from_bytea(0, 'secret')`]
      for (const maker of makers) t.equal(codeOf(await other.attempt(`select ${maker}`)), NO_RIGHT, maker)
      if (name === 'row') return
      // There may be some from before.
      await house.admin.script('grant execute on function lo_from_bytea(oid, bytea) to lessor_tenant')
    }
    const [made] = await other.keep(make)
    if (name === 'role')
      await house.admin.script('revoke execute on function lo_from_bytea(oid, bytea) from lessor_tenant')
    for (const text of [
      `select lo_get(${made?.oid})`,
      `select lo_open(${made?.oid}, 131072)`,
      `select lo_put(${made?.oid}, 0, 'x')`,
      `select lo_unlink(${made?.oid})`,
    ]) {
      // In a database of its own there is no such object at all.
      t.equal(codeOf(await own.attempt(text)), name === 'database' ? '42704' : NO_RIGHT, text)
    }
    const kept = await other.attempt(`select convert_from(lo_get(${made?.oid}), 'utf8') as text`)
    t.strictSame([...rowsOf(kept)], [{ text: 'secret' }])
    await other.keep(`select lo_unlink(${made?.oid})`)
  })

  t.test(`${name}: what only hurts others is refused`, async (t) => {
    const { own } = await both(t, name)
    for (const text of [
      `select pg_logical_emit_message(false, 'x', 'y')`,
      `select pg_logical_emit_message(true, 'x', 'y'::bytea)`,
      'select pg_export_snapshot()',
      'select pg_stat_reset()',
      'select pg_switch_wal()',
      `select pg_create_restore_point('x')`,
    ])
      t.equal(codeOf(await own.attempt(text)), NO_RIGHT, text)
  })

  t.test(`${name}: an advisory lock of one tenant is not in another's way`, async (t) => {
    const { own, other } = await both(t, name)
    const lock = (party: Party) => party.attempt('select pg_try_advisory_lock(4711) as taken')
    if (name === 'role' || name === 'row') {
      t.equal(codeOf(await lock(own)), NO_RIGHT)
      return
    }
    sameRows(t, rowsOf(await lock(own)), [{ taken: true }])
    sameRows(t, rowsOf(await lock(other)), [{ taken: name === 'database' }])
  })

  t.test(`${name}: what a catalog says of roles is ids and nothing else`, async (t) => {
    const { own } = await both(t, name)
    const names = rowsOf(await own.attempt('select rolname from pg_roles')).map(({ rolname }) =>
      String(rolname),
    )
    const [superuser] = await house.admin.query<{ name: string }>(sql`select current_user as name`)
    t.ok(
      names.some((role) => role.includes(stageOf('role').other.id.replaceAll('-', ''))),
      'others’ ids remain',
    )
    const odd = names.filter(
      (role) =>
        !/^(pg_\w+|lessor_[a-z]+|lessor_row_[0-9a-f]{12}|t[bgmou]_[0-9a-f]{32}(_[0-9a-f]+)?)$/.test(role),
    )
    t.strictSame(new Set(odd.filter((role) => !role.startsWith('lessor_test'))), new Set([superuser?.name]))
    const comments = `select description from pg_shdescription where classoid = 'pg_authid'::regclass`
    sameRows(t, rowsOf(await own.attempt(comments)), [])
    t.equal(codeOf(await own.attempt('select rolpassword from pg_authid')), NO_RIGHT)
  })

  t.test(`${name}: what another tenant runs does not show`, async (t) => {
    const { own, other } = await both(t, name)
    await other.session.db.query(sql`select ${other.tenant.marker}::text`)
    const seen = rowsOf(await own.attempt('select * from pg_stat_activity'))
    t.ok(seen.length > 0)
    t.notOk(JSON.stringify(seen).includes(other.tenant.marker))
  })

  t.test(`${name}: an error tells nothing of another tenant's row`, async (t) => {
    const { own, theirs } = await both(t, name)
    const { session, tenant } = own
    await session.db.command('begin')
    await session.db.query(statementOf(`set local rls.tenant_id = '${tenant.id}'`))
    const error: unknown = await session.db
      .query(
        statementOf(
          `insert into users (tenant_id, id, first_name, last_name) values ('${stageOf(name).other.id}', '${theirs}', 'a', 'b')`,
        ),
      )
      .then(
        () => undefined,
        (reason) => reason,
      )
    await session.db.command('rollback')
    like(t, error, { code: NO_RIGHT })
    const { detail = '', hint = '', where = '' } = error as postgres.PostgresError
    t.strictSame([detail, hint, where], ['', '', ''])
  })

  t.test(`${name}: LISTEN hears what is said in its own database`, async (t) => {
    const { own, other } = await both(t, name)
    const { host, port, database, user, password } = own.tenant.target
    const ear = postgres({
      host,
      port,
      database,
      user,
      password: password.reveal(),
      max: 1,
      fetch_types: false,
    })
    t.teardown(() => ear.end())
    const heard: string[] = []
    const { promise: done, resolve } = Promise.withResolvers<void>()
    await ear.listen('room', (text) => {
      heard.push(text)
      if (text === 'own') resolve()
    })
    await other.keep(`notify room, 'other'`)
    await own.keep(`notify room, 'own'`)
    await done
    // PostgreSQL has no rights on channels: they remain open between the logins of one database.
    t.strictSame(heard, name === 'database' ? ['own'] : ['other', 'own'])
  })
}

t.test('row: a statement prepared for one tenant gives another its own rows', async (t) => {
  const { own, other } = await both(t, 'row')
  const statement = sql`select tenant_id from users`
  const run = async (id: string) => {
    await own.session.db.command('begin')
    await own.session.db.query(statementOf(`set local rls.tenant_id = '${id}'`))
    const rows = await own.session.db.query(statement)
    await own.session.db.command('commit')
    return rows
  }
  // Past the fifth run PostgreSQL may keep one plan for all (PREPARE, "plan_cache_mode").
  for (let i = 0; i < 12; i++) {
    for (const { tenant } of [own, other]) sameRows(t, await run(tenant.id), [{ tenant_id: tenant.id }])
  }
  const prepared = await own.session.db.query(
    sql`select count(*)::integer as n from pg_prepared_statements where statement = 'select tenant_id from users'`,
  )
  sameRows(t, prepared, [{ n: 1 }], 'it was one statement')
})

t.test('row: a connection that no transaction binds any more sees nothing', async (t) => {
  const { own } = await both(t, 'row')
  await own.attempt('select 1')
  const rows = own.session.db.query(sql`select * from users`)
  await rejectsLike(t, rows, { code: '22P02' })
})
